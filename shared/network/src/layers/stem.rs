//! conv1: 7x7 convolution with stride 2 on the planar images, bias, ReLU; N x 3 x S x S -> N x 64 x S/2 x S/2
//! (paper, Table 1). The images need no gradient.

use kernels::{ConvolutionParameters, Isa, ParameterGradients, PlanarImages, Pool, Stem, Value};

use crate::graph::{Computation, Endpoint};
use crate::layers::{Operation, Passes};
use crate::memory::{Arena, Memory, Needs, Part, Step};
use crate::plan::Feature;

/// The first convolution.
pub(crate) struct StemLayer {
    pub kernel: Stem,
    /// Side of the square images in pixels.
    pub side: usize,
    pub output: Feature,
    pub tensor: usize,
}

impl StemLayer {
    /// The description of the layer as a convolution in `groups` groups, with or without ReLU.
    pub(super) fn describe_as(&self, groups: usize, relu: bool) -> (Computation, Endpoint<'_>, Endpoint<'_>) {
        let Stem { kernel, stride, padding, .. } = self.kernel;
        let computation = Computation::Convolution { groups, relu, kernel, stride, padding };
        (computation, Endpoint::Images, Endpoint::Map(&self.output))
    }

    /// Floats of the packed weights for maps of `T`.
    pub(super) fn packed_len<T: Value>(&self, isa: Isa) -> usize {
        self.kernel.packed_len::<T>(isa)
    }

    /// Floats of scratch that the passes need for maps of `T`.
    pub(super) fn scratch_len<T: Value>(&self, isa: Isa, pool: &Pool) -> usize {
        self.kernel.scratch_len::<T>(isa, pool, self.side, self.side)
    }

    /// Packs the kernel's weights into the layer's parameters.
    pub(super) fn pack<T: Value>(&self, isa: Isa, weights: &[f32], parameters: &mut [f32]) {
        self.kernel.pack_forward::<T>(isa, weights, parameters);
    }

    /// Convolves the images of a minibatch, with or without ReLU.
    pub(super) fn convolve<T: Value>(&self, step: &Step, memory: &mut Memory, relu: bool) {
        let [output] = memory.arena.parts([Part::Values(self.output.buffer)]);
        let [packed, bias] = [self.tensor, self.tensor + 1].map(|tensor| &memory.parameters[tensor][..]);
        let parameters = ConvolutionParameters { packed, bias };
        let output = self.output.map_mut::<T>(output, step.batch);
        let context = step.context(&mut memory.scratch);
        self.kernel.forward(context, self.images(step), parameters, relu, output);
    }

    /// Overwrites the gradients of the kernel's weights and bias.
    pub(super) fn weight_gradient<T: Value>(
        &self,
        step: &Step,
        arena: &Arena,
        gradients: ParameterGradients,
        scratch: &mut [f32],
    ) {
        let output_gradient = arena.get(Part::Gradient(self.output.buffer));
        let output_gradient = self.output.map::<T>(output_gradient, step.batch);
        self.kernel.backward_weights(step.context(scratch), self.images(step), output_gradient, gradients);
    }

    /// The images of a minibatch.
    fn images<'a>(&self, step: &Step<'a>) -> PlanarImages<'a> {
        PlanarImages { values: step.images, batch: step.batch, height: self.side, width: self.side }
    }
}

impl Operation for StemLayer {
    fn kind(&self) -> &'static str {
        "convolution"
    }

    fn describe(&self) -> (Computation, Endpoint<'_>, Endpoint<'_>) {
        self.describe_as(1, true)
    }

    fn tensor(&self) -> Option<usize> {
        Some(self.tensor)
    }
}

impl<T: Value> Passes<T> for StemLayer {
    fn needs(&self, isa: Isa, pool: &Pool) -> Needs {
        let (packed, scratch) = (self.packed_len::<T>(isa), self.scratch_len::<T>(isa, pool));
        Needs { packed, transposed: 0, scratch }
    }

    fn load(&self, isa: Isa, _pool: &Pool, weights: &[f32], memory: &mut Memory) {
        self.pack::<T>(isa, weights, &mut memory.parameters[self.tensor]);
    }

    fn forward(&self, step: &Step, memory: &mut Memory) {
        self.convolve::<T>(step, memory, true);
    }

    fn backward_parameters(&self, step: &Step, memory: &mut Memory, gradients: ParameterGradients) {
        self.weight_gradient::<T>(step, &memory.arena, gradients, &mut memory.scratch);
    }
}
