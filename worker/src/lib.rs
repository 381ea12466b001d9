//! The replica of the parameter server's run: joins, leases samples, computes, pushes, evaluates.
//!
//! [`train`] is the whole worker. Its loop is [`replica::run`], generic over a [`workload::Workload`], so that the
//! same loop runs a small model on one simulated thread; the real work is [`ImageWork`]. [`describe`],
//! [`bench`](mod@bench) and [`judge`](judge()) need no server, [`fetch`](fetch()) needs nothing but one.
//!
//! Absent by intent: how a network computes (`network`), how an image is decoded (`dataset`), what travels how
//! (`protocol`), and how a gradient is applied (`parameter-server`, which only the tests of this crate import).

pub mod actor;
pub mod bench;
mod classify;
pub mod cli;
mod compute;
mod data;
pub mod describe;
mod evaluate;
mod export;
mod failure;
mod fetch;
mod googlenet;
pub mod judge;
pub mod labels;
mod leases;
pub mod look;
pub mod memory;
pub mod model_file;
pub mod momentum;
mod opened;
pub mod replica;
mod report;
mod roofline;
mod samples;
pub mod scores;
pub mod stop;
pub mod store;
mod threads;
mod train;
pub mod workload;

pub use classify::{ClassifyOptions, classify};
pub use data::Data;
pub use export::{ExportOptions, Format, export};
pub use failure::exit_of;
pub use fetch::{FetchOptions, fetch};
pub use googlenet::ImageWork;
pub use judge::{Combine, JudgeOptions, Part, judge};
pub use samples::{SamplesOptions, samples};
pub use threads::Threads;
pub use train::{TrainOptions, train};
