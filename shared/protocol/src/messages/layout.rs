//! The layout of a network's parameters on the wire.

use parameters::{BLOCK_VALUES, Initialiser, Layout, MOST_VALUES, Tensor};

use crate::{
    fields::{FieldError, listed, name, required},
    proto,
};

/// Most tensors of a network; those of GoogLeNet are 128.
const MOST_TENSORS: usize = 1 << 14;
/// Most blocks of a network: those that a layout of the most values is cut into, and the last one of each
/// tensor.
pub(super) const MOST_BLOCKS: usize = MOST_VALUES / BLOCK_VALUES + MOST_TENSORS;
/// Most dimensions of a tensor; those of a network have four.
const MOST_DIMENSIONS: usize = 8;

impl From<&Tensor> for proto::Tensor {
    fn from(tensor: &Tensor) -> proto::Tensor {
        use proto::tensor::Initialiser as Start;
        proto::Tensor {
            name: tensor.name.clone(),
            shape: tensor.shape.iter().map(|&extent| extent as u64).collect(),
            rate_multiplier: tensor.rate_multiplier,
            decay_multiplier: tensor.decay_multiplier,
            initialiser: Some(match tensor.initialiser {
                Initialiser::Constant(value) => Start::Constant(value),
                Initialiser::Uniform { bound } => Start::UniformBound(bound),
                Initialiser::Normal { deviation } => Start::NormalDeviation(deviation),
            }),
        }
    }
}

impl TryFrom<proto::Tensor> for Tensor {
    type Error = FieldError;

    fn try_from(tensor: proto::Tensor) -> Result<Tensor, FieldError> {
        use proto::tensor::Initialiser as Start;
        let extent = |extent: u64| {
            usize::try_from(extent)
                .map_err(|_| FieldError::new("Tensor", "shape", "an extent that fits in memory", extent))
        };
        let shape = listed(tensor.shape, MOST_DIMENSIONS, "dimensions", "Tensor", "shape")?;
        Ok(Tensor {
            shape: shape.into_iter().map(extent).collect::<Result<_, _>>()?,
            initialiser: match required(tensor.initialiser, "Tensor", "initialiser")? {
                Start::Constant(value) => Initialiser::Constant(value),
                Start::UniformBound(bound) => Initialiser::Uniform { bound },
                Start::NormalDeviation(deviation) => Initialiser::Normal { deviation },
            },
            name: name(tensor.name, "Tensor", "name")?,
            rate_multiplier: tensor.rate_multiplier,
            decay_multiplier: tensor.decay_multiplier,
        })
    }
}

impl From<Layout> for proto::Layout {
    fn from(layout: Layout) -> proto::Layout {
        proto::Layout { tensors: layout.tensors().iter().map(proto::Tensor::from).collect() }
    }
}

impl TryFrom<proto::Layout> for Layout {
    type Error = FieldError;

    fn try_from(layout: proto::Layout) -> Result<Layout, FieldError> {
        let tensors = listed(layout.tensors, MOST_TENSORS, "tensors", "Layout", "tensors")?;
        let tensors = tensors.into_iter().map(Tensor::try_from).collect::<Result<_, _>>()?;
        Layout::new(tensors).map_err(|error| FieldError::new("Layout", "tensors", "a usable layout", error))
    }
}
