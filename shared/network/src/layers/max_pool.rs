//! Max pooling by Caffe's ceiling rule. The position of the maximum in each window is kept for the backward
//! pass, which sends the gradient to that position only.

use kernels::{MaxPool, Value};

use crate::graph::{Computation, Endpoint};
use crate::layers::{GradientWrite, Maps, Operation, Passes};
use crate::memory::{Memory, Step};
use crate::plan::BufferIndex;

/// A max pool: 3x3/2 between stages, 3x3/1 with padding 1 inside a module.
pub(crate) struct MaxPoolLayer {
    pub kernel: MaxPool,
    pub maps: Maps,
    /// Index of this pool among the network's max pools, under which the positions of its maxima are kept for
    /// the backward pass.
    pub switches: usize,
}

impl Operation for MaxPoolLayer {
    fn kind(&self) -> &'static str {
        "max pool"
    }

    fn describe(&self) -> (Computation, Endpoint<'_>, Endpoint<'_>) {
        let MaxPool { kernel, stride, padding, .. } = self.kernel;
        let computation = Computation::MaxPool { kernel, stride, padding };
        let (input, output) = self.maps.endpoints();
        (computation, input, output)
    }

    fn needed_backward(&self) -> [Option<BufferIndex>; 2] {
        [None, None]
    }
}

impl<T: Value> Passes<T> for MaxPoolLayer {
    fn forward(&self, step: &Step, memory: &mut Memory) {
        let switches = &mut memory.switches[self.switches];
        let switches = (!switches.is_empty()).then(|| &mut switches[..self.maps.output.values(step.batch)]);
        let (input, output) = self.maps.values::<T>(&mut memory.arena, step.batch);
        self.kernel.forward(step.context(&mut memory.scratch), input, output, switches);
    }

    fn backward_input(&self, step: &Step, memory: &mut Memory, write: GradientWrite) {
        // The positions leave out exactly what a ReLU below would, but not contributions of other layers.
        assert!(
            !(write.rectify && write.accumulate),
            "a pool writes a gradient first, or a layer below writes last"
        );
        let (dy, dx) = self.maps.gradients::<T>(&mut memory.arena, step.batch);
        let switches = &memory.switches[self.switches][..self.maps.output.values(step.batch)];
        self.kernel.backward(step.context(&mut memory.scratch), dy, switches, write.accumulate, dx);
    }
}
