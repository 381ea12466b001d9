//! The leader's connections to the server's other processes.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use protocol::{
    BlockValues, ClientError, Connector, FetchRequest, Life, ShardCalls as _, ShardClient, ShardOrder,
    ShardStatus,
};
use tokio::{sync::mpsc, task::JoinSet};

/// Time for which a process may be out of reach before an order fails; failed orders are given again later.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

/// Number of fetched blocks that wait to be taken, a few MB at most.
const QUEUE: usize = 8;

/// Connections to the server's other processes, each made when it is first needed.
pub(crate) struct Remotes {
    connector: Connector,
    clients: Mutex<BTreeMap<String, ShardClient>>,
}

impl Remotes {
    pub(crate) fn new(mut connector: Connector) -> Remotes {
        connector.patience.give_up_after = GIVE_UP_AFTER;
        Remotes { connector, clients: Mutex::default() }
    }

    async fn client(&self, address: &str) -> Result<ShardClient, ClientError> {
        let known = self.clients.lock().expect("no panic with the map in hand").get(address).cloned();
        if let Some(client) = known {
            return Ok(client);
        }
        let client = ShardClient::connect(address, self.connector.clone()).await?;
        self.clients.lock().expect("no panic with the map in hand").insert(address.into(), client.clone());
        Ok(client)
    }

    /// Fetches blocks of a shard of the process at `address`, and calls `take` with each.
    ///
    /// # Errors
    /// If the process cannot be reached or refuses.
    pub(crate) async fn fetch(
        &self,
        address: &str,
        request: FetchRequest,
        mut take: impl FnMut(BlockValues),
    ) -> Result<(), ClientError> {
        let client = self.client(address).await?;
        let (values, mut received) = mpsc::channel(QUEUE);
        let collect = async {
            while let Some(block) = received.recv().await {
                take(block);
            }
        };
        tokio::join!(client.fetch(request, values), collect).0
    }

    /// Gives an order of the life `life` to all processes at once and returns the statuses of all their
    /// shards.
    ///
    /// # Errors
    /// If an order fails at a process; the error is the first such failure.
    pub(crate) async fn order(
        &self,
        addresses: &[String],
        life: Life,
        order: &ShardOrder,
    ) -> Result<Vec<ShardStatus>, ClientError> {
        let mut calls = JoinSet::new();
        for address in addresses {
            let client = self.client(address).await?;
            let order = order.clone();
            calls.spawn(async move { client.order(life, order).await });
        }
        let mut statuses = Vec::new();
        while let Some(reply) = calls.join_next().await {
            statuses.extend(reply.expect("an order's task does not panic")?);
        }
        Ok(statuses)
    }
}
