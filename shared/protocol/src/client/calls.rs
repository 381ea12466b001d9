//! The calls to the two services as traits, independent of the transport.

use tokio::sync::mpsc;

use super::Carried;
use crate::{ClientError, Wire, messages::*};

/// The calls to the coordinator of a run, which admits workers and gives them work: over the network
/// ([`CoordinatorClient`](crate::CoordinatorClient)) or within a process ([`InProcess`](crate::InProcess)).
///
/// The client numbers its calls, so that the server can tell a repeated call from a new one.
pub trait CoordinatorCalls: Clone + Send + Sync + 'static {
    /// Makes the calling worker a member of the run, which may then ask for work.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`Refusal::NotReady`] while processes of the server are missing (ask
    /// again), or with [`Refusal::Mismatch`] for another version of the protocol or data that are not the
    /// run's; another error if the call gets no answer.
    fn join(&self, request: JoinRequest) -> impl Future<Output = Result<JoinReply, ClientError>> + Send;

    /// Asks the coordinator what the worker `member` is to do next.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`Refusal::Fenced`] once the worker's membership has expired; another
    /// error if the call gets no answer.
    fn assign(&self, member: Member) -> impl Future<Output = Result<Assignment, ClientError>> + Send;

    /// Reports a member's progress; returns how the run ended, or `None` while it goes on.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`Refusal::Fenced`] once the membership has expired; another error if
    /// the call gets no answer.
    fn report(&self, report: Report) -> impl Future<Output = Result<Option<Ending>, ClientError>> + Send;

    /// Registers a shard process, a server process that holds shards (parts of the network's parameters); the
    /// reply says which shards it is to hold.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the server has no place for the process; another error if the call gets no
    /// answer.
    fn register(
        &self,
        request: RegisterRequest,
    ) -> impl Future<Output = Result<RegisterReply, ClientError>> + Send;

    /// Returns the status of the run: what it is doing, how far it has come, and its newest metrics.
    ///
    /// # Errors
    /// If the call gets no answer; the server never refuses this call.
    fn status(&self) -> impl Future<Output = Result<RunStatus, ClientError>> + Send;

    /// Returns what the run does now, with its workers, its shards and the newest warnings.
    ///
    /// # Errors
    /// If the call gets no answer; the server never refuses this call.
    fn overview(&self) -> impl Future<Output = Result<Overview, ClientError>> + Send;

    /// Gives the run an order of its operator; returns what comes of it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the order cannot be carried out, as for a worker that is no member; another
    /// error if the call gets no answer.
    fn steer(&self, order: Steering) -> impl Future<Output = Result<Steered, ClientError>> + Send;
}

/// The calls to the shards (parts of the network's parameters) that one server process holds: over the
/// network ([`ShardClient`](crate::ShardClient)) or within a process ([`InProcess`](crate::InProcess)).
pub trait ShardCalls: Clone + Send + Sync + 'static {
    /// Gives one shard the layout of the network, the list of its tensors. A shard that has none adopts it
    /// and sets its parameters to their initial values; any other compares it with its own.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the layouts differ, naming the first difference; another error if the call
    /// gets no answer.
    fn adopt(&self, request: AdoptRequest) -> impl Future<Output = Result<AdoptReply, ClientError>> + Send;

    /// Orders the process to write a snapshot of its shards, to end, or to take pushes from certain members
    /// only, in the name of the coordinator's `life`; returns the status of each shard.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the order cannot be carried out; another error if the call gets no
    /// answer.
    fn order(
        &self,
        life: Life,
        order: ShardOrder,
    ) -> impl Future<Output = Result<Vec<ShardStatus>, ClientError>> + Send;

    /// Returns the status of each shard of the process: its counters of updates, staleness and bytes.
    ///
    /// # Errors
    /// If the call gets no answer.
    fn status(&self) -> impl Future<Output = Result<Vec<ShardStatus>, ClientError>> + Send;

    /// Pushes gradient blocks, each the gradient of one block of the parameters, to the shards: each group
    /// that arrives in `pushes` as one message, with numbers in the format `wire`. Hands the shard's reply to
    /// each block to `replies`. A group is to stay well under 4 MiB.
    ///
    /// The call ends when the sender of `pushes` is dropped and every block has its reply. A push is applied
    /// once however often it is sent. Replies may lag behind without holding up the pushes; if their receiver
    /// is dropped, the pushes go on and the replies are discarded. Returns the number of bytes that the
    /// encoded values took.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when the client's [`Patience`](crate::Patience) runs out;
    /// [`ClientError::Unusable`] for a reply that matches no push. A refused block is not an error of the
    /// call: the refusal is in its reply.
    fn push(
        &self,
        wire: Wire,
        pushes: mpsc::Receiver<Vec<BlockPush>>,
        replies: mpsc::Sender<PushReply>,
    ) -> impl Future<Output = Result<Carried, ClientError>> + Send;

    /// Fetches the blocks that `request` names from one shard, and hands each to `values`, in the order of
    /// the request. Dropping the receiver of `values` ends the fetch.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the first refusal, which ends the fetch; [`ClientError::Unreachable`]
    /// when the client's [`Patience`](crate::Patience) runs out.
    fn fetch(
        &self,
        request: FetchRequest,
        values: mpsc::Sender<BlockValues>,
    ) -> impl Future<Output = Result<(), ClientError>> + Send;
}
