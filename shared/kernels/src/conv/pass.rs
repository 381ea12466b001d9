//! One pass of a convolution over packed weights, forward or by the input: what the kernels are given.

use crate::disjoint::Disjoint;
use crate::map::{LANES, Map, Shape};
use std::ops::Range;

/// Input, weights and output of a convolution with stride 1. The gradient by the input is such a pass as well: from the
/// gradient by the output, over weights packed backward.
pub(super) struct Pass<'a, T> {
    pub(super) kernel: usize,
    pub(super) input: Map<'a, T>,
    /// Channels of each input block.
    pub(super) depths: &'a [usize],
    pub(super) packed: &'a [T],
    /// Panels that `packed` is cut into.
    pub(super) panels: usize,
    /// Added to every output channel; channels past its end get nothing.
    pub(super) bias: &'a [f32],
    pub(super) relu: bool,
    /// Adds to the output.
    pub(super) accumulate: bool,
    /// Then zeroes it where these values, in blocks as those that are written, are not positive.
    pub(super) mask: Option<Map<'a, T>>,
    pub(super) output: Disjoint<'a, T>,
    pub(super) output_shape: Shape,
    /// First block and number of blocks in the output.
    pub(super) output_blocks: Range<usize>,
}

impl<T> Pass<'_, T> {
    /// Whether what lies around its input is that of another pass as well.
    pub(super) fn reads_as(&self, other: &Pass<'_, T>) -> bool {
        let input =
            |pass: &Pass<'_, T>| (pass.kernel, pass.input.data.as_ptr(), pass.input.first, pass.input.count);
        input(self) == input(other)
    }

    /// What is added to the channels of an output block, counted from the first that is written.
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
