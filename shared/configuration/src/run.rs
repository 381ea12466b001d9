//! The run configuration: one type, held and snapshotted by the server, returned to every worker that joins.

use std::collections::BTreeMap;
use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Everything that decides what a run computes. TOML on disk, JSON on the wire; unknown keys are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RunConfiguration {
    /// Name of the recipe that the run started from.
    pub recipe: String,
    /// The network.
    pub network: Network,
    /// How training crops are drawn.
    pub sampling: Sampling,
    /// How the server applies gradients.
    pub optimisation: Optimisation,
    /// Batch, length, seed and rhythm of the run.
    pub run: Run,
}

/// The network: GoogLeNet, whole or reduced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Classes; left out, the data decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
    /// Side of the square input, pixels.
    pub input_size: usize,
    /// Width multiplier: each channel count goes to the nearest multiple of 8, at least 8.
    pub width: f32,
    /// Whether the two auxiliary classifiers are there in training.
    pub auxiliary_heads: bool,
    /// How weights start.
    pub initialisation: Initialisation,
    /// Whether dropout (0.4 main, 0.7 auxiliary) is on in training.
    pub dropout: bool,
    /// Which of the paper's networks; left out, "table".
    #[serde(default)]
    pub variant: Variant,
}

/// Which of the paper's networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// Table 1 by its filter counts, as every public GoogLeNet.
    #[default]
    Table,
    /// The network of Table 1's printed operations: separable stem, 204 filters of 3x3 in 4a, 48 of the 5x5 reduction in 5a.
    Operations,
    /// Modules without dimension reduction (Figure 2a).
    Naive,
}

/// Initial values of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Initialisation {
    /// As the public BVLC model: uniform with variance 1/fan_in, biases 0.2.
    Bvlc,
    /// Uniform with variance 2/fan_in, biases 0.
    He,
}

/// How training samples are made of images (paper, section 6).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Least and largest share of the image's area, drawn uniformly. Some of the paper's models saw mainly smaller
    /// relative crops (such as [0.08, 0.5]), others mainly larger ones ([0.5, 1.0]).
    pub area: [f32; 2],
    /// Least and largest aspect ratio (width / height), drawn log-uniformly.
    pub aspect: [f32; 2],
    /// Whether half of the crops are mirrored.
    pub mirror: bool,
    /// Interpolations of the resize, equally probable: "bilinear", "area", "nearest", "cubic".
    pub interpolation: Vec<Interpolation>,
    /// Brightness changes by a factor in 1 +- this; 0 is off (Howard 2013: 0.5). Brightness, contrast and saturation
    /// come in random order.
    pub brightness: f32,
    /// Contrast changes by a factor in 1 +- this; 0 is off (0.5).
    pub contrast: f32,
    /// Saturation changes by a factor in 1 +- this; 0 is off (0.5).
    pub saturation: f32,
    /// Standard deviation of the random lighting along the principal components of colour; 0 is off (AlexNet: 0.1).
    pub lighting: f32,
}

/// How a crop is resized to the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Linear between pixels, over all of them where the crop shrinks.
    Bilinear,
    /// The mean of the area that a pixel covers.
    Area,
    /// The nearest pixel.
    Nearest,
    /// Catmull-Rom's cubic, over all pixels where the crop shrinks.
    Cubic,
}

/// Asynchronous momentum SGD with the paper's staircase and Polyak averaging.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Optimisation {
    /// Base learning rate (torch's form of momentum: the rate is outside the velocity).
    pub learning_rate: f64,
    /// Momentum.
    pub momentum: f64,
    /// L2 penalty on weights; biases have none.
    pub weight_decay: f64,
    /// Factor of each stair (0.96).
    pub stair_factor: f64,
    /// Epochs of one stair (8).
    pub stair_epochs: f64,
    /// Share of the run's samples over which the rate rises linearly from zero.
    pub ramp: f64,
    /// Upper bound of the Polyak average's decay; (1 + t) / (10 + t) below it.
    pub average_decay: f64,
    /// Clip of a push by its global norm, on the worker; left out, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Clip of each tensor's gradient at so many running means of its norm, on the worker; left out, none. It follows the
    /// run, and no tensor waits for the whole gradient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_tensors: Option<f64>,
    /// Where momentum lives once several workers push; left out, "shard".
    #[serde(default)]
    pub momentum_at: MomentumPlace,
    /// Factors on the learning rate of tensors by name pattern (`*` stands for any characters); a tensor takes those of
    /// all patterns that fit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rate_multipliers: BTreeMap<String, f32>,
}

