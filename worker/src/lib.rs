//! The replica of the parameter server's run: joins, leases samples, computes, pushes, evaluates.
//!
//! [`train`] is the whole worker. Its loop is [`replica::run`], generic over a [`workload::Workload`], so
//! that the same loop runs a small model on one simulated thread; the real work is [`ImageWork`].
//! [`fetch`](fetch()) gets a run's parameters without taking part in it.
//!
//! ```
//! use worker::{TrainOptions, train};
//!
//! let options = TrainOptions {
//!     coordinator: "localhost:7070".into(),
//!     data: setup::Data::Folder("/nowhere".into()),
//!     threads: 1.into(),
//!     loader_threads: 1,
//!     isa: None,
//!     output: None,
//!     data_patience: std::time::Duration::ZERO,
//!     looked_at: false,
//!     patience: protocol::Patience::default(),
//! };
//! let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! // Data that are not there are refused before a server is looked for.
//! let error = runtime.block_on(train(options, std::future::pending())).unwrap_err();
//! assert!(error.to_string().contains("/nowhere"), "{error}");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Absent by intent: how a network computes (`network`), how an image is decoded (`dataset`), what travels
//! how (`protocol`), how a gradient is applied (`parameter-server`, which only the tests of this crate
//! import), and what is done with a trained model (`models`, the same).

pub mod actor;
pub mod cli;
mod compute;
mod evaluate;
mod fetch;
mod image_work;
mod leases;
mod momentum;
mod options;
pub mod outgoing;
pub mod replica;
mod report;
pub mod stop;
pub mod store;
mod train;
pub mod workload;

pub use fetch::{FetchOptions, fetch};
pub use image_work::ImageWork;
pub use options::TrainOptions;
pub use train::train;
