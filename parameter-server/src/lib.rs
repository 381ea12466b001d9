//! The parameter server. Shards hold the network's parameters and apply the gradients that workers push; the
//! coordinator leases samples to the workers, orders evaluations, and decides when the run ends.
//!
//! This crate knows nothing of layers, images or the wire. A shard knows named tensors only, and gRPC is
//! behind the two traits of [`protocol`] that [`ShardHost`] and [`Coordinator`] implement.
//!
//! A shard starts empty. When the first worker joins, the coordinator gives it the run's update rule, and the
//! worker brings the layout of the network:
//!
//! ```
//! use kernels::Isa;
//! use parameter_server::{Shard, update_rule};
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
//! shard.begin(&update_rule::of(&configuration, 1000))?;
//! shard.adopt(Layout::new(vec![weights])?)?;
//! assert_eq!(shard.fetch(0, Kind::Parameters)?.values.to_vec().len(), 300);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod cli;
pub mod coordinator;
mod optimizer;
mod random;
mod serve;
pub mod shard;
pub mod snapshot;
mod staleness;
mod telemetry;
#[cfg(test)]
mod testing;
pub mod update_rule;

pub use coordinator::Coordinator;
pub use serve::{Door, Lend, Options, Timing, going_on, run};
pub use shard::{MOST_LOGS, SavedShard, Shard, ShardHost, WarmStart};
pub use telemetry::{Balance, NUMBERS, Noise, Number, Value, noise, series};
