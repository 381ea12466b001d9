//! What a run's settings become on this machine: a network, data, threads, an instruction set, a plan of the memory, and
//! at its end scores and a model file.
//!
//! Training (`worker`) and everything that is done with a trained model (`models`) begin here.
//!
//! ```
//! let recipe = configuration::recipe("quick").unwrap();
//! let network = setup::architecture(&recipe.network, 10);
//! assert_eq!(network.classes, 10);
//! ```
//!
//! Absent by intent: the settings themselves (`configuration`), how a network computes (`network`), how an image is
//! decoded (`dataset`).

mod architecture;
mod compute;
mod data;
mod failure;
pub mod memory;
pub mod model_file;
mod scores;

pub use architecture::{architecture, precision};
pub use compute::{ComputeFlags, Threads, isa};
pub use data::{ANY_SIZE, Data, rules, sampling};
pub use failure::exit_of;
pub use model_file::ModelCard;
pub use scores::{Outcome, Tally};
