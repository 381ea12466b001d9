//! The replica of the parameter server's run: joins, leases samples, computes, pushes, evaluates.
//!
//! [`train`] is the whole worker. Its loop is [`replica::run`], generic over a [`workload::Workload`], so that the
//! same loop runs a small model on one simulated thread; the real work is [`ImageWork`]. [`fetch`](fetch()) gets a run's
//! parameters without taking part in it.
//!
//! Absent by intent: how a network computes (`network`), how an image is decoded (`dataset`), what travels how
//! (`protocol`), how a gradient is applied (`parameter-server`, which only the tests of this crate import), and what is done
//! with a trained model (`models`, the same).

pub mod actor;
pub mod cli;
mod compute;
mod evaluate;
mod fetch;
mod image_work;
mod leases;
mod momentum;
pub mod outgoing;
pub mod replica;
mod report;
pub mod stop;
pub mod store;
mod train;
pub mod workload;

pub use fetch::{FetchOptions, fetch};
pub use image_work::ImageWork;
pub use train::{TrainOptions, train};
