//! The worker: trains one replica of the model in a run of the parameter server. It joins the run, leases
//! samples, computes gradients, pushes them and evaluates.
//!
//! [`train`] is the whole worker. Its loop is [`replica::run`], which is generic over a
//! [`workload::Workload`], so that a simulation can run the same loop with a small model on one thread; the
//! workload of a real worker is [`ImageWork`]. [`fetch`](fetch()) fetches a run's parameters without taking
//! part in the run.
//!
//! ```
//! use worker::{TrainOptions, train};
//!
//! let options = TrainOptions {
//!     coordinator: "localhost:7070".into(),
//!     name: None,
//!     data: Some(setup::Data::Folder("/nowhere".into())),
//!     picture_cache: worker::PICTURE_CACHE,
//!     threads: 1.into(),
//!     loader_threads: 1,
//!     isa: None,
//!     data_patience: std::time::Duration::ZERO,
//!     looked_at: false,
//!     token: process::TokenFlags::default(),
//!     patience: protocol::Patience::default(),
//!     http: None,
//! };
//! let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! // Data that are not there are refused before a server is looked for.
//! let error = runtime.block_on(train(options, std::future::pending())).unwrap_err();
//! assert!(error.to_string().contains("/nowhere"), "{error}");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Absent by intent: how a network computes (`network`), how an image is decoded (`dataset`), how messages
//! travel (`protocol`), how a gradient is applied (`parameter-server`, which only the tests of this crate
//! import), and what is done with a trained model (`models`, which likewise only the tests import).

pub mod actor;
pub mod cli;
mod compute;
mod evaluate;
pub mod exchange;
mod fetch;
pub mod halves;
mod image_work;
mod leases;
mod lent;
pub mod link;
mod membership;
mod momentum;
mod options;
pub mod outgoing;
pub mod replica;
mod report;
pub mod stop;
pub mod store;
pub mod telemetry;
#[cfg(test)]
mod testing;
mod train;
pub mod workload;

pub use fetch::{FetchOptions, fetch};
pub use image_work::ImageWork;
pub use options::{PICTURE_CACHE, TrainOptions};
pub use train::train;