/// Where momentum lives. A single worker always trains with the shards' velocity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum MomentumPlace {
    /// In one velocity for all workers, at the shards.
    #[default]
    Shard,
    /// In a velocity of each worker, which pushes steps that the shards add.
    Worker,
}

/// Batch, length, seed and rhythm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Seed of the initial values, and of everything that `sample_seed` is not given for.
    pub seed: u64,
    /// Seed of the order, the samples and the dropout masks; left out, `seed`. Runs that differ in this alone begin with
    /// the same parameters, as the members of the paper's ensemble did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_seed: Option<u64>,
    /// Images of one minibatch.
    pub batch: usize,
    /// What workers keep activations in, and multiply; left out, "f32".
    #[serde(default)]
    pub precision: Precision,
    /// Length in epochs; `images`, if given, goes first.
    pub epochs: f64,
    /// Length in images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<u64>,
    /// Epochs between evaluations (the last one always takes place).
    pub evaluate_epochs: f64,
    /// Minibatches of one lease.
    pub lease_batches: u64,
    /// Number format of gradients and parameters on the wire.
    pub wire: Wire,
    /// Model file whose tensors the run starts with, where name and shape are those of the network; left out, all
    /// tensors start by their initialisers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_from: Option<String>,
    /// SHA-256 of that file, hexadecimal: left out, the server puts it here as the run begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_sha256: Option<String>,
    /// Version of the rules by which a data folder is read: which files are samples, which are put aside for validation.
    /// Left out, the server puts the newest one here as the run begins; runs of before there were versions have 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_rules: Option<u32>,
    /// Name patterns of tensors that start by their initialisers all the same (`*` stands for any characters): the
    /// classifiers, where the classes are others than the file's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub init_except: Vec<String>,
}

/// The version of the rules by which new runs read a data folder.
pub const NEWEST_DATA_RULES: u32 = 2;

impl Run {
    /// The version of the rules by which the run reads a data folder.
    pub fn data_rules(&self) -> u32 {
        self.data_rules.unwrap_or(1)
    }

    /// The seed of the order, the samples and the dropout masks.
    pub fn sample_seed(&self) -> u64 {
        self.sample_seed.unwrap_or(self.seed)
    }
}

/// What activations, their gradients and the weights of convolutions are kept in while a minibatch is computed. Sums are f32, and
/// so are the parameters of the server and the gradients that it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// The upper 16 bits of each: half the memory. Half as fast again as f32 on AMD's Zen 4 and 5, which multiply them in pairs at full
    /// rate, and twice as fast on Intel's Xeons with AMX; on other processors slower than f32.
    Bf16,
}

impl fmt::Display for Precision {
    /// As flags and files name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no value is left out of the flags");
        f.write_str(value.get_name())
    }
}

/// Number format on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Wire {
    /// 32-bit floats: exact.
    F32,
    /// The upper 16 bits, rounded to nearest even: half the bytes.
    Bf16,
}

impl RunConfiguration {
    /// Samples in the whole run, for a training set of `images`; never more than can be counted.
    pub fn total_samples(&self, images: u64) -> u64 {
        self.run.images.unwrap_or_else(|| (self.run.epochs * images as f64).round().max(1.0) as u64)
    }
}

/// What is wrong with a configuration, a recipe name or a flag.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// A value out of its range.
    #[error("configuration key {key}: found {found}, expected {expected}")]
    Value {
        /// The key, dotted.
        key: &'static str,
        /// The value found.
        found: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// No such recipe.
    #[error("recipe {found:?} is not known; expected one of {known}")]
    Recipe {
        /// The name given.
        found: String,
        /// The names there are.
        known: String,
    },
    /// The file could not be read.
    #[error("cannot read configuration file {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be: syntax, an unknown key, a value of another type.
    #[error("configuration file {path}: {text}")]
    Parse {
        /// The file.
        path: String,
        /// The parser's text, with line and key.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_samples_of_a_run_can_always_be_counted() {
        let mut configuration = crate::recipe("paper").unwrap();
        configuration.run.epochs = 1e6;
        assert_eq!(configuration.total_samples(1000), 1_000_000_000);
        assert_eq!(configuration.total_samples(u64::MAX), u64::MAX);
        configuration.run.epochs = 1e-9;
        assert_eq!(configuration.total_samples(1000), 1);
    }
}
