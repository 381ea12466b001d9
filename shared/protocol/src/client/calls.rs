//! The calls to the two services, however they are carried.

use tokio::sync::mpsc;

use super::Carried;
use crate::{ClientError, Wire, messages::*};

/// The calls to the coordinator of a run: over the network ([`CoordinatorClient`](crate::CoordinatorClient)) or
/// within a process ([`InProcess`](crate::InProcess)).
///
/// The client numbers its calls, so that a repetition is told from a new call.
pub trait CoordinatorCalls: Clone + Send + Sync + 'static {
    /// Makes the calling worker a member of the run.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`Refusal::NotReady`] while the server is incomplete (ask again), or
    /// with [`Refusal::Mismatch`] for another protocol or other data; else what keeps the call from being
    /// answered.
    fn join(&self, request: JoinRequest) -> impl Future<Output = Result<JoinReply, ClientError>> + Send;

    /// Asks what `member` is to do next.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`Refusal::Fenced`] once the membership has expired; else what keeps the
    /// call from being answered.
    fn assign(&self, member: Member) -> impl Future<Output = Result<Assignment, ClientError>> + Send;

    /// Reports a member's progress; returns how the run ended, or none while it goes on.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`Refusal::Fenced`] once the membership has expired; else what keeps the
    /// call from being answered.
    fn report(&self, report: Report) -> impl Future<Output = Result<Option<Ending>, ClientError>> + Send;

    /// Registers a shard process, which thereby learns which shards it is to hold.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the server has no place for it; else what keeps the call from being
    /// answered.
    fn register(
        &self,
        request: RegisterRequest,
    ) -> impl Future<Output = Result<RegisterReply, ClientError>> + Send;

    /// Returns the state of the run.
    ///
    /// # Errors
    /// What keeps the call from being answered; a status is refused to nobody.
    fn status(&self) -> impl Future<Output = Result<RunStatus, ClientError>> + Send;
}

/// The calls to the shards of one process: over the network ([`ShardClient`](crate::ShardClient)) or within a
/// process ([`InProcess`](crate::InProcess)).
pub trait ShardCalls: Clone + Send + Sync + 'static {
    /// Gives one shard the network's layout, which an empty shard takes over and any other compares with its
    /// own.
    ///
    /// # Errors
    /// [`ClientError::Refused`] naming the first difference; else what keeps the call from being answered.
    fn adopt(&self, request: AdoptRequest) -> impl Future<Output = Result<AdoptReply, ClientError>> + Send;

    /// Orders the process to write a snapshot of its shards, or to end; returns the state of each shard.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the order cannot be carried out; else what keeps the call from being
    /// answered.
    fn order(&self, order: ShardOrder) -> impl Future<Output = Result<Vec<ShardStatus>, ClientError>> + Send;

    /// Returns the counters of each shard of the process.
    ///
    /// # Errors
    /// What keeps the call from being answered.
    fn status(&self) -> impl Future<Output = Result<Vec<ShardStatus>, ClientError>> + Send;

    /// Pushes each group of gradient blocks that arrives in `pushes` as one message, and hands each block's
    /// reply to `replies`. A group is to stay well under 4 MiB.
    ///
    /// The call ends when the sender of `pushes` is dropped and every block has its reply. A push is applied
    /// once however often it is sent. Replies may lag behind without holding up the pushes; if their receiver
    /// is dropped, the pushes go on and the replies are discarded. Returns what the values took on the wire.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when patience ends, [`ClientError::Unusable`] for a reply that fits no
    /// push. A refused block is no error of the call: its reply says so.
    fn push(
        &self,
        wire: Wire,
        pushes: mpsc::Receiver<Vec<BlockPush>>,
        replies: mpsc::Sender<PushReply>,
    ) -> impl Future<Output = Result<Carried, ClientError>> + Send;

    /// Fetches blocks of one shard, and hands each to `values` in the order asked for. Dropping the receiver
    /// of `values` ends the fetch.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the first refusal, which ends the fetch; [`ClientError::Unreachable`]
    /// when patience ends.
    fn fetch(
        &self,
        request: FetchRequest,
        values: mpsc::Sender<BlockValues>,
    ) -> impl Future<Output = Result<(), ClientError>> + Send;
}
