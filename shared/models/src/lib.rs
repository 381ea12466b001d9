//! The commands for trained models, and for images before there is a model; they need no server and do not
//! train.
//!
//! Model files of all formats are opened in the same way. [`evaluate`](evaluate()) scores models on images,
//! [`classify`](classify()) labels images and [`export`](export()) writes a model for other programs.
//! [`describe`] shows what a network consists of, [`bench`](mod@bench) how fast it runs on this machine,
//! [`look`] what a folder of images contains, and [`samples`](samples()) the training samples that are made
//! from it.
//!
//! ```
//! let network = network::GoogLeNet::new(&network::Architecture::paper())?;
//! let table = models::describe::table(&network.describe());
//! assert!(table.contains("inception_3a/1x1"));
//! # Ok::<(), network::ArchitectureError>(())
//! ```
//!
//! Absent by intent: how a network computes (`network`), the file formats of other programs (`formats`), and
//! the command line (`downpour`).

pub mod bench;
mod classify;
mod csv;
pub mod describe;
pub mod evaluate;
mod export;
pub mod labels;
mod loaded;
pub mod look;
pub mod roofline;
mod samples;

pub use classify::{ClassifyOptions, Form, classify};
pub use evaluate::{Combine, EvaluateOptions, Evaluation, Part, evaluate};
pub use export::{ExportOptions, Format, export};
pub use samples::{SamplesOptions, samples, sheet};
