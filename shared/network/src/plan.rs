//! The memory that a network needs, as data: which buffers there are and how much one image takes in each.
//!
//! The plan knows no batch size and owns no memory; [`Memory`](crate::memory::Memory) allocates what it lists.

use kernels::{Map, MapMut, Shape, blocks};

use crate::sharing::Sharing;

/// Index of a buffer in the plan.
pub(crate) type BufferIndex = usize;

/// Every buffer of the network, in forward order. Each holds values and, in training, gradients of the same shape.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// f32 values that one image takes in each buffer.
    pub buffers: Vec<usize>,
    /// Where they lie in the arena of a training step, and of a forward pass alone.
    pub training: Sharing,
    pub forward: Sharing,
    /// Values of one image that each max pool puts out; it keeps a byte for each.
    pub switches: Vec<usize>,
}

impl Plan {
    /// A new feature map in a buffer of its own: segments of channels, each starting at a new block.
    pub fn feature(&mut self, segments: Vec<usize>, height: usize, width: usize) -> Feature {
        let total = segments.iter().map(|&channels| blocks(channels)).sum();
        let feature =
            Feature { buffer: self.buffers.len(), buffer_blocks: total, first: 0, segments, height, width };
        self.buffers.push(feature.shape(1).len());
        feature
    }

    /// New rows, one of `width` values an image, in a buffer of their own.
    pub fn rows(&mut self, width: usize) -> Rows {
        self.buffers.push(width);
        Rows { buffer: self.buffers.len() - 1, width }
    }
}

/// A feature map: where it lies, in channel blocks. Branches of a module are parts of one buffer.
#[derive(Clone, Debug)]
pub(crate) struct Feature {
    pub buffer: BufferIndex,
    /// Blocks of the whole buffer.
    buffer_blocks: usize,
    /// The feature's first block.
    pub first: usize,
    /// Channels of each concatenated part.
    pub segments: Vec<usize>,
    pub height: usize,
    pub width: usize,
}

impl Feature {
    /// Channels, the holes behind segments not counted.
    pub fn channels(&self) -> usize {
        self.segments.iter().sum()
    }

    /// The segment as a feature of its own in the same buffer.
    pub fn segment(&self, segment: usize) -> Feature {
        Feature { segments: vec![self.segments[segment]], ..self.segments_from(segment) }
    }

    /// The segments from one on as a feature of its own in the same buffer.
    pub fn segments_from(&self, segment: usize) -> Feature {
        let before: usize = self.segments[..segment].iter().map(|&channels| blocks(channels)).sum();
        Feature { first: self.first + before, segments: self.segments[segment..].to_vec(), ..self.clone() }
    }

    /// Channels, height, width.
    pub fn size(&self) -> [usize; 3] {
        [self.channels(), self.height, self.width]
    }

    /// The whole buffer's shape for a minibatch.
    pub fn shape(&self, batch: usize) -> Shape {
        Shape { batch, blocks: self.buffer_blocks, height: self.height, width: self.width }
    }

    /// Values of the feature itself for a minibatch, without the rest of its buffer.
    pub fn values(&self, batch: usize) -> usize {
        Shape { blocks: self.count(), ..self.shape(batch) }.len()
    }

    fn count(&self) -> usize {
        self.segments.iter().map(|&channels| blocks(channels)).sum()
    }

    /// The feature of a minibatch in its buffer, which may be allocated for a larger one.
    pub fn map<'a>(&self, data: &'a [f32], batch: usize) -> Map<'a> {
        let shape = self.shape(batch);
        Map::slice(&data[..shape.len()], shape, self.first, self.count())
    }

    /// The same to write to.
    pub fn map_mut<'a>(&self, data: &'a mut [f32], batch: usize) -> MapMut<'a> {
        let shape = self.shape(batch);
        MapMut::slice(&mut data[..shape.len()], shape, self.first, self.count())
    }
}

/// One row of values an image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    pub buffer: BufferIndex,
    pub width: usize,
}

impl Rows {
    /// The rows of a minibatch in their buffer.
    pub fn of<'a>(&self, data: &'a [f32], batch: usize) -> &'a [f32] {
        &data[..batch * self.width]
    }

    /// The same to write to.
    pub fn of_mut<'a>(&self, data: &'a mut [f32], batch: usize) -> &'a mut [f32] {
        &mut data[..batch * self.width]
    }
}
