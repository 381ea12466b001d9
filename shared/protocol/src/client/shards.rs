//! Calls to the shards of one process.

use tokio::sync::mpsc;
use tonic::transport::Channel;

use super::{Link, fetch, push};
use crate::{
    ClientError, Way, Wire,
    messages::*,
    proto::{self, shards_client},
    transport::MESSAGE,
};

/// Calls the shards of one process: the methods of [`Shards`](crate::Shards), over the network.
///
/// Each call is attempted until it is answered or patience ends; a [`Refusal`] comes back at once.
#[derive(Clone, Debug)]
pub struct ShardClient {
    link: Link,
}

impl ShardClient {
    /// Connects to `address` ("host:port"), waiting for the server to be there.
    pub async fn connect(address: &str, way: impl Into<Way>) -> Result<ShardClient, ClientError> {
        Ok(ShardClient { link: Link::connect(address, way.into()).await? })
    }

    /// Tells one shard the network.
    pub async fn adopt(&self, request: AdoptRequest) -> Result<AdoptReply, ClientError> {
        let request = proto::AdoptRequest::from(request);
        let attempt = || {
            let (mut client, request) = (self.link.shards(), request.clone());
            async move { client.adopt(request).await }
        };
        self.link.call("adopt", self.link.patience.control, attempt).await
    }

    /// Has the process write a snapshot, or end.
    pub async fn order(&self, order: ShardOrder) -> Result<Vec<ShardStatus>, ClientError> {
        let request = proto::OrderRequest::from(order);
        let attempt = || {
            let mut client = self.link.shards();
            async move { client.order(request).await }
        };
        self.link.call("order", self.link.patience.order, attempt).await
    }

    /// What each shard says about itself.
    pub async fn status(&self) -> Result<Vec<ShardStatus>, ClientError> {
        let attempt = || {
            let mut client = self.link.shards();
            async move { client.status(proto::ShardStatusRequest {}).await }
        };
        self.link.call("status", self.link.patience.control, attempt).await
    }

    /// Pushes what comes in `pushes`, each group of blocks as it comes and as one message (so it is to stay well under
    /// 4 MiB), and hands each block's reply to `replies` as it comes.
    ///
    /// Ends when the sender of `pushes` is dropped and every block has its reply. After a broken connection what
    /// has none is sent again; a push is applied once however often it is sent. Replies may lag behind without
    /// holding up the pushes; if their receiver is dropped, the pushes go on and the replies are let go.
    pub async fn push(
        &self,
        wire: Wire,
        pushes: mpsc::Receiver<Vec<BlockPush>>,
        replies: mpsc::Sender<PushReply>,
    ) -> Result<(), ClientError> {
        push::push(&self.link, wire, pushes, replies).await
    }

    /// Fetches `blocks` of one shard and hands each to `values` as it comes, in the order asked for.
    ///
    /// After a broken connection those that have not come are asked for again. A receiver that is dropped ends
    /// the fetch. The first refusal ends it with [`ClientError::Refused`].
    pub async fn fetch(
        &self,
        wire: Wire,
        shard: u32,
        blocks: Vec<u32>,
        kind: Kind,
        values: mpsc::Sender<BlockValues>,
    ) -> Result<(), ClientError> {
        fetch::fetch(&self.link, wire, shard, blocks, kind, values).await
    }
}

impl Link {
    /// A client on this link's connection.
    pub(super) fn shards(&self) -> shards_client::ShardsClient<Channel> {
        shards_client::ShardsClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE)
            .max_encoding_message_size(MESSAGE)
    }
}
