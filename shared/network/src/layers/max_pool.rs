//! Max pooling by Caffe's ceiling rule. The position of the maximum in each window is kept for the backward
//! pass, which sends the gradient to that position only.

use kernels::{MaxPool, Value};

use crate::graph::{Computation, Endpoint};
use crate::layers::{GradientWrite, Operation, Passes};
use crate::memory::{Memory, Part, Step};
use crate::plan::{BufferIndex, Feature};

/// A max pool: 3x3/2 between stages, 3x3/1 with padding 1 inside a module.
pub(crate) struct MaxPoolLayer {
    pub kernel: MaxPool,
    pub input: Feature,
    pub output: Feature,
    /// Index of the maxima's positions in the plan.
    pub switches: usize,
}

impl Operation for MaxPoolLayer {
    fn kind(&self) -> &'static str {
        "max pool"
    }

    fn describe(&self) -> (Computation, Endpoint<'_>, Endpoint<'_>) {
        let MaxPool { kernel, stride, padding, .. } = self.kernel;
        let computation = Computation::MaxPool { kernel, stride, padding };
        (computation, Endpoint::Map(&self.input), Endpoint::Map(&self.output))
    }

    fn needed_backward(&self) -> [Option<BufferIndex>; 2] {
        [None, None]
    }
}

impl<T: Value> Passes<T> for MaxPoolLayer {
    fn forward(&self, step: &Step, memory: &mut Memory) {
        let switches = &mut memory.switches[self.switches];
        let switches = (!switches.is_empty()).then(|| &mut switches[..self.output.values(step.batch)]);
        let [input, output] =
            memory.arena.parts([Part::Values(self.input.buffer), Part::Values(self.output.buffer)]);
        self.kernel.forward(
            step.isa,
            step.pool,
            self.input.map::<T>(input, step.batch),
            self.output.map_mut(output, step.batch),
            switches,
        );
    }

    fn backward_input(&self, step: &Step, memory: &mut Memory, write: GradientWrite) {
        // The positions leave out exactly what a ReLU below would, but not contributions of other layers.
        assert!(
            !(write.rectify && write.accumulate),
            "a pool writes a gradient first, or a layer below writes last"
        );
        let [output, input] =
            memory.arena.parts([Part::Gradient(self.output.buffer), Part::Gradient(self.input.buffer)]);
        self.kernel.backward(
            step.isa,
            step.pool,
            self.output.map::<T>(output, step.batch),
            &memory.switches[self.switches][..self.output.values(step.batch)],
            write.accumulate,
            self.input.map_mut(input, step.batch),
        );
    }
}
