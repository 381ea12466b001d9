//! The first part of a separable conv1: 7x7 convolution with stride 2, each filter on one colour of the planar images, bias,
//! no ReLU; N x 3 x S x S -> N x 24 x S/2 x S/2. The images need no gradient.
//!
//! It runs on the kernel of the plain conv1, with zeros for the colours that a filter does not see: 24 filters are few.

use kernels::{Isa, Pool, Stem, Value};

use crate::graph::{Computation, Place};
use crate::layers::{Operation, Passes, Share};
use crate::memory::{Memory, Needs, Part, Step};
use crate::plan::{BufferIndex, Feature};

/// Floats of a cache line: scratch behind the spread weights starts at one.
const LINE: usize = 16;

/// Filters of single colours; the same number for each, in the order of the colours.
pub(crate) struct DepthwiseStemLayer {
    pub kernel: Stem,
    /// Side of the square images.
    pub side: usize,
    pub output: Feature,
    pub tensor: usize,
}

impl DepthwiseStemLayer {
    /// For each filter the places of its own weights among those of the plain kernel.
    fn places(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let Stem { input_channels: colours, output_channels: filters, kernel, .. } = self.kernel;
        let taps = kernel * kernel;
        (0..filters).map(move |filter| {
            let colour = filter * colours / filters;
            let start = (filter * colours + colour) * taps;
            start..start + taps
        })
    }

    /// Values of the plain kernel's weights, up to a whole line.
    fn spread_len(&self) -> usize {
        self.kernel.weights_len().next_multiple_of(LINE)
    }
}

impl Operation for DepthwiseStemLayer {
    fn kind(&self) -> &'static str {
        "depthwise convolution"
    }

    fn describe(&self) -> (Computation, Place<'_>, Place<'_>) {
        let Stem { input_channels: groups, kernel, stride, padding, .. } = self.kernel;
        let computation = Computation::Convolution { groups, relu: false, kernel, stride, padding };
        (computation, Place::Images, Place::Map(&self.output))
    }

    fn input(&self) -> Option<BufferIndex> {
        None
    }

    fn output(&self) -> BufferIndex {
        self.output.buffer
    }

    fn tensor(&self) -> Option<usize> {
        Some(self.tensor)
    }
}

impl<T: Value> Passes<T> for DepthwiseStemLayer {
    fn needs(&self, isa: Isa, pool: &Pool) -> Needs {
        Needs {
            packed: self.kernel.packed_len::<T>(isa),
            transposed: 0,
            scratch: self.spread_len() + self.kernel.scratch_len::<T>(isa, pool, self.side, self.side),
        }
    }

    fn load(&self, isa: Isa, _pool: &Pool, weights: &[f32], memory: &mut Memory) {
        let spread = &mut memory.scratch[..self.kernel.weights_len()];
        spread.fill(0.0);
        for (place, weights) in
            self.places().zip(weights.chunks_exact(self.kernel.kernel * self.kernel.kernel))
        {
            spread[place].copy_from_slice(weights);
        }
        self.kernel.pack_forward::<T>(isa, spread, &mut memory.parameters[self.tensor]);
    }

    fn forward(&self, step: &Step, memory: &mut Memory) {
        let [output] = memory.arena.parts([Part::Values(self.output.buffer)]);
        self.kernel.forward(
            step.isa,
            step.pool,
            step.batch,
            step.images,
            self.side,
            self.side,
            &memory.parameters[self.tensor],
            &memory.parameters[self.tensor + 1],
            false,
            self.output.map_mut::<T>(output, step.batch),
            &mut memory.scratch,
        );
    }

    fn backward_parameters(&self, step: &Step, memory: &mut Memory, weights: &mut [f32], bias: &mut [f32]) {
        let (spread, scratch) = memory.scratch.split_at_mut(self.spread_len());
        let spread = &mut spread[..self.kernel.weights_len()];
        self.kernel.backward_weights(
            step.isa,
            step.pool,
            step.batch,
            step.images,
            self.side,
            self.side,
            self.output.map::<T>(memory.arena.get(Part::Gradient(self.output.buffer)), step.batch),
            spread,
            bias,
            scratch,
        );
        for (place, weights) in
            self.places().zip(weights.chunks_exact_mut(self.kernel.kernel * self.kernel.kernel))
        {
            weights.copy_from_slice(&spread[place]);
        }
    }

    fn backward_input(&self, _step: &Step, _memory: &mut Memory, _share: Share) {}
}
