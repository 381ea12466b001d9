//! Tensors: what a shard must know of one to hold, fill and update it without knowing the layer behind it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The rule by which a tensor's initial values are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Initialiser {
    /// A constant, which every value has.
    Constant(f32),
    /// Uniform between `-bound` and `bound`.
    Uniform {
        /// Largest magnitude.
        bound: f32,
    },
    /// Normal with mean 0.
    Normal {
        /// Standard deviation.
        deviation: f32,
    },
}

impl Initialiser {
    /// Returns the number that the initialiser carries.
    pub(crate) fn parameter(self) -> f32 {
        match self {
            Initialiser::Constant(value) => value,
            Initialiser::Uniform { bound } => bound,
            Initialiser::Normal { deviation } => deviation,
        }
    }
}

impl fmt::Display for Initialiser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Initialiser::Constant(value) => write!(f, "constant {value}"),
            Initialiser::Uniform { bound } => write!(f, "uniform {bound}"),
            Initialiser::Normal { deviation } => write!(f, "normal {deviation}"),
        }
    }
}

/// A named tensor of f32 values, row-major: its description, without the values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tensor {
    /// Name of the tensor, unique in its layout, such as `inception_3a/3x3/weights`.
    pub name: String,
    /// Extent of each dimension, outermost first (O x I x H x W for convolutions, O x I for dense layers).
    pub shape: Vec<usize>,
    /// Rule by which the initial values are drawn.
    pub initialiser: Initialiser,
    /// Factor on the learning rate.
    pub rate_multiplier: f32,
    /// Factor on the weight decay (0 for biases).
    pub decay_multiplier: f32,
}

impl Tensor {
    /// Returns the number of values; a layout has checked that it does not overflow.
    pub fn values(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Shows name and shape, as in error texts.
impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.name, self.shape)
    }
}
