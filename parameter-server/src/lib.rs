//! The parameter server: shards that hold the network's parameters and apply what workers push, and the coordinator
//! that hands out samples, keeps members and accounts, and ends the run.
//!
//! Absent by intent: any knowledge of layers, images or the wire. A shard knows named tensors only; gRPC is behind
//! [`protocol`]'s two traits, which [`ShardHost`] and [`Coordinator`] implement.
#![forbid(unsafe_code)]

pub mod average;
pub mod evaluations;
mod host;
pub mod leases;
pub mod membership;
pub mod schedule;
mod shard;
pub mod shard_file;
#[cfg(test)]
mod testing;

pub use host::ShardHost;
pub use shard::Shard;
