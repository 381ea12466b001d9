//! The section `[network]` of a configuration.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::choice::choice;

/// The network: GoogLeNet, whole or reduced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Classes; left out, the data decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
    /// Side of the square input.
    pub input_size: usize,
    /// Width multiplier: but for 1, each channel count goes to the nearest multiple of 8, at least 8.
    pub width: f32,
    /// Whether the two auxiliary classifiers are there in training.
    pub auxiliary_heads: bool,
    /// Initial values of the weights and biases.
    pub initialisation: Initialisation,
    /// Whether dropout (0.4 main, 0.7 auxiliary) is on in training.
    pub dropout: bool,
    /// Variant of the network that the paper describes; left out, "table".
    #[serde(default)]
    pub variant: Variant,
}

/// The numbers of classes that a network may have.
pub const CLASSES: RangeInclusive<usize> = 2..=100_000;
/// The sides, in pixels, that the input of a network may have.
pub const INPUT_SIZES: RangeInclusive<usize> = 32..=2048;
/// The width multipliers that a network may have.
pub const WIDTHS: RangeInclusive<f64> = 0.05..=4.0;

choice! {
    /// The variants of GoogLeNet that the paper describes.
    #[derive(Default)]
    pub enum Variant {
        /// Table 1 by its filter counts, like every public GoogLeNet.
        #[default]
        Table = "table",
        /// The network behind Table 1's printed operation counts, 1,500,878,720 multiply-adds at full width:
        /// a separable stem with depth multiplier 8, 204 filters of 3x3 in module 4a, and 48 filters in the
        /// 5x5 reduction of 5a.
        Operations = "operations",
        /// Modules of Figure 2a, without dimension reduction: 1x1, 3x3 and 5x5 convolutions of the whole
        /// input, and the pooled input itself.
        Naive = "naive",
    }
}

choice! {
    /// Initial values of weights and biases. In both schemes the three classifiers start from a normal
    /// distribution with standard deviation 1/1024 and bias 0, so that the first loss is near ln(classes).
    pub enum Initialisation {
        /// Those of the public BVLC model, but for the classifiers: uniform weights with variance 1/fan_in, biases
        /// 0.2.
        Bvlc = "bvlc",
        /// He initialisation, but for the classifiers: uniform weights with variance 2/fan_in, biases 0.
        He = "he",
    }
}
