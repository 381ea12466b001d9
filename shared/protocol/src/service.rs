//! The two services as plain traits: short synchronous calls, so that shard and coordinator are testable with no runtime.
//! `server.rs` puts them on the network; tests call them directly.

use crate::messages::*;

/// Membership, leases of samples, evaluation, the end. One per run, in the server's first process.
pub trait Coordinator: Send + Sync + 'static {
    /// A worker becomes a member. `NotReady` until all shards registered.
    fn join(&self, request: JoinRequest) -> Result<JoinReply, Refusal>;
    /// A member asks what to do next. `call` counts up among its calls; a repetition, which has the same number, gets
    /// the same answer.
    fn assign(&self, member: Member, call: u64) -> Result<Assignment, Refusal>;
    /// A member reports progress; the answer is how the run ended, if it did. A repetition, which has the same number
    /// `call`, is not counted again.
    fn report(&self, report: Report, call: u64) -> Result<Option<Ending>, Refusal>;
    /// A shard process registers.
    fn register(&self, request: RegisterRequest) -> Result<RegisterReply, Refusal>;
    /// The state of the run.
    fn status(&self) -> RunStatus;
}

/// The shards of one process.
pub trait Shards: Send + Sync + 'static {
    /// Takes the layout over, or compares it with the one held.
    fn adopt(&self, request: AdoptRequest) -> Result<AdoptReply, Refusal>;
    /// Applies one gradient block, once.
    fn push(&self, push: BlockPush) -> PushReply;
    /// Reads one block.
    fn fetch(&self, shard: u32, block: u32, kind: Kind) -> Result<BlockValues, Refusal>;
    /// Carries out the coordinator's order; may take as long as writing a file does.
    fn order(&self, order: ShardOrder) -> Result<Vec<ShardStatus>, Refusal>;
    /// What each shard says about itself.
    fn status(&self) -> Vec<ShardStatus>;
}
