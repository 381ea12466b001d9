//! The settings of a run as plain data: the run configuration, the range of each key, the recipes, and the
//! streams of random numbers that follow from its seeds.
//!
//! A configuration begins with a [`recipe`]; a [`Layer`] holds the settings that a file or a command line
//! changes in it. Every key is described once: its type and meaning in the file of its section, its range in
//! [`KEYS`].
//!
//! Absent by intent: any knowledge of networks, images, the wire or command lines.
//!
//! # Example
//!
//! ```
//! let mut layer = settings::Layer::default();
//! layer.set("run.batch", "8")?;
//! let configuration = layer.over(&settings::recipe("quick")?);
//! configuration.validate()?;
//! assert_eq!(configuration.run.batch, 8);
//! # Ok::<(), settings::ConfigurationError>(())
//! ```

mod choice;
mod configuration;
mod error;
mod keys;
mod layer;
mod network;
mod optimisation;
mod preprocessing;
pub mod random;
mod range;
mod recipes;
#[cfg(test)]
mod reference;
mod run;
mod sampling;

pub use choice::NoSuchChoice;
pub use configuration::{Difference, RunConfiguration, first_difference};
pub use error::ConfigurationError;
pub use keys::{KEYS, Key};
pub use layer::Layer;
pub use network::{CLASSES, INPUT_SIZES, Initialisation, Network, Variant, WIDTHS};
pub use optimisation::{ClassWeights, MomentumPlace, Optimisation, Optimizer, Staleness};
pub use preprocessing::{MEAN, Preprocessing, Resize};
pub use range::Range;
pub use recipes::{recipe, recipe_names};
pub use run::{NEWEST_DATA_RULES, Precision, Run, Wire};
pub use sampling::{Interpolation, Sampling};
