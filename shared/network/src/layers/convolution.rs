//! Convolution with stride 1 that keeps the map's size, bias, ReLU; N x I x H x W -> N x O x H x W.
//!
//! The input may be a concatenation, and the output a part of one: the branches of a module write side by
//! side into one buffer, so that the concatenation costs nothing.

use kernels::{
    BRANCHES, Branch, BranchGradient, Convolution, Isa, ParameterGradients, Pool, Value, backward_branches,
    forward_branches,
};

use crate::graph::{Computation, Endpoint};
use crate::layers::{GradientWrite, Operation, Passes};
use crate::memory::{Memory, Needs, Part, Step};
use crate::plan::Feature;

/// A convolution inside the network.
pub(crate) struct ConvolutionLayer {
    pub kernel: Convolution,
    pub input: Feature,
    pub output: Feature,
    pub tensor: usize,
}

/// The forward passes of convolutions that read one input.
pub(crate) fn forward_fused<T: Value>(
    layers: [&ConvolutionLayer; BRANCHES],
    step: &Step,
    memory: &mut Memory,
) {
    let [a, b, c] = layers;
    let [input, outputs @ ..] = memory.arena.parts([
        Part::Values(a.input.buffer),
        Part::Values(a.output.buffer),
        Part::Values(b.output.buffer),
        Part::Values(c.output.buffer),
    ]);
    let parameters = &memory.parameters;
    let mut places = layers.into_iter().zip(outputs);
    let branches = layers.map(|layer| Branch {
        convolution: &layer.kernel,
        packed: T::of(&parameters[layer.tensor]),
        bias: &parameters[layer.tensor + 1],
        output: places
            .next()
            .map(|(layer, output)| layer.output.map_mut(output, step.batch))
            .expect("one each"),
    });
    let input = a.input.map::<T>(input, step.batch);
    forward_branches(step.context(&mut memory.scratch), input, branches, true);
}

/// The input gradients of convolutions that read one input.
pub(crate) fn backward_input_fused<T: Value>(
    layers: [&ConvolutionLayer; BRANCHES],
    step: &Step,
    memory: &mut Memory,
    write: GradientWrite,
) {
    let [a, b, c] = layers;
    let [values, input, outputs @ ..] = memory.arena.parts([
        Part::Values(a.input.buffer),
        Part::Gradient(a.input.buffer),
        Part::Gradient(a.output.buffer),
        Part::Gradient(b.output.buffer),
        Part::Gradient(c.output.buffer),
    ]);
    let values = a.input.map::<T>(values, step.batch);
    let epilogue = write.epilogue(values);
    let transposed = &memory.transposed;
    let mut places = outputs.into_iter();
    let branches = layers.map(|layer| BranchGradient {
        convolution: &layer.kernel,
        packed: T::of(&transposed[layer.tensor]),
        output_gradient: layer.output.map(places.next().expect("one each"), step.batch),
    });
    let input = a.input.map_mut(input, step.batch);
    backward_branches(step.context(&mut memory.scratch), branches, epilogue, input);
}

impl Operation for ConvolutionLayer {
    fn kind(&self) -> &'static str {
        "convolution"
    }

    fn describe(&self) -> (Computation, Endpoint<'_>, Endpoint<'_>) {
        let kernel = self.kernel.kernel;
        let computation =
            Computation::Convolution { groups: 1, relu: true, kernel, stride: 1, padding: kernel / 2 };
        (computation, Endpoint::Map(&self.input), Endpoint::Map(&self.output))
    }

    fn tensor(&self) -> Option<usize> {
        Some(self.tensor)
    }

    fn convolution(&self) -> Option<&ConvolutionLayer> {
        Some(self)
    }
}

impl<T: Value> Passes<T> for ConvolutionLayer {
    fn kernel_name(&self, isa: Isa) -> Option<String> {
        Some(self.kernel.kernel_name::<T>(isa))
    }

    fn needs(&self, isa: Isa, pool: &Pool) -> Needs {
        Needs {
            packed: T::floats(self.kernel.packed_len::<T>(isa)),
            transposed: T::floats(self.kernel.packed_len::<T>(isa)),
            scratch: self.kernel.scratch_len::<T>(isa, pool),
        }
    }

    fn load(&self, isa: Isa, pool: &Pool, weights: &[f32], memory: &mut Memory) {
        self.kernel.pack_forward(isa, pool, weights, T::of_mut(&mut memory.parameters[self.tensor]));
        let transposed = &mut memory.transposed[self.tensor];
        if !transposed.is_empty() {
            self.kernel.pack_backward(isa, pool, weights, T::of_mut(transposed));
        }
    }

    fn forward(&self, step: &Step, memory: &mut Memory) {
        let [input, output] =
            memory.arena.parts([Part::Values(self.input.buffer), Part::Values(self.output.buffer)]);
        self.kernel.forward(
            step.context(&mut memory.scratch),
            self.input.map(input, step.batch),
            T::of(&memory.parameters[self.tensor]),
            &memory.parameters[self.tensor + 1],
            true,
            self.output.map_mut(output, step.batch),
        );
    }

    fn backward_parameters(&self, step: &Step, memory: &mut Memory, gradients: ParameterGradients) {
        self.kernel.backward_weights(
            step.context(&mut memory.scratch),
            self.input.map::<T>(memory.arena.get(Part::Values(self.input.buffer)), step.batch),
            self.output.map(memory.arena.get(Part::Gradient(self.output.buffer)), step.batch),
            gradients,
        );
    }

    fn backward_input(&self, step: &Step, memory: &mut Memory, write: GradientWrite) {
        let [values, output, input] = memory.arena.parts([
            Part::Values(self.input.buffer),
            Part::Gradient(self.output.buffer),
            Part::Gradient(self.input.buffer),
        ]);
        let values = self.input.map::<T>(values, step.batch);
        let epilogue = write.epilogue(values);
        self.kernel.backward_input(
            step.context(&mut memory.scratch),
            self.output.map(output, step.batch),
            T::of(&memory.transposed[self.tensor]),
            epilogue,
            self.input.map_mut(input, step.batch),
        );
    }
}
