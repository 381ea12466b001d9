//! Calls to the shards of one process.

use tokio::sync::mpsc;
use tonic::transport::Channel;

use super::{Carried, Link, fetch, push};
use crate::{
    ClientError, Connector, Wire,
    messages::{fetch_request, *},
    proto::{self, shards_client},
    transport::MESSAGE,
};

/// Calls the shards of one process: the methods of [`Shards`](crate::Shards), over the network.
///
/// Each call is attempted until it is answered or [`Patience`](crate::Patience) ends; a [`Refusal`] comes
/// back at once.
#[derive(Clone, Debug)]
pub struct ShardClient {
    link: Link,
}

impl ShardClient {
    /// Connects to `address` ("host:port"), and waits for a server that is not up yet.
    ///
    /// # Errors
    /// [`ClientError::Address`] for an address that is none; [`ClientError::Unreachable`] when patience ends
    /// first.
    pub async fn connect(address: &str, connector: impl Into<Connector>) -> Result<ShardClient, ClientError> {
        Ok(ShardClient { link: Link::connect(address, connector.into()).await? })
    }

    /// Gives one shard the network's layout, which an empty shard takes over and any other compares with its
    /// own.
    ///
    /// # Errors
    /// [`ClientError::Refused`] naming the first difference; else what keeps the call from being answered.
    pub async fn adopt(&self, request: AdoptRequest) -> Result<AdoptReply, ClientError> {
        let request = proto::AdoptRequest::from(request);
        let attempt = || {
            let (mut client, request) = (self.link.shards(), request.clone());
            async move { client.adopt(request).await }
        };
        self.link.call("adopt", self.link.patience.control, attempt).await
    }

    /// Orders the process to write a snapshot of its shards, or to end; returns the state of each shard.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the order cannot be carried out; else what keeps the call from being
    /// answered.
    pub async fn order(&self, order: ShardOrder) -> Result<Vec<ShardStatus>, ClientError> {
        let request = proto::OrderRequest::from(order);
        let attempt = || {
            let mut client = self.link.shards();
            async move { client.order(request).await }
        };
        self.link.call("order", self.link.patience.order, attempt).await
    }

    /// Returns the counters of each shard of the process.
    ///
    /// # Errors
    /// What keeps the call from being answered.
    pub async fn status(&self) -> Result<Vec<ShardStatus>, ClientError> {
        let attempt = || {
            let mut client = self.link.shards();
            async move { client.status(proto::ShardStatusRequest {}).await }
        };
        self.link.call("status", self.link.patience.control, attempt).await
    }

    /// Pushes each group of gradient blocks that arrives in `pushes` as one message, and hands each block's
    /// reply to `replies`. A group is to stay well under 4 MiB.
    ///
    /// The call ends when the sender of `pushes` is dropped and every block has its reply. Blocks without a
    /// reply are sent again after a broken connection; a push is applied once however often it is sent.
    /// Replies may lag behind without holding up the pushes; if their receiver is dropped, the pushes go on
    /// and the replies are discarded. Returns what the values took on the wire.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when patience ends, [`ClientError::Unusable`] for a reply that fits no
    /// push. A refused block is no error of the call: its reply says so.
    pub async fn push(
        &self,
        wire: Wire,
        pushes: mpsc::Receiver<Vec<BlockPush>>,
        replies: mpsc::Sender<PushReply>,
    ) -> Result<Carried, ClientError> {
        push::push(&self.link, wire, pushes, replies).await
    }

    /// Fetches `blocks` of one shard, and hands each to `values` in the order asked for.
    ///
    /// Blocks that are still missing after a broken connection are asked for again. Dropping the receiver of
    /// `values` ends the fetch.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the first refusal, which ends the fetch; [`ClientError::Unreachable`]
    /// when patience ends.
    pub async fn fetch(
        &self,
        wire: Wire,
        shard: u32,
        blocks: Vec<u32>,
        kind: Kind,
        values: mpsc::Sender<BlockValues>,
    ) -> Result<(), ClientError> {
        fetch::fetch(&self.link, fetch_request(wire, shard, blocks, kind), values).await
    }
}

impl Link {
    /// Returns a generated client on this link's connection.
    pub(super) fn shards(&self) -> shards_client::ShardsClient<Channel> {
        shards_client::ShardsClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE)
            .max_encoding_message_size(MESSAGE)
    }
}
