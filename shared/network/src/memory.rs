//! One replica's memory: every buffer of the plan, allocated once for a batch size.

use kernels::{Buffer, Isa, Pool};
use parameters::Layout;

use crate::layers::Layer;
use crate::plan::Plan;

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
    /// Activations, by index in the plan.
    pub values: Vec<Buffer>,
    /// Gradients by the activations; empty buffers where only forward runs.
    pub gradients: Vec<Buffer>,
    /// Which value of its window each max pool took.
    pub switches: Vec<Vec<u8>>,
    /// Each tensor as its layer's forward pass reads it.
    pub parameters: Vec<Buffer>,
    /// Each convolution's weights as its input gradient reads them; empty buffers for the other tensors.
    pub transposed: Vec<Buffer>,
    /// Scratch of the layers, of the most demanding one's size.
    pub scratch: Buffer,
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
        let images = if training { batch } else { 0 };
        Memory {
            values: zeroed(plan.buffers.iter().map(|&length| length * batch).collect()),
            gradients: zeroed(plan.buffers.iter().map(|&length| length * images).collect()),
            switches: plan.switches.iter().map(|&length| vec![0; length * batch]).collect(),
            parameters: zeroed(parameters),
            transposed: zeroed(transposed),
            scratch: Buffer::zeroed(scratch),
        }
    }
}
