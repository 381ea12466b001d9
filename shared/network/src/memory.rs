//! One replica's memory: everything that the plan lists, allocated once for a batch size.

use kernels::{Buffer, Isa, Pool};

use std::ops::Range;

use crate::network::GoogLeNet;
use crate::plan::BufferIndex;
use crate::precision::Precise;
use crate::sharing::Sharing;

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
    /// Activations and their gradients.
    pub arena: Arena,
    /// Which value of its window each max pool took; empty where only the forward pass runs.
    pub switches: Vec<Vec<u8>>,
    /// Each tensor as its layer's forward pass reads it.
    pub parameters: Vec<Buffer>,
    /// Each convolution's weights as its input gradient reads them; empty buffers for the other tensors.
    pub transposed: Vec<Buffer>,
    /// Scratch of the layers, of the most demanding one's size.
    pub scratch: Buffer,
    /// The loss of each image.
    pub losses: Vec<f32>,
}

/// What lies in the arena.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// The values of a buffer.
    Values(BufferIndex),
    /// The gradient by them.
    Gradient(BufferIndex),
}

/// All activations and gradients in one piece of memory, shared as [`Sharing`] plans it. Maps lie in it in the network's precision.
pub(crate) struct Arena {
    memory: Buffer,
    values: Vec<Range<usize>>,
    gradients: Vec<Range<usize>>,
}

impl Arena {
    fn new<T: Precise>(network: &GoogLeNet, images: usize, training: bool) -> Arena {
        let lengths: Vec<usize> = network.plan().buffers.iter().map(|length| length.floats::<T>()).collect();
        let plan = if training { Sharing::training } else { Sharing::forward };
        let sharing = plan(&lengths, network.layers(), network.heads());
        let places = |starts: &[usize]| {
            let places = starts.iter().zip(&lengths);
            places.map(|(start, length)| start * images..(start + length) * images).collect()
        };
        Arena {
            memory: Buffer::zeroed(sharing.len * images),
            values: places(&sharing.values),
            gradients: places(&sharing.gradients),
        }
    }

    fn place(&self, part: Part) -> Range<usize> {
        match part {
            Part::Values(buffer) => self.values[buffer].clone(),
            Part::Gradient(buffer) => self.gradients[buffer].clone(),
        }
    }

    /// A part to read.
    pub fn get(&self, part: Part) -> &[f32] {
        &self.memory[self.place(part)]
    }

    /// Parts that are needed at the same time, such as a layer's input and output.
    ///
    /// # Panics
    /// If two of them share memory.
    pub fn parts<const N: usize>(&mut self, parts: [Part; N]) -> [&mut [f32]; N] {
        let places = parts.map(|part| self.place(part));
        match self.memory.get_disjoint_mut(places) {
            Ok(parts) => parts,
            Err(error) => panic!("{parts:?} are needed at the same time: {error}"),
        }
    }
}

/// Floats that a layer needs besides its activations.
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
    /// Allocates for minibatches of up to `batch` images with maps of `T`; with `training`, for the backward pass as well.
    pub fn new<T: Precise>(
        network: &GoogLeNet,
        batch: usize,
        training: bool,
        isa: Isa,
        pool: &Pool,
    ) -> Memory {
        let mut parameters: Vec<usize> =
            network.layout().tensors().iter().map(|tensor| tensor.values()).collect();
        let mut transposed = vec![0; parameters.len()];
        let mut scratch = 0;
        for layer in network.layers() {
            let needs = T::passes(&*layer.operation).needs(isa, pool);
            scratch = scratch.max(needs.scratch);
            if let Some(tensor) = layer.operation.tensor() {
                parameters[tensor] = needs.packed;
                transposed[tensor] = if training { needs.transposed } else { 0 };
            }
        }
        let switches =
            network.plan().switches.iter().map(|&length| if training { length * batch } else { 0 });
        let zeroed = |lengths: Vec<usize>| lengths.into_iter().map(Buffer::zeroed).collect();
        Memory {
            arena: Arena::new::<T>(network, batch, training),
            switches: switches.map(|length| vec![0; length]).collect(),
            parameters: zeroed(parameters),
            transposed: zeroed(transposed),
            scratch: Buffer::zeroed(scratch),
            losses: vec![0.0; batch],
        }
    }
}
