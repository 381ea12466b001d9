//! Average pooling by Caffe's ceiling rule; the sum of a clipped window is divided by the pixels that remain
//! of it.

use kernels::{AveragePool, Value};

use crate::graph::{Computation, Endpoint};
use crate::layers::{GradientWrite, Maps, Operation, Passes};
use crate::memory::{Memory, Step};

/// A 5x5/3 average pool at the foot of an auxiliary head, or the global one in front of the main classifier.
pub(crate) struct AveragePoolLayer {
    pub kernel: AveragePool,
    pub maps: Maps,
}

impl Operation for AveragePoolLayer {
    fn kind(&self) -> &'static str {
        "average pool"
    }

    fn describe(&self) -> (Computation, Endpoint<'_>, Endpoint<'_>) {
        let AveragePool { kernel, stride } = self.kernel;
        let computation = Computation::AveragePool { kernel, stride };
        let (input, output) = self.maps.endpoints();
        (computation, input, output)
    }
}

impl<T: Value> Passes<T> for AveragePoolLayer {
    fn forward(&self, step: &Step, memory: &mut Memory) {
        let (input, output) = self.maps.values::<T>(&mut memory.arena, step.batch);
        self.kernel.forward(step.context(&mut memory.scratch), input, output);
    }

    fn backward_input(&self, step: &Step, memory: &mut Memory, write: GradientWrite) {
        let (values, dy, dx) = self.maps.values_and_gradients::<T>(&mut memory.arena, step.batch);
        self.kernel.backward(step.context(&mut memory.scratch), dy, write.epilogue(values), dx);
    }
}
