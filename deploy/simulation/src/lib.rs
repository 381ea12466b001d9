//! A simulation of training with many workers in virtual time.
//!
//! The time in which N workers reach an accuracy depends on two things: what a stale gradient is worth, and
//! how many gradients there are in a second. The first cannot be known without training, the second not
//! without the machines. Here one process trains for all of them: parameters, gradients, samples and the
//! shard's updates are real, computed one after the other in the order in which N machines would have
//! computed them. Only the time between them is simulated, from the speeds and links of a [`Cluster`], so
//! that a run of 64 workers takes no longer than one of a single worker.
//!
//! ```
//! use simulation::{Cluster, Link};
//!
//! // Eight machines, of which one is slow, behind a server with a link of 100 Mbit/s.
//! let link = Link { up: Some(12.5e6), down: Some(12.5e6) };
//! let cluster = Cluster { server: link, ..Cluster::of(8) };
//! assert_eq!(cluster.machines.iter().filter(|machine| machine.step > 1.0).count(), 1);
//! ```
//!
//! Where only the time matters, [`pace`] has it by formula, and [`plan`] makes of it the plan of a run on a
//! [`fleet`].
//!
//! Settings of a run that neither of the two knows are refused by [`scope`].
//!
//! Absent by intent: processes and messages, and the loss of messages, which the tests with injected faults
//! cover.

mod cluster;
mod events;
pub mod fleet;
mod links;
mod method;
pub mod pace;
pub mod plan;
mod report;
mod run;
mod samples;
pub mod scope;
mod simulate;

pub use cluster::{Cluster, Link, Machine};
pub use method::Method;
pub use report::{Evaluation, Report};
pub use run::{Run, SimulateError};
pub use simulate::simulate;
