//! The replica of the parameter server's run: joins, leases samples, computes, pushes, evaluates.
//!
//! [`train`] is the whole worker; [`replica`] holds its loop, generic over the model and the source of samples, so
//! that the same loop runs a small model on one simulated thread. [`describe`] and [`bench`] need no server,
//! [`fetch`] needs nothing but one.
//!
//! Absent by intent: how a network computes (`network`), how an image is decoded (`dataset`), what travels how
//! (`protocol`), and how a gradient is applied (`parameter-server`, which only the tests of this crate import).
#![forbid(unsafe_code)]

pub mod bench;
pub mod cli;
pub mod describe;
mod failure;
pub mod fetch;
mod train;

pub use failure::exit_of;
pub use train::{Data, TrainOptions, train};
