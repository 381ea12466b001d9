//! The leader's way to the server's other processes.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use protocol::{ClientError, ShardClient, ShardOrder, ShardStatus, Way};
use tokio::task::JoinSet;

/// How long a process may be out of reach before an order fails; it is given again later.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

/// Connections to other processes, made when first needed.
pub(crate) struct Remotes {
    way: Way,
    clients: Mutex<BTreeMap<String, ShardClient>>,
}

impl Remotes {
    pub(crate) fn new(mut way: Way) -> Remotes {
        way.patience.give_up_after = GIVE_UP_AFTER;
        Remotes { way, clients: Mutex::default() }
    }

    async fn client(&self, address: &str) -> Result<ShardClient, ClientError> {
        let known = self.clients.lock().expect("no panic with the map in hand").get(address).cloned();
        if let Some(client) = known {
            return Ok(client);
        }
        let client = ShardClient::connect(address, self.way.clone()).await?;
        self.clients.lock().expect("no panic with the map in hand").insert(address.into(), client.clone());
        Ok(client)
    }

    /// Gives an order to all at once; the statuses of all shards, or the first failure.
    pub(crate) async fn order(
        &self,
        addresses: &[String],
        order: &ShardOrder,
    ) -> Result<Vec<ShardStatus>, ClientError> {
        let mut calls = JoinSet::new();
        for address in addresses {
            let client = self.client(address).await?;
            let order = order.clone();
            calls.spawn(async move { client.order(order).await });
        }
        let mut statuses = Vec::new();
        while let Some(reply) = calls.join_next().await {
            statuses.extend(reply.expect("an order's task does not panic")?);
        }
        Ok(statuses)
    }

    /// What the shards at `address` say about themselves.
    pub(crate) async fn status(&self, address: &str) -> Result<Vec<ShardStatus>, ClientError> {
        self.client(address).await?.status().await
    }
}
