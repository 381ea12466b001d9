//! The memory of one replica of a network: all buffers of its memory plan. Their lengths are computed first;
//! then they are allocated once, for a given batch size.

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
    /// Number of images of this minibatch, at most the batch size that memory was allocated for.
    pub batch: usize,
    /// The images, planar, [batch][3][side][side].
    pub images: &'a [f32],
    /// One seed of the dropout masks for each image; with `None` nothing is dropped.
    pub seeds: Option<&'a [u64]>,
}

impl<'a> Step<'a> {
    /// Returns the arguments that all kernels of the step share: its instruction set, its threads, and
    /// `scratch` as their memory for intermediate results.
    pub fn context<'s>(&self, scratch: &'s mut [f32]) -> Context<'s>
    where
        'a: 's,
    {
        Context { isa: self.isa, pool: self.pool, scratch }
    }
}

/// The memory of one replica: activations, their gradients, packed parameters and scratch memory.
pub(crate) struct Memory {
    /// Activations and their gradients.
    pub arena: Arena,
    /// For each max pool, the position of the largest value in each window; empty if only the forward pass
    /// runs.
    pub switches: Vec<Vec<u8>>,
    /// Values of each tensor, by its index in the layout, arranged as the forward pass of its layer reads
    /// them.
    pub parameters: Vec<Buffer>,
    /// Weights of each convolution with stride 1, by tensor index, arranged as the computation of its input
    /// gradient reads them; empty for all other tensors, and everywhere if only the forward pass runs.
    pub transposed: Vec<Buffer>,
    /// Scratch memory of the layers, as large as the most demanding one needs.
    pub scratch: Buffer,
    /// Loss of each image of the minibatch for one head; the heads use it in turn.
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
    places: Places,
}

/// The regions of all values and gradients in the arena, in floats of a whole minibatch, and the arena's
/// length.
struct Places {
    values: Vec<Range<usize>>,
    gradients: Vec<Range<usize>>,
    len: usize,
}

impl Places {
    fn new<T: LayerValue>(network: &GoogLeNet, images: usize, training: bool) -> Places {
        let lengths: Vec<usize> = network.plan().buffers.iter().map(|length| length.floats::<T>()).collect();
        let plan = if training { ArenaLayout::training } else { ArenaLayout::forward };
        let sharing = plan(&lengths, network.layers(), network.heads());
        let of_all = |floats: usize| floats.saturating_mul(images);
        let places = |starts: &[usize]| {
            let places = starts.iter().zip(&lengths);
            places.map(|(start, length)| of_all(*start)..of_all(start + length)).collect()
        };
        Places {
            values: places(&sharing.values),
            gradients: places(&sharing.gradients),
            len: of_all(sharing.len),
        }
    }
}

impl Arena {
    fn place(&self, part: Part) -> Range<usize> {
        match part {
            Part::Values(buffer) => self.places.values[buffer].clone(),
            Part::Gradient(buffer) => self.places.gradients[buffer].clone(),
        }
    }

    /// Returns the floats of one region of the arena, a buffer's values or its gradient, to read.
    pub fn get(&self, part: Part) -> &[f32] {
        &self.memory[self.place(part)]
    }

    /// Returns, to write, the floats of regions of the arena that are needed at the same time, such as the
    /// values of a layer's input and output.
    ///
    /// # Panics
    /// If two of the regions share memory.
    pub fn parts<const N: usize>(&mut self, parts: [Part; N]) -> [&mut [f32]; N] {
        let places = parts.map(|part| self.place(part));
        match self.memory.get_disjoint_mut(places) {
            Ok(parts) => parts,
            Err(error) => panic!("{parts:?} are needed at the same time: {error}"),
        }
    }
}

/// The numbers of floats that a layer needs besides its activations.
#[derive(Clone, Copy, Default)]
pub(crate) struct Needs {
    /// Floats of the weights in the arrangement that the forward pass reads.
    pub packed: usize,
    /// Floats of a second copy of the weights, in the arrangement that the computation of the input gradient
    /// reads; 0 for a layer that needs no such copy.
    pub transposed: usize,
    /// Floats of memory for intermediate results while the layer runs.
    pub scratch: usize,
}

/// The lengths of everything that [`Memory`] allocates. They are computed without allocating anything, so
/// that the memory of a step is known, and can be refused, beforehand. A length that does not fit into a
/// `usize` becomes `usize::MAX`.
pub(crate) struct Lengths {
    arena: Places,
    switches: Vec<usize>,
    parameters: Vec<usize>,
    transposed: Vec<usize>,
    scratch: usize,
    losses: usize,
}

impl Lengths {
    /// Computes the lengths of the memory for minibatches of up to `batch` images with maps of `T`: with
    /// `training` for the forward and the backward pass, without it for the forward pass alone.
    pub fn new<T: LayerValue>(
        network: &GoogLeNet,
        batch: usize,
        training: bool,
        isa: Isa,
        pool: &Pool,
    ) -> Lengths {
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
        let switches = network.plan().switches.iter();
        let switches = switches.map(|length| if training { length.saturating_mul(batch) } else { 0 });
        Lengths {
            arena: Places::new::<T>(network, batch, training),
            switches: switches.collect(),
            parameters,
            transposed,
            scratch,
            losses: batch,
        }
    }

    /// Returns the number of bytes that a [`Memory`] of these lengths takes, or [`u64::MAX`] if the number
    /// overflows.
    pub fn bytes(&self) -> u64 {
        let Lengths { arena, switches, parameters, transposed, scratch, losses } = self;
        let buffers = [arena.len, *scratch].into_iter().chain(parameters.iter().chain(transposed).copied());
        let buffers = buffers.map(|len| Buffer::bytes(len).map_or(u64::MAX, |bytes| bytes as u64));
        let vectors = switches.iter().map(|length| *length as u64);
        let losses = (*losses as u64).saturating_mul(size_of::<f32>() as u64);
        buffers.chain(vectors).fold(losses, u64::saturating_add)
    }
}

impl Memory {
    /// Allocates the working memory of a training step or of a forward pass (activations, packed weights,
    /// scratch, losses), each part with the number of elements that `lengths` gives it, filled with zeros.
    pub fn new(lengths: Lengths) -> Memory {
        let Lengths { arena, switches, parameters, transposed, scratch, losses } = lengths;
        let zeroed = |lengths: Vec<usize>| lengths.into_iter().map(Buffer::zeroed).collect();
        Memory {
            arena: Arena { memory: Buffer::zeroed(arena.len), places: arena },
            switches: switches.into_iter().map(|length| vec![0; length]).collect(),
            parameters: zeroed(parameters),
            transposed: zeroed(transposed),
            scratch: Buffer::zeroed(scratch),
            losses: vec![0.0; losses],
        }
    }
}
