//! The depthwise part of a separable conv1: 7x7 convolution with stride 2 whose filters see one colour each,
//! bias, no ReLU; N x 3 x S x S -> N x 24 x S/2 x S/2. The images need no gradient.
//!
//! The layer runs on the kernel of the plain conv1, with zero weights for the colours that a filter does not
//! see: with 24 filters that costs little.

use kernels::{Isa, ParameterGradients, Pool, Stem, Value};

use crate::graph::{Computation, Endpoint};
use crate::layers::{Operation, Passes, StemLayer};
use crate::memory::{Memory, Needs, Step};

/// Floats of a cache line: the scratch behind the spread weights starts at one.
const LINE: usize = 16;

/// Filters of single colours: equally many for each colour, in the order of the colours.
pub(crate) struct DepthwiseStemLayer {
    /// The plain convolution of all three colours that computes the layer, with zero weights for the colours
    /// that a filter does not read.
    pub stem: StemLayer,
}

impl DepthwiseStemLayer {
    /// Weights of one filter.
    fn taps(&self) -> usize {
        self.stem.kernel.kernel * self.stem.kernel.kernel
    }

    /// The ranges of the filters' own weights among the plain kernel's weights.
    fn own_weights(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let Stem { input_channels: colours, output_channels: filters, .. } = self.stem.kernel;
        let taps = self.taps();
        (0..filters).map(move |filter| {
            let colour = filter * colours / filters;
            let start = (filter * colours + colour) * taps;
            start..start + taps
        })
    }

    /// Values of the plain kernel's weights, up to a whole cache line.
    fn spread_len(&self) -> usize {
        self.stem.kernel.weights_len().next_multiple_of(LINE)
    }
}

impl Operation for DepthwiseStemLayer {
    fn kind(&self) -> &'static str {
        "depthwise convolution"
    }

    fn describe(&self) -> (Computation, Endpoint<'_>, Endpoint<'_>) {
        self.stem.describe_as(self.stem.kernel.input_channels, false)
    }

    fn tensor(&self) -> Option<usize> {
        Some(self.stem.tensor)
    }
}

impl<T: Value> Passes<T> for DepthwiseStemLayer {
    fn needs(&self, isa: Isa, pool: &Pool) -> Needs {
        let scratch = self.spread_len() + self.stem.scratch_len::<T>(isa, pool);
        Needs { packed: self.stem.packed_len::<T>(isa), transposed: 0, scratch }
    }

    fn load(&self, isa: Isa, _pool: &Pool, weights: &[f32], memory: &mut Memory) {
        let spread = &mut memory.scratch[..self.stem.kernel.weights_len()];
        spread.fill(0.0);
        for (own, weights) in self.own_weights().zip(weights.chunks_exact(self.taps())) {
            spread[own].copy_from_slice(weights);
        }
        self.stem.pack::<T>(isa, spread, &mut memory.parameters[self.stem.tensor]);
    }

    fn forward(&self, step: &Step, memory: &mut Memory) {
        self.stem.convolve::<T>(step, memory, false);
    }

    fn backward_parameters(&self, step: &Step, memory: &mut Memory, gradients: ParameterGradients) {
        let (spread, scratch) = memory.scratch.split_at_mut(self.spread_len());
        let spread = &mut spread[..self.stem.kernel.weights_len()];
        let ParameterGradients { weights, bias } = gradients;
        let of_kernel = ParameterGradients { weights: &mut *spread, bias };
        self.stem.weight_gradient::<T>(step, &memory.arena, of_kernel, scratch);
        for (own, weights) in self.own_weights().zip(weights.chunks_exact_mut(self.taps())) {
            weights.copy_from_slice(&spread[own]);
        }
    }
}
