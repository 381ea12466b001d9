//! conv1: 7x7 convolution with stride 2 on the planar images, bias, ReLU; N x 3 x S x S -> N x 64 x S/2 x S/2
//! (paper, Table 1). The images need no gradient.

use kernels::{Isa, Pool, Stem, Value};

use crate::graph::{Computation, Place};
use crate::layers::{Operation, Passes, Share};
use crate::memory::{Memory, Needs, Part, Step};
use crate::plan::{BufferIndex, Feature};

/// The first convolution.
pub(crate) struct StemLayer {
    pub kernel: Stem,
    /// Side of the square images.
    pub side: usize,
    pub output: Feature,
    pub tensor: usize,
}

impl Operation for StemLayer {
    fn kind(&self) -> &'static str {
        "convolution"
    }

    fn describe(&self) -> (Computation, Place<'_>, Place<'_>) {
        let Stem { kernel, stride, padding, .. } = self.kernel;
        let computation = Computation::Convolution { groups: 1, relu: true, kernel, stride, padding };
        (computation, Place::Images, Place::Map(&self.output))
    }

    fn input(&self) -> Option<BufferIndex> {
        None
    }

    fn output(&self) -> BufferIndex {
        self.output.buffer
    }

    fn tensor(&self) -> Option<usize> {
        Some(self.tensor)
    }
}

impl<T: Value> Passes<T> for StemLayer {
    fn needs(&self, isa: Isa, pool: &Pool) -> Needs {
        Needs {
            packed: self.kernel.packed_len::<T>(isa),
            transposed: 0,
            scratch: self.kernel.scratch_len::<T>(isa, pool, self.side, self.side),
        }
    }

    fn load(&self, isa: Isa, _pool: &Pool, weights: &[f32], memory: &mut Memory) {
        self.kernel.pack_forward::<T>(isa, weights, &mut memory.parameters[self.tensor]);
    }

    fn forward(&self, step: &Step, memory: &mut Memory) {
        let [output] = memory.arena.parts([Part::Values(self.output.buffer)]);
        self.kernel.forward(
            step.isa,
            step.pool,
            step.batch,
            step.images,
            self.side,
            self.side,
            &memory.parameters[self.tensor],
            &memory.parameters[self.tensor + 1],
            true,
            self.output.map_mut::<T>(output, step.batch),
            &mut memory.scratch,
        );
    }

    fn backward_parameters(&self, step: &Step, memory: &mut Memory, weights: &mut [f32], bias: &mut [f32]) {
        self.kernel.backward_weights(
            step.isa,
            step.pool,
            step.batch,
            step.images,
            self.side,
            self.side,
            self.output.map::<T>(memory.arena.get(Part::Gradient(self.output.buffer)), step.batch),
            weights,
            bias,
            &mut memory.scratch,
        );
    }

    fn backward_input(&self, _step: &Step, _memory: &mut Memory, _share: Share) {}
}
