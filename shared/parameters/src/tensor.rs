//! The description of a tensor: what a shard must know to hold, fill and update it without knowing its layer.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The initialiser of a tensor: the rule by which its initial values are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Initialiser {
    /// The same constant for every value.
    Constant(f32),
    /// Values drawn uniformly between `-bound` and `bound`.
    Uniform {
        /// Largest magnitude of a value.
        bound: f32,
    },
    /// Values drawn from a normal distribution with mean 0.
    Normal {
        /// Standard deviation of the values.
        deviation: f32,
    },
}

impl Initialiser {
    /// Returns the parameter of the initialiser: its constant, bound or standard deviation.
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

/// The description of a named tensor of f32 values, row-major, without the values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tensor {
    /// Name of the tensor, unique in its layout, such as `inception_3a/3x3/weights`.
    pub name: String,
    /// Extent of each dimension, outermost first (O x I x H x W for convolutions, O x I for dense layers).
    pub shape: Vec<usize>,
    /// Rule by which the initial values are drawn.
    pub initialiser: Initialiser,
    /// Factor by which the learning rate is multiplied for this tensor.
    pub rate_multiplier: f32,
    /// Factor by which the weight decay is multiplied for this tensor (0 for biases).
    pub decay_multiplier: f32,
}

impl Tensor {
    /// Returns the number of values of the tensor. In a tensor of a layout it does not overflow, which the
    /// layout has checked.
    pub fn values(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Writes name and shape of the tensor, as error texts show them.
impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.name, self.shape)
    }
}
