//! What is done with a trained model, and with images before there is one; no server and no training.
//!
//! A model file is opened in one way, whatever its kind, and then [`evaluate`](evaluate()) scores it,
//! [`classify`](classify()) names images and [`export`](export()) writes it for other programs. [`describe`]
//! and [`bench`](mod@bench) tell what a network is made of and how fast it runs here, [`look`] and
//! [`samples`](samples()) what is in a folder of images and what training makes of them.
//!
//! ```
//! let network = network::GoogLeNet::new(&network::Architecture::paper())?;
//! let table = models::describe::table(&network.describe());
//! assert!(table.contains("inception_3a/1x1"));
//! # Ok::<(), network::ArchitectureError>(())
//! ```
//!
//! Absent by intent: how a network computes (`network`), what a file of another program is made of
//! (`formats`), and the command line (`downpour`).

pub mod bench;
mod classify;
pub mod describe;
pub mod evaluate;
mod export;
pub mod labels;
mod loaded;
pub mod look;
pub mod roofline;
mod samples;

pub use classify::{ClassifyOptions, classify};
pub use evaluate::{Combine, EvaluateOptions, Part, evaluate};
pub use export::{ExportOptions, Format, export};
pub use samples::{SamplesOptions, samples};
