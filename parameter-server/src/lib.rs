//! The parameter server. Shards hold the network's parameters and apply the gradients that workers push; the
//! coordinator leases samples to the workers, orders evaluations, and decides when the run ends.
//!
//! This crate knows nothing of layers, images or the wire. A shard knows named tensors only, and gRPC is
//! behind the two traits of [`protocol`] that [`ShardHost`] and [`Coordinator`] implement.
//!
//! A shard starts empty. The first worker that joins brings it the layout of the network and the plan of the
//! run:
//!
//! ```
//! use kernels::Isa;
//! use parameter_server::{Shard, plan::plan};
//! use parameters::{Initialiser, Layout, Tensor};
//! use protocol::Kind;
//!
//! let weights = Tensor {
//!     name: "classifier/weights".into(),
//!     shape: vec![10, 30],
//!     initialiser: Initialiser::Uniform { bound: 0.5 },
//!     rate_multiplier: 1.0,
//!     decay_multiplier: 1.0,
//! };
//! let configuration = settings::recipe("quick").expect("an embedded recipe");
//!
//! let mut shard = Shard::empty(0, 1, 1, Isa::detect());
//! shard.adopt(Layout::new(vec![weights])?, plan(&configuration, 1000))?;
//! assert_eq!(shard.fetch(0, Kind::Parameters)?.values.to_vec().len(), 300);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod admission;
mod average;
mod bounds;
pub mod cli;
pub mod coordinator;
mod evaluations;
mod follower;
mod host;
pub mod inspect;
mod leader;
pub mod leases;
mod membership;
mod metrics;
mod momentum;
mod opening;
pub mod plan;
mod processes;
mod remotes;
mod resume;
mod schedule;
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
use warm_start::WarmStart;
