//! Average pooling by Caffe's ceiling rule; a clipped window's sum is divided by what is left of the window.

use kernels::{AveragePool, Epilogue, Value};

use crate::graph::{Computation, Place};
use crate::layers::{Operation, Passes, Share};
use crate::memory::{Memory, Part, Step};
use crate::plan::{BufferIndex, Feature};

/// 5x5/3 at the foot of an auxiliary head; the whole map in front of the main classifier.
pub(crate) struct AveragePoolLayer {
    pub kernel: AveragePool,
    pub input: Feature,
    pub output: Feature,
}

impl Operation for AveragePoolLayer {
    fn kind(&self) -> &'static str {
        "average pool"
    }

    fn describe(&self) -> (Computation, Place<'_>, Place<'_>) {
        let AveragePool { kernel, stride } = self.kernel;
        let computation = Computation::AveragePool { kernel, stride };
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

    fn backward_input(&self, step: &Step, memory: &mut Memory, share: Share) {
        let [values, output, input] = memory.arena.parts([
            Part::Values(self.input.buffer),
            Part::Gradient(self.output.buffer),
            Part::Gradient(self.input.buffer),
        ]);
        let values = self.input.map::<T>(values, step.batch);
        let epilogue = Epilogue { accumulate: share.accumulate, relu: share.rectify.then_some(values) };
        self.kernel.backward(
            step.isa,
            step.pool,
            self.output.map(output, step.batch),
            epilogue,
            self.input.map_mut(input, step.batch),
        );
    }
}
