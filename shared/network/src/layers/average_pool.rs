//! Average pooling by Caffe's ceiling rule; the sum of a clipped window is divided by the pixels that remain
//! of it.

use kernels::{AveragePool, Value};

use crate::graph::{Computation, Endpoint};
use crate::layers::{GradientWrite, Operation, Passes};
use crate::memory::{Memory, Part, Step};
use crate::plan::Feature;

/// A 5x5/3 average pool at the foot of an auxiliary head, or the global one in front of the main classifier.
pub(crate) struct AveragePoolLayer {
    pub kernel: AveragePool,
    pub input: Feature,
    pub output: Feature,
}

impl Operation for AveragePoolLayer {
    fn kind(&self) -> &'static str {
        "average pool"
    }

    fn describe(&self) -> (Computation, Endpoint<'_>, Endpoint<'_>) {
        let AveragePool { kernel, stride } = self.kernel;
        let computation = Computation::AveragePool { kernel, stride };
        (computation, Endpoint::Map(&self.input), Endpoint::Map(&self.output))
    }
}

impl<T: Value> Passes<T> for AveragePoolLayer {
    fn forward(&self, step: &Step, memory: &mut Memory) {
        let [input, output] =
            memory.arena.parts([Part::Values(self.input.buffer), Part::Values(self.output.buffer)]);
        self.kernel.forward(
            step.isa,
            step.pool,
            self.input.map::<T>(input, step.batch),
            self.output.map_mut(output, step.batch),
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
        self.kernel.backward(
            step.isa,
            step.pool,
            self.output.map(output, step.batch),
            epilogue,
            self.input.map_mut(input, step.batch),
        );
    }
}
