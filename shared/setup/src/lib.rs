//! The setup of a run on this machine: from its settings to a network, data, threads, an instruction set and
//! a check of the memory, and at its end to scores.
//!
//! Training (`worker`) and the commands for trained models (`models`) both build on it.
//!
//! ```
//! let recipe = settings::recipe("quick").unwrap();
//! setup::memory::check_run(&recipe, Some("scalar"), 1, 1).expect("a small network");
//! ```
//!
//! Absent by intent: the settings themselves (`settings`), how a network computes (`network`), how an image
//! is decoded (`dataset`).

mod compute;
mod data;
mod failure;
mod lender;
pub mod memory;
mod scores;

pub use compute::{ComputeFlags, Threads, isa};
pub use data::{ANY_SIZE, Data, class_weights, rules};
pub use failure::exit_of;
pub use lender::Lender;
pub use scores::{ClassifierScores, Outcome, Tally, mistaken};
