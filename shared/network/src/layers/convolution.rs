//! Convolution with stride 1 that keeps the map's size, bias, ReLU; N x I x H x W -> N x O x H x W.
//!
//! The input may be a concatenation, the output a part of one: a module's branches write side by side into
//! one buffer, so that concatenating costs nothing.

use kernels::{
    BRANCHES, Branch, BranchGradient, Convolution, Epilogue, Isa, Pool, Value, backward_branches,
    forward_branches,
};

use crate::graph::{Computation, Place};
use crate::layers::{Operation, Passes, Share};
use crate::memory::{Memory, Needs, Part, Step};
use crate::plan::{BufferIndex, Feature};

/// A convolution inside the network.
pub(crate) struct ConvolutionLayer {
    pub kernel: Convolution,
    pub input: Feature,
    pub output: Feature,
    pub tensor: usize,
}

/// [`Operation::forward`] of convolutions that read one input.
pub(crate) fn forward_together<T: Value>(
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
    forward_branches(step.isa, step.pool, input, branches, true, &mut memory.scratch);
}

/// [`Operation::backward_input`] of convolutions that read one input.
pub(crate) fn backward_input_together<T: Value>(
    layers: [&ConvolutionLayer; BRANCHES],
    step: &Step,
    memory: &mut Memory,
    share: Share,
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
    let epilogue = Epilogue { accumulate: share.accumulate, relu: share.rectify.then_some(values) };
    let transposed = &memory.transposed;
    let mut places = outputs.into_iter();
    let branches = layers.map(|layer| BranchGradient {
        convolution: &layer.kernel,
        packed: T::of(&transposed[layer.tensor]),
        output_gradient: layer.output.map(places.next().expect("one each"), step.batch),
    });
    let input = a.input.map_mut(input, step.batch);
    backward_branches(step.isa, step.pool, branches, epilogue, input, &mut memory.scratch);
}

impl Operation for ConvolutionLayer {
    fn kind(&self) -> &'static str {
        "convolution"
    }

    fn describe(&self) -> (Computation, Place<'_>, Place<'_>) {
        let kernel = self.kernel.kernel;
        let computation =
            Computation::Convolution { groups: 1, relu: true, kernel, stride: 1, padding: kernel / 2 };
        (computation, Place::Map(&self.input), Place::Map(&self.output))
    }

    fn input(&self) -> Option<BufferIndex> {
        Some(self.input.buffer)
    }

    fn remembers(&self) -> [Option<BufferIndex>; 2] {
        [Some(self.input.buffer), None]
    }

    fn output(&self) -> BufferIndex {
        self.output.buffer
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
            step.isa,
            step.pool,
            self.input.map(input, step.batch),
            T::of(&memory.parameters[self.tensor]),
            &memory.parameters[self.tensor + 1],
            true,
            self.output.map_mut(output, step.batch),
            &mut memory.scratch,
        );
    }

    fn backward_parameters(&self, step: &Step, memory: &mut Memory, weights: &mut [f32], bias: &mut [f32]) {
        self.kernel.backward_weights(
            step.isa,
            step.pool,
            self.input.map::<T>(memory.arena.get(Part::Values(self.input.buffer)), step.batch),
            self.output.map(memory.arena.get(Part::Gradient(self.output.buffer)), step.batch),
            weights,
            bias,
            &mut memory.scratch,
        );
    }

    fn backward_input(&self, step: &Step, memory: &mut Memory, share: Share) {
        let [values, output, input] = memory.arena.parts([
            Part::Values(self.input.buffer),
            Part::Gradient(self.output.buffer),
            Part::Gradient(self.input.buffer),
        ]);
        let values = self.input.map::<T>(values, step.batch);
        let epilogue = Epilogue { accumulate: share.accumulate, relu: share.rectify.then_some(values) };
        self.kernel.backward_input(
            step.isa,
            step.pool,
            self.output.map(output, step.batch),
            T::of(&memory.transposed[self.tensor]),
            epilogue,
            self.input.map_mut(input, step.batch),
            &mut memory.scratch,
        );
    }
}
