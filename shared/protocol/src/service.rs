//! The two services as plain traits of short synchronous calls, so that shards and coordinator can be tested
//! without a runtime. [`serve`](crate::serve) puts them on the network; tests call them directly.
//!
//! A call that cannot be carried out is answered with a [`Refusal`].

use crate::messages::*;

/// The coordinator of a run: it administers members, leases of samples and evaluations, and ends the run. It
/// lives in the server's first process.
pub trait Coordinator: Send + Sync + 'static {
    /// Makes a worker a member of the run.
    ///
    /// # Errors
    /// [`Refusal::NotReady`] until all shards have registered; [`Refusal::Mismatch`] for another protocol or
    /// other data.
    fn join(&self, request: JoinRequest) -> Result<JoinReply, Refusal>;
    /// Returns what a member is to do next. `call` counts the member's calls; a repetition has the number of
    /// the first attempt and gets the same answer.
    ///
    /// # Errors
    /// [`Refusal::Fenced`] for a membership that has expired.
    fn assign(&self, member: Member, call: u64) -> Result<Assignment, Refusal>;
    /// Records a member's report; returns how the run ended, or `None` while it goes on. A repetition has the
    /// number of the first attempt in `call` and is not counted again.
    ///
    /// # Errors
    /// [`Refusal::Fenced`] for a membership that has expired; [`Refusal::Invalid`] for progress beyond its
    /// lease.
    fn report(&self, report: Report, call: u64) -> Result<Option<Ending>, Refusal>;
    /// Registers a shard process; the reply says which shards it is to hold.
    ///
    /// # Errors
    /// [`Refusal::Mismatch`] for another protocol, or when the server has no place for the process.
    fn register(&self, request: RegisterRequest) -> Result<RegisterReply, Refusal>;
    /// Returns the state of the run.
    fn status(&self) -> RunStatus;
}

/// The shards of one server process.
pub trait Shards: Send + Sync + 'static {
    /// Gives one shard the network's layout: an empty shard adopts it, any other compares it with its own.
    ///
    /// # Errors
    /// [`Refusal::Mismatch`] if the layouts differ, naming the first difference; [`Refusal::Invalid`] for a
    /// layout that cannot be used.
    fn adopt(&self, request: AdoptRequest) -> Result<AdoptReply, Refusal>;
    /// Applies one gradient block; a repeated push is not applied again.
    fn push(&self, push: BlockPush) -> PushReply;
    /// Reads the values of one block from a shard.
    ///
    /// # Errors
    /// [`Refusal::NotReady`] while the shard has no layout; [`Refusal::Invalid`] for a block that it does not
    /// own.
    fn fetch(&self, shard: u32, block: u32, kind: Kind) -> Result<BlockValues, Refusal>;
    /// Counts the traffic of a shard in bytes of encoded values: gradients `received` and parameters `sent`.
    /// The server calls this once for each block.
    fn carried(&self, shard: u32, received: u64, sent: u64);
    /// Carries out an order of the coordinator, which may take as long as writing a file does.
    ///
    /// # Errors
    /// [`Refusal::NotReady`] while there is nothing to write; [`Refusal::Internal`] for a snapshot that
    /// cannot be written.
    fn order(&self, order: ShardOrder) -> Result<Vec<ShardStatus>, Refusal>;
    /// Returns the counters of each shard.
    fn status(&self) -> Vec<ShardStatus>;
}
