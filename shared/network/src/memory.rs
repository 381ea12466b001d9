//! One replica's memory: every buffer of the plan, allocated once for a batch size.

use kernels::{Buffer, Isa, Pool};
use parameters::Layout;

use std::ops::{Index, IndexMut};

use crate::layers::Layer;
use crate::plan::{BufferIndex, Plan};

/// What a step works with, besides memory.
pub(crate) struct Step<'a> {
    pub isa: Isa,
    pub pool: &'a Pool,
    /// Images of this minibatch, at most the batch size that memory was allocated for.
    pub batch: usize,
    /// The images, planar, [batch][3][side][side].
    pub images: &'a [f32],
    /// A dropout seed per image; none, no dropout.
    pub seeds: Option<&'a [u64]>,
}

/// Activations, their gradients, packed parameters and scratch.
pub(crate) struct Memory {
    /// Activations. Where only forward runs they share memory; the backward pass needs them all.
    pub values: Buffers,
    /// Gradients by the activations, which share memory; empty buffers where only forward runs.
    pub gradients: Buffers,
    /// Which value of its window each max pool took.
    pub switches: Vec<Vec<u8>>,
    /// Each tensor as its layer's forward pass reads it.
    pub parameters: Vec<Buffer>,
    /// Each convolution's weights as its input gradient reads them; empty buffers for the other tensors.
    pub transposed: Vec<Buffer>,
    /// Scratch of the layers, of the most demanding one's size.
    pub scratch: Buffer,
}

/// Buffers by their index in the plan, each in a memory that it may share with others and that may be longer than it.
pub(crate) struct Buffers {
    memories: Vec<Buffer>,
    memory: Vec<usize>,
}

impl Buffers {
    fn apart(plan: &Plan, images: usize) -> Buffers {
        let memories = plan.buffers.iter().map(|&length| Buffer::zeroed(length * images)).collect();
        Buffers { memories, memory: (0..plan.buffers.len()).collect() }
    }

    fn shared(plan: &Plan, images: usize) -> Buffers {
        let memories = plan.sharing.memories.iter().map(|&length| Buffer::zeroed(length * images)).collect();
        Buffers { memories, memory: plan.sharing.memory.clone() }
    }

    /// A layer's input and output (or the other way round): one buffer to read and another to write.
    pub fn pair(&mut self, read: BufferIndex, write: BufferIndex) -> (&[f32], &mut [f32]) {
        let memories = [self.memory[read], self.memory[write]];
        let [read, write] = self.memories.get_disjoint_mut(memories).expect("input and output lie apart");
        (read, write)
    }
}

impl Index<BufferIndex> for Buffers {
    type Output = [f32];

    fn index(&self, buffer: BufferIndex) -> &[f32] {
        &self.memories[self.memory[buffer]]
    }
}

impl IndexMut<BufferIndex> for Buffers {
    fn index_mut(&mut self, buffer: BufferIndex) -> &mut [f32] {
        &mut self.memories[self.memory[buffer]]
    }
}

/// f32 values that a layer needs besides its activations.
#[derive(Clone, Copy, Default)]
pub(crate) struct Needs {
    /// Weights packed for the forward pass.
    pub packed: usize,
    /// Weights packed for the input gradient.
    pub transposed: usize,
    /// Scratch while it runs.
    pub scratch: usize,
}

impl Memory {
    /// Allocates for minibatches of up to `batch` images; with `training`, for the backward pass as well.
    pub fn new(
        plan: &Plan,
        layout: &Layout,
        layers: &[Layer],
        batch: usize,
        training: bool,
        (isa, pool): (Isa, &Pool),
    ) -> Memory {
        let mut parameters: Vec<usize> = layout.tensors().iter().map(|tensor| tensor.values()).collect();
        let mut transposed = vec![0; parameters.len()];
        let mut scratch = 0;
        for layer in layers {
            let Some(tensor) = layer.operation.tensor() else { continue };
            let needs = layer.operation.needs(isa, pool);
            parameters[tensor] = needs.packed;
            transposed[tensor] = if training { needs.transposed } else { 0 };
            scratch = scratch.max(needs.scratch);
        }
        let zeroed = |lengths: Vec<usize>| lengths.into_iter().map(Buffer::zeroed).collect();
        let (values, gradients) = match training {
            true => (Buffers::apart(plan, batch), Buffers::shared(plan, batch)),
            false => (Buffers::shared(plan, batch), Buffers::shared(plan, 0)),
        };
        Memory {
            values,
            gradients,
            switches: plan.switches.iter().map(|&length| vec![0; length * batch]).collect(),
            parameters: zeroed(parameters),
            transposed: zeroed(transposed),
            scratch: Buffer::zeroed(scratch),
        }
    }
}
