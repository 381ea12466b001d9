//! Fully connected layer, y = x W' + b, with or without ReLU; N x I -> N x O, weights O x I.

use kernels::{Dense, DenseParameters, Isa, ParameterGradients, Pool, Value, copy, relu_backward};

use crate::graph::{Computation, Endpoint};
use crate::layers::{GradientWrite, Operation, Passes};
use crate::memory::{Memory, Needs, Part, Step};
use crate::plan::{BufferIndex, Rows};

/// A fully connected layer: an auxiliary head's hidden layer (with ReLU) or a classifier (without).
pub(crate) struct DenseLayer {
    pub kernel: Dense,
    pub relu: bool,
    pub input: Rows,
    pub output: Rows,
    pub tensor: usize,
}

impl Operation for DenseLayer {
    fn kind(&self) -> &'static str {
        "fully connected"
    }

    fn describe(&self) -> (Computation, Endpoint<'_>, Endpoint<'_>) {
        let computation = Computation::Dense { relu: self.relu };
        (computation, Endpoint::Rows(self.input), Endpoint::Rows(self.output))
    }

    fn needed_backward(&self) -> [Option<BufferIndex>; 2] {
        [Some(self.input.buffer), self.relu.then_some(self.output.buffer)]
    }

    fn tensor(&self) -> Option<usize> {
        Some(self.tensor)
    }
}

impl<T: Value> Passes<T> for DenseLayer {
    fn needs(&self, _isa: Isa, pool: &Pool) -> Needs {
        let packed = self.kernel.inputs * self.kernel.outputs;
        Needs { packed, transposed: 0, scratch: self.kernel.scratch_len(pool) }
    }

    fn load(&self, isa: Isa, pool: &Pool, weights: &[f32], memory: &mut Memory) {
        copy(isa, pool, weights, &mut memory.parameters[self.tensor]);
    }

    fn forward(&self, step: &Step, memory: &mut Memory) {
        let [input, output] =
            memory.arena.parts([Part::Values(self.input.buffer), Part::Values(self.output.buffer)]);
        let [weights, bias] = [self.tensor, self.tensor + 1].map(|tensor| &memory.parameters[tensor][..]);
        self.kernel.forward(
            step.context(&mut memory.scratch),
            step.batch,
            self.input.of(input, step.batch),
            DenseParameters { weights, bias },
            self.relu,
            self.output.of_mut(output, step.batch),
        );
    }

    fn backward_parameters(&self, step: &Step, memory: &mut Memory, gradients: ParameterGradients) {
        if self.relu {
            let [output, gradient] =
                memory.arena.parts([Part::Values(self.output.buffer), Part::Gradient(self.output.buffer)]);
            let gradient = self.output.of_mut(gradient, step.batch);
            relu_backward(step.isa, step.pool, self.output.of(output, step.batch), gradient);
        }
        let gradient = self.output.of(memory.arena.get(Part::Gradient(self.output.buffer)), step.batch);
        let input = self.input.of(memory.arena.get(Part::Values(self.input.buffer)), step.batch);
        self.kernel.backward_weights(
            step.context(&mut memory.scratch),
            step.batch,
            input,
            gradient,
            gradients,
        );
    }

    fn backward_input(&self, step: &Step, memory: &mut Memory, write: GradientWrite) {
        assert!(!write.accumulate, "nothing else reads a fully connected layer's input");
        let [output, input] =
            memory.arena.parts([Part::Gradient(self.output.buffer), Part::Gradient(self.input.buffer)]);
        self.kernel.backward_input(
            step.context(&mut memory.scratch),
            step.batch,
            self.output.of(output, step.batch),
            &memory.parameters[self.tensor],
            self.input.of_mut(input, step.batch),
        );
    }
}
