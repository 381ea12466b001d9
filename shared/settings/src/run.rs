//! The section `[run]` of a configuration.

use serde::{Deserialize, Serialize};

use crate::choice::choice;

/// Batch, length, seed and rhythm of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Seed of the initial values, and of everything that `sample_seed` is not given for.
    pub seed: u64,
    /// Seed of the order, the samples and the dropout masks; left out, `seed`. Runs that differ in this alone
    /// begin with the same parameters, as the members of the paper's ensemble did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_seed: Option<u64>,
    /// Minibatch: the images of one gradient.
    pub batch: usize,
    /// Number format in which workers keep activations, and multiply; left out, "f32".
    #[serde(default)]
    pub precision: Precision,
    /// Length in epochs; `images`, if given, goes first.
    pub epochs: f64,
    /// Length in images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<u64>,
    /// Least length in minibatches: a run on so few images that `epochs` have fewer of them goes through the images
    /// more often, and its evaluations are as much further apart. Left out, and where a length is given after
    /// the recipe, the length is what `epochs` or `images` say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_updates: Option<u64>,
    /// Time between evaluations (the last one always takes place).
    pub evaluate_epochs: f64,
    /// Scoring of the last iterate beside the average at each evaluation, which takes twice the time; the last
    /// evaluation always scores both.
    #[serde(default)]
    pub evaluate_last_iterate: bool,
    /// Time after which a run ends whose evaluations do not gain: none was better than the best before it, by the
    /// average's top-1 accuracy and, where that is equal, by its loss. Left out, the run goes on to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience_epochs: Option<f64>,
    /// Length of one lease.
    pub lease_batches: u64,
    /// Number format in which parameters travel, and gradients unless `gradient_wire` is given. In a format of
    /// less than 16 bits a worker gets the parameters whole once, as 32-bit floats, and then what changed,
    /// which is the same for all workers.
    /// Left out, each worker takes for itself the mildest formats that its link carries, and on a fast link 32-bit floats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire: Option<Wire>,
    /// Number format in which gradients travel; left out, that of `wire`. What a format of less
    /// than 32 bits leaves over of a gradient stays with the worker, which adds it to its next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradient_wire: Option<Wire>,
    /// Model file whose tensors the run starts with, where name and shape are those of the network; left out,
    /// all tensors start by their initialisers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_from: Option<String>,
    /// SHA-256 of that file: left out, the server puts it here as the run begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_sha256: Option<String>,
    /// Version of the rules by which a data folder is read: which files are samples, which are held out for
    /// validation. Left out, the server puts the newest one here as the run begins; runs of before there were
    /// versions have 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_rules: Option<u32>,
    /// Name patterns of tensors that start by their initialisers all the same (`*` stands for any
    /// characters): the classifiers, where the classes are others than the file's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub init_except: Vec<String>,
}

/// The version of the rules by which new runs read a data folder.
pub const NEWEST_DATA_RULES: u32 = 2;

impl Run {
    /// Returns the version of the rules by which the run reads a data folder; without a value it is 1, that
    /// of runs from before there were versions.
    pub fn data_rules(&self) -> u32 {
        self.data_rules.unwrap_or(1)
    }

    /// Returns the number format in which gradients travel, `gradient_wire` or, without it, `wire`; `None`
    /// where each worker takes one that fits its link.
    pub fn gradient_wire(&self) -> Option<Wire> {
        self.gradient_wire.or(self.wire)
    }

    /// Returns the seed of the order, the samples and the dropout masks: `sample_seed` or, without it,
    /// `seed`.
    pub fn sample_seed(&self) -> u64 {
        self.sample_seed.unwrap_or(self.seed)
    }
}

choice! {
    /// The number format of activations, their gradients and the convolutions' packed weights while a
    /// minibatch is computed. In either precision sums are f32, and parameters and their gradients go in and
    /// out as f32.
    #[derive(Default)]
    pub enum Precision {
        /// Activations, gradients and packed weights are 32-bit floats.
        #[default]
        F32 = "f32",
        /// Activations, their gradients and packed weights are the upper 16 bits of 32-bit floats: half the memory. Half as fast again as f32 on AMD's Zen 4 and 5, which
        /// multiply them in pairs at full rate, and twice as fast on Intel's Xeons with AMX; on other
        /// processors slower than f32.
        Bf16 = "bf16",
    }
}

choice! {
    /// The number format of gradients or parameters on the wire.
    pub enum Wire {
        /// Values are sent as 32-bit floats, as they are.
        F32 = "f32",
        /// Values are sent as the upper 16 bits of 32-bit floats, rounded to nearest even: half the bytes.
        Bf16 = "bf16",
        /// Values are sent as whole numbers from -127 to 127, in units of a scale for each 256 of them: a quarter of
        /// the bytes.
        Bits8 = "8bit",
        /// Values are sent as whole numbers from -7 to 7, in units of a scale for each 256 of them: an eighth of the
        /// bytes.
        Bits4 = "4bit",
        /// Values are sent as their signs, with a magnitude for each 256 of them: a 28th of the bytes.
        Bits1 = "1bit",
        /// Only the largest values of each block of at most 262,144 are sent: a hundredth of them, or 32. About a 200th
        /// of the bytes.
        TopPercent = "top1%",
        /// Only the largest values of each block of at most 262,144 are sent: a thousandth of them, or 32. About a
        /// 700th of the bytes.
        TopPermille = "top0.1%",
    }
}

impl Wire {
    /// The formats in which values are whole: nothing but rounding is left over of them. Parameters in another
    /// format travel as differences, to values that the receiver has.
    pub const WHOLE: [Wire; 2] = [Wire::F32, Wire::Bf16];

    /// Returns whether values in this format are whole.
    pub fn is_whole(self) -> bool {
        Wire::WHOLE.contains(&self)
    }

    /// Returns whether only the largest values are sent in this format, so that most wait for many steps.
    pub fn is_of_largest(self) -> bool {
        matches!(self, Wire::TopPercent | Wire::TopPermille)
    }
}
