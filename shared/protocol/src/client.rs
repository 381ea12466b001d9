//! Clients.
use crate::*;
use tokio::sync::mpsc;

/// Calls the coordinator.
#[derive(Clone, Debug)]
pub struct CoordinatorClient {}
#[allow(missing_docs, unused)]
impl CoordinatorClient {
    pub async fn connect(address: &str, patience: Patience) -> Result<CoordinatorClient, ClientError> {
        todo!()
    }
    pub async fn join(&self, request: JoinRequest) -> Result<JoinReply, ClientError> {
        todo!()
    }
    pub async fn assign(&self, member: Member) -> Result<Assignment, ClientError> {
        todo!()
    }
    pub async fn report(&self, report: Report) -> Result<Option<Ending>, ClientError> {
        todo!()
    }
    pub async fn register(&self, request: RegisterRequest) -> Result<RegisterReply, ClientError> {
        todo!()
    }
    pub async fn status(&self) -> Result<RunStatus, ClientError> {
        todo!()
    }
}

/// Calls the shards of one process.
#[derive(Clone, Debug)]
pub struct ShardClient {}
#[allow(missing_docs, unused)]
impl ShardClient {
    pub async fn connect(address: &str, patience: Patience) -> Result<ShardClient, ClientError> {
        todo!()
    }
    pub async fn adopt(&self, request: AdoptRequest) -> Result<AdoptReply, ClientError> {
        todo!()
    }
    pub async fn order(&self, order: ShardOrder) -> Result<Vec<ShardStatus>, ClientError> {
        todo!()
    }
    pub async fn status(&self) -> Result<Vec<ShardStatus>, ClientError> {
        todo!()
    }
    pub async fn push(
        &self,
        wire: Wire,
        pushes: mpsc::Receiver<BlockPush>,
        replies: mpsc::Sender<PushReply>,
    ) -> Result<(), ClientError> {
        todo!()
    }
    pub async fn fetch(
        &self,
        wire: Wire,
        shard: u32,
        blocks: Vec<u32>,
        kind: Kind,
        values: mpsc::Sender<BlockValues>,
    ) -> Result<(), ClientError> {
        todo!()
    }
}
