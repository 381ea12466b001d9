//! The client of the shards of one process.

use tokio::sync::mpsc;

use super::{Carried, Link, ShardCalls, bearer::Bearer, fetch, push};
use crate::{
    ClientError, Connector, Wire,
    bounds::MESSAGE,
    messages::*,
    proto::{self, shards_client},
};

/// A client that calls the shards (parts of the network's parameters) of one server process over the network.
///
/// Each call is retried until it is answered or [`Patience`](crate::Patience) runs out; a [`Refusal`] is
/// returned at once. After a broken connection, pushed blocks without a reply are sent again, and fetched
/// blocks that have not arrived are requested again.
#[derive(Clone, Debug)]
pub struct ShardClient {
    link: Link,
}

impl ShardClient {
    /// Connects to `address` ("host:port"), and waits for a server that has not started yet.
    ///
    /// # Errors
    /// [`ClientError::Address`] if `address` is not of the form "host:port"; [`ClientError::Unreachable`] if
    /// the [`Patience`](crate::Patience) of `connector` runs out before the server answers.
    pub async fn connect(address: &str, connector: impl Into<Connector>) -> Result<ShardClient, ClientError> {
        Ok(ShardClient { link: Link::connect(address, connector.into()).await? })
    }
}

impl ShardCalls for ShardClient {
    async fn adopt(&self, request: AdoptRequest) -> Result<AdoptReply, ClientError> {
        let request = proto::AdoptRequest::from(request);
        let attempt = || {
            let (mut client, request) = (self.link.shards(), request.clone());
            async move { client.adopt(request).await }
        };
        self.link.call("adopt", self.link.patience.control, attempt).await
    }

    async fn order(&self, life: Life, order: ShardOrder) -> Result<Vec<ShardStatus>, ClientError> {
        let request = proto::OrderRequest::from((life, order));
        let attempt = || {
            let (mut client, request) = (self.link.shards(), request.clone());
            async move { client.order(request).await }
        };
        self.link.call("order", self.link.patience.order, attempt).await
    }

    async fn status(&self) -> Result<Vec<ShardStatus>, ClientError> {
        let attempt = || {
            let mut client = self.link.shards();
            async move { client.status(proto::ShardStatusRequest {}).await }
        };
        self.link.call("status", self.link.patience.control, attempt).await
    }

    async fn push(
        &self,
        wire: Wire,
        pushes: mpsc::Receiver<Vec<BlockPush>>,
        replies: mpsc::Sender<PushReply>,
    ) -> Result<Carried, ClientError> {
        push::push(&self.link, wire, pushes, replies).await
    }

    async fn fetch(
        &self,
        request: FetchRequest,
        values: mpsc::Sender<BlockValues>,
    ) -> Result<(), ClientError> {
        fetch::fetch(&self.link, request.into(), values).await
    }
}

impl Link {
    /// Returns a generated client on this link's connection.
    pub(super) fn shards(&self) -> shards_client::ShardsClient<Bearer> {
        shards_client::ShardsClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE)
            .max_encoding_message_size(MESSAGE)
    }
}
