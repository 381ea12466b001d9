//! A task of the weight gradient of a direct convolution: some input blocks times some output blocks.

use super::{Channels, Convolution};
use crate::gradients::SharedGradients;
use crate::map::{LANES, Map};
use std::ops::Range;

/// The pairs of a task: some input blocks times some output blocks, over all images; no other task has any of
/// these pairs.
pub(super) struct BlockPairs<'a, T> {
    pub(super) conv: &'a Convolution,
    pub(super) input: Map<'a, T>,
    pub(super) output_gradient: Map<'a, T>,
    pub(super) input_blocks: Range<usize>,
    pub(super) output_blocks: Range<usize>,
    pub(super) gradients: SharedGradients<'a>,
}

impl<'a, T> BlockPairs<'a, T> {
    /// Channels of each input block.
    #[inline(always)]
    pub(super) fn inputs(&self) -> &'a [Channels] {
        &self.conv.inputs.blocks[self.input_blocks.clone()]
    }

    /// Channels of each output block.
    #[inline(always)]
    pub(super) fn outputs(&self) -> &'a [Channels] {
        &self.conv.outputs.blocks[self.output_blocks.clone()]
    }

    /// Writes the gradient of the bias, if the task is the one that does so for its outputs. The sums are
    /// those of all lanes of each output block.
    #[inline(always)]
    pub(super) fn write_bias(&self, sums: &[f32]) {
        if self.input_blocks.start > 0 {
            return;
        }
        for (output, sums) in self.outputs().iter().zip(sums.chunks_exact(LANES)) {
            // SAFETY: only the task of the first input blocks writes these output channels.
            let gradient = unsafe { self.gradients.bias.part(output.first, output.count) };
            gradient.copy_from_slice(&sums[..output.count]);
        }
    }
}
