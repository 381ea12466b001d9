//! The parameter server: shards that hold the network's parameters and apply what workers push, and the coordinator
//! that hands out samples, keeps members and accounts, and ends the run.
//!
//! Absent by intent: any knowledge of layers, images or the wire. A shard knows named tensors only; gRPC is behind
//! [`protocol`]'s two traits, which [`ShardHost`] and [`Coordinator`] implement.

mod admission;
pub mod average;
mod bounds;
pub mod cli;
pub mod coordinator;
pub mod evaluations;
mod follower;
mod host;
pub mod inspect;
mod leader;
pub mod leases;
pub mod membership;
pub mod metrics;
mod opening;
pub mod plan;
pub mod processes;
mod remotes;
mod resume;
pub mod schedule;
mod server;
mod serving;
mod shard;
pub mod shard_file;
pub mod snapshot;
#[cfg(test)]
mod testing;
mod warm_start;

pub use coordinator::Coordinator;
pub use host::ShardHost;
pub use server::{Options, Timing, run};
pub use shard::{SavedShard, Shard};
pub use warm_start::WarmStart;
