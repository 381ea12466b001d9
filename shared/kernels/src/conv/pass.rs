//! The passes of a convolution: the arguments of the kernels.

use crate::disjoint::Disjoint;
use crate::gradients::ParameterGradients;
use crate::map::{LANES, Map, Shape};
use std::ops::Range;

/// Input, weights and output of a convolution with stride 1. The input gradient is such a pass as well: of
/// the output gradient, over weights packed backward.
pub(super) struct Pass<'a, T> {
    pub(super) kernel: usize,
    pub(super) input: Map<'a, T>,
    /// Number of channels of each input block.
    pub(super) depths: &'a [usize],
    pub(super) packed: &'a [T],
    /// Number of panels in `packed`.
    pub(super) panels: usize,
    /// Bias of the output channels; channels past its end have none.
    pub(super) bias: &'a [f32],
    pub(super) relu: bool,
    /// Whether the result is added to the output.
    pub(super) accumulate: bool,
    /// Values, in blocks like the output, wherever which the result is zero unless they are positive.
    pub(super) mask: Option<Map<'a, T>>,
    pub(super) output: Disjoint<'a, T>,
    pub(super) output_shape: Shape,
    /// Range of blocks in the output.
    pub(super) output_blocks: Range<usize>,
}

impl<T> Pass<'_, T> {
    /// Whether both passes read the same padded input.
    pub(super) fn reads_as(&self, other: &Pass<'_, T>) -> bool {
        let input =
            |pass: &Pass<'_, T>| (pass.kernel, pass.input.data.as_ptr(), pass.input.first, pass.input.count);
        input(self) == input(other)
    }

    /// Bias of an output block, counted from the first that is written.
    pub(super) fn bias_of(&self, block: usize) -> [f32; LANES] {
        let mut bias = [0.0; LANES];
        bias.iter_mut().zip(self.bias.iter().skip(block * LANES)).for_each(|(to, value)| *to = *value);
        bias
    }

    /// Values `from .. from + len` of the mask of an output block, counted from the first that is written.
    #[inline(always)]
    pub(super) fn mask_of(&self, image: usize, block: usize, from: usize, len: usize) -> Option<&[T]> {
        self.mask.as_ref().map(|mask| &mask.plane(image, block)[from..][..len])
    }
}

/// The pass that overwrites the gradients of weights and bias with the sums over all images.
pub(super) struct WeightPass<'a, T> {
    pub(super) input: Map<'a, T>,
    pub(super) output_gradient: Map<'a, T>,
    pub(super) gradients: ParameterGradients<'a>,
}
