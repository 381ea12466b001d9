//! Memory of one replica: everything that the plan lists, allocated once for a batch size.

use kernels::{Buffer, Context, Isa, Pool};

use std::ops::Range;

use crate::network::GoogLeNet;
use crate::plan::BufferIndex;
use crate::precision::LayerValue;
use crate::sharing::ArenaLayout;

/// The inputs of a step besides its memory.
pub(crate) struct Step<'a> {
    pub isa: Isa,
    pub pool: &'a Pool,
    /// Images of this minibatch, at most the batch size that memory was allocated for.
    pub batch: usize,
    /// The images, planar, [batch][3][side][side].
    pub images: &'a [f32],
    /// One dropout seed for each image; without seeds nothing is dropped.
    pub seeds: Option<&'a [u64]>,
}

impl<'a> Step<'a> {
    /// The context in which the step's kernels run.
    pub fn context<'s>(&self, scratch: &'s mut [f32]) -> Context<'s>
    where
        'a: 's,
    {
        Context { isa: self.isa, pool: self.pool, scratch }
    }
}

/// Activations, their gradients, packed parameters and scratch.
pub(crate) struct Memory {
    /// Activations and their gradients.
    pub arena: Arena,
    /// For each max pool the position of the largest value in each window; empty where only the forward pass
    /// runs.
    pub switches: Vec<Vec<u8>>,
    /// Each tensor in the order in which its layer's forward pass reads it.
    pub parameters: Vec<Buffer>,
    /// Weights of each convolution in the order in which its input gradient reads them; empty buffers for all
    /// other tensors.
    pub transposed: Vec<Buffer>,
    /// Scratch memory of the layers, as large as the most demanding one needs.
    pub scratch: Buffer,
    /// The loss of each image.
    pub losses: Vec<f32>,
}

/// A region of the arena.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// The values of a buffer.
    Values(BufferIndex),
    /// The gradient of a buffer.
    Gradient(BufferIndex),
}

/// The memory of all activations and gradients, shared as [`ArenaLayout`] decides. Maps are stored in the
/// network's precision.
pub(crate) struct Arena {
    memory: Buffer,
    values: Vec<Range<usize>>,
    gradients: Vec<Range<usize>>,
}

impl Arena {
    fn new<T: LayerValue>(network: &GoogLeNet, images: usize, training: bool) -> Arena {
        let lengths: Vec<usize> = network.plan().buffers.iter().map(|length| length.floats::<T>()).collect();
        let plan = if training { ArenaLayout::training } else { ArenaLayout::forward };
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

    /// A region to read.
    pub fn get(&self, part: Part) -> &[f32] {
        &self.memory[self.place(part)]
    }

    /// Regions that are needed at the same time, such as a layer's input and output.
    ///
    /// # Panics
    /// If two regions share memory.
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
    /// Scratch while the layer runs.
    pub scratch: usize,
}

impl Memory {
    /// Allocates memory for minibatches of up to `batch` images with maps of `T`, with `training` for the
    /// backward pass as well.
    pub fn new<T: LayerValue>(
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
