//! Convolution with stride 1 that keeps the map's size, bias, ReLU; N x I x H x W -> N x O x H x W.
//!
//! The input may be a concatenation, and the output a part of one: the branches of a module write side by
//! side into one buffer, so that the concatenation costs nothing.

use kernels::{
    BRANCHES, Branch, BranchGradient, Buffer, Convolution, ConvolutionParameters, Isa, ParameterGradients,
    Pool, Value, backward_branches, forward_branches,
};

use crate::graph::{Computation, Endpoint};
use crate::layers::{GradientWrite, Maps, Operation, Passes};
use crate::memory::{Memory, Needs, Part, Step};

/// A convolution inside the network.
pub(crate) struct ConvolutionLayer {
    pub kernel: Convolution,
    pub maps: Maps,
    pub tensor: usize,
}

impl ConvolutionLayer {
    /// The packed weights and the bias among those of the network.
    fn parameters<'a, T: Value>(&self, parameters: &'a [Buffer]) -> ConvolutionParameters<'a, T> {
        ConvolutionParameters { packed: T::of(&parameters[self.tensor]), bias: &parameters[self.tensor + 1] }
    }
}

/// The forward passes of convolutions that read one input.
pub(crate) fn forward_fused<T: Value>(
    layers: [&ConvolutionLayer; BRANCHES],
    step: &Step,
    memory: &mut Memory,
) {
    let [a, b, c] = layers;
    let [input, outputs @ ..] = memory.arena.parts([
        Part::Values(a.maps.input.buffer),
        Part::Values(a.maps.output.buffer),
        Part::Values(b.maps.output.buffer),
        Part::Values(c.maps.output.buffer),
    ]);
    let parameters = &memory.parameters;
    let mut places = layers.into_iter().zip(outputs);
    let branches = layers.map(|layer| Branch {
        convolution: &layer.kernel,
        parameters: layer.parameters(parameters),
        output: places
            .next()
            .map(|(layer, output)| layer.maps.output.map_mut(output, step.batch))
            .expect("one each"),
    });
    let input = a.maps.input.map::<T>(input, step.batch);
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
        Part::Values(a.maps.input.buffer),
        Part::Gradient(a.maps.input.buffer),
        Part::Gradient(a.maps.output.buffer),
        Part::Gradient(b.maps.output.buffer),
        Part::Gradient(c.maps.output.buffer),
    ]);
    let values = a.maps.input.map::<T>(values, step.batch);
    let epilogue = write.epilogue(values);
    let transposed = &memory.transposed;
    let mut places = outputs.into_iter();
    let branches = layers.map(|layer| BranchGradient {
        convolution: &layer.kernel,
        packed: T::of(&transposed[layer.tensor]),
        output_gradient: layer.maps.output.map(places.next().expect("one each"), step.batch),
    });
    let input = a.maps.input.map_mut(input, step.batch);
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
        let (input, output) = self.maps.endpoints();
        (computation, input, output)
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
        let (input, output) = self.maps.values::<T>(&mut memory.arena, step.batch);
        let parameters = self.parameters(&memory.parameters);
        self.kernel.forward(step.context(&mut memory.scratch), input, parameters, true, output);
    }

    fn backward_parameters(&self, step: &Step, memory: &mut Memory, gradients: ParameterGradients) {
        let Maps { input, output } = &self.maps;
        self.kernel.backward_weights(
            step.context(&mut memory.scratch),
            input.map::<T>(memory.arena.get(Part::Values(input.buffer)), step.batch),
            output.map(memory.arena.get(Part::Gradient(output.buffer)), step.batch),
            gradients,
        );
    }

    fn backward_input(&self, step: &Step, memory: &mut Memory, write: GradientWrite) {
        let (values, dy, dx) = self.maps.values_and_gradients::<T>(&mut memory.arena, step.batch);
        let (packed, epilogue) = (T::of(&memory.transposed[self.tensor]), write.epilogue(values));
        self.kernel.backward_input(step.context(&mut memory.scratch), dy, packed, epilogue, dx);
    }
}
