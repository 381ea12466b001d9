//! The services as plain traits of short synchronous calls, so that shards and coordinator can be tested
//! without a runtime. [`serve`](crate::serve) puts them on the network; tests call them directly.
//!
//! A call that cannot be carried out is answered with a [`Refusal`].

use std::sync::Arc;

use crate::messages::*;

/// The coordinator of a run, as the calls that workers and shard processes make to it: it keeps the list of
/// the workers that take part (the members), leases ranges of training samples to them, orders evaluations,
/// and ends the run. It lives in the server's first process.
pub trait Coordinator: Send + Sync + 'static {
    /// Makes a worker a member of the run, which may then ask for work.
    ///
    /// # Errors
    /// [`Refusal::NotReady`] until all processes of the server have registered, and while the run has
    /// [`MOST_MEMBERS`] members; [`Refusal::Mismatch`] for another version of the protocol, or for data that
    /// are not the run's.
    fn join(&self, request: JoinRequest) -> Result<JoinReply, Refusal>;
    /// Returns what a member (a worker that has joined) is to do next. `call` is the number of the call,
    /// which counts up; a call that is made again because its answer was lost keeps its number and gets the
    /// same answer.
    ///
    /// # Errors
    /// [`Refusal::Fenced`] if the worker is not a member any more: it left, or was silent for too long;
    /// [`Refusal::Invalid`] for a number that is far ahead of those before.
    fn assign(&self, member: Member, call: u64) -> Result<Assignment, Refusal>;
    /// Records a member's report; returns how the run ended, or `None` while it goes on. `call` is the number
    /// of the call, which counts up; a report that is sent again because its answer was lost keeps its number
    /// and is not counted again.
    ///
    /// # Errors
    /// [`Refusal::Fenced`] if the worker is not a member any more: it left, or was silent for too long; or if
    /// its training diverged while that of others did not. [`Refusal::Invalid`] for impossible numbers, such
    /// as more samples trained on than the leases have, and for the result of an evaluation that cannot be
    /// used.
    fn report(&self, report: Report, call: u64) -> Result<Option<Ending>, Refusal>;
    /// Registers a shard process, a server process that holds shards (parts of the network's parameters); the
    /// reply says which shards it is to hold.
    ///
    /// # Errors
    /// [`Refusal::Mismatch`] for another version of the protocol, or if the server has no place for the
    /// process: it is complete, its processes have another number of shards each, or another one holds the
    /// process's shards.
    fn register(&self, request: RegisterRequest) -> Result<RegisterReply, Refusal>;
    /// Returns the status of the run: what it is doing, how far it has come, and its newest metrics.
    fn status(&self) -> RunStatus;
    /// Returns what the run does now, with its workers, its shards and the newest warnings.
    fn overview(&self) -> Overview;
    /// Carries out an order of the operator `caller`, of which the log tells. An order that is given again
    /// changes nothing more; of a snapshot one more may be taken.
    ///
    /// # Errors
    /// [`Refusal::NotReady`] before the first worker has joined; [`Refusal::Invalid`] for a worker that is no
    /// member, for a factor with which updates could overflow, and once the run has ended.
    fn steer(&self, order: Steering, caller: Caller) -> Result<Steered, Refusal>;
    /// Returns the photographs that the server's first process lends to workers which have none; `None`, the
    /// default, if it lends none.
    fn pictures(&self) -> Option<Arc<dyn Pictures>> {
        None
    }
}

/// Photographs of a run that a server lends, as the calls that workers without them make. A call may take as
/// long as reading from a disk does.
pub trait Pictures: Send + Sync + 'static {
    /// Returns what is lent.
    ///
    /// # Errors
    /// [`Refusal::NotReady`] while the data folder is still being looked at; [`Refusal::Internal`] if it cannot
    /// be used.
    fn describe(&self) -> Result<LentData, Refusal>;
    /// Returns the labels of the images in the range [`page_of_labels`] from image `start` on.
    ///
    /// # Errors
    /// As for [`describe`](Self::describe), and [`Refusal::Invalid`] for an image that there is not.
    fn labels(&self, request: LabelsRequest) -> Result<Vec<u32>, Refusal>;
    /// Reads at most [`PIECE`] bytes of the file of an image from position `offset` on. A file that cannot be
    /// read is an answer, whose end says why.
    ///
    /// # Errors
    /// As for [`labels`](Self::labels), and [`Refusal::NotReady`] while the data folder as a whole is away.
    fn read(&self, validation: bool, image: u32, offset: u64) -> Result<PicturePiece, Refusal>;
}

/// The shards (parts of the network's parameters) that one server process holds, as the calls that workers
/// and the coordinator make to them.
pub trait Shards: Send + Sync + 'static {
    /// Gives one shard the layout of the network, the list of its tensors. A shard that has none adopts it
    /// and sets its parameters to their initial values; any other compares it with its own.
    ///
    /// # Errors
    /// [`Refusal::NotReady`] while the shard has no update rule; [`Refusal::Mismatch`] if the layouts differ,
    /// naming the first difference; [`Refusal::Invalid`] for a layout that cannot be used.
    fn adopt(&self, request: AdoptRequest) -> Result<AdoptReply, Refusal>;
    /// Applies a push, which is the gradient of one block of the parameters, and replies with the values from
    /// which the worker is to compute its next gradient. A push that is sent again is not applied again.
    fn push(&self, push: BlockPush) -> PushReply;
    /// Reads one block (a piece of a tensor) from the shard with the number `shard`: its parameters, their
    /// average or their velocity, as `kind` says.
    ///
    /// # Errors
    /// [`Refusal::Fenced`] if `life`, the life of the server that the caller knows of, is not the present
    /// one; [`Refusal::NotReady`] while the shard does not know the network's layout, or has not heard of the
    /// evaluation that an average is asked for; [`Refusal::Invalid`] for an evaluation that is done, for a
    /// block that the shard does not own, or for the velocity if the optimizer has none.
    fn fetch(&self, life: Life, shard: u32, block: u32, kind: Kind) -> Result<BlockValues, Refusal>;
    /// Adds to the counters of a shard's traffic: `received` bytes of encoded gradients and `sent` bytes of
    /// encoded parameters. The server calls this once for each block that is pushed or fetched.
    fn carried(&self, shard: u32, received: u64, sent: u64);
    /// Carries out an order of the coordinator (to write a snapshot of the shards, to end, or to take pushes
    /// from certain members only) and returns the status of each shard. It may take as long as writing the
    /// files does.
    ///
    /// # Errors
    /// [`Refusal::Fenced`] if `life`, that of the coordinator that gives the order, is not the shards' own;
    /// [`Refusal::NotReady`] for a snapshot while a shard has no parameters yet, since it does not know the
    /// network's layout; [`Refusal::Invalid`] for a snapshot that is older than the newest complete one or
    /// has a number far ahead; [`Refusal::Internal`] for one that cannot be written.
    fn order(&self, life: Life, order: ShardOrder) -> Result<Vec<ShardStatus>, Refusal>;
    /// Returns the status of each shard, in the order of their numbers: its counters of updates, staleness
    /// and bytes.
    fn status(&self) -> Vec<ShardStatus>;
}
