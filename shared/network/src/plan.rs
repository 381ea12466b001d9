//! Memory plan of a network: its buffers and the size of one image in each.
//!
//! The plan knows no batch size and owns no memory; [`Memory`](crate::memory::Memory) allocates what it
//! lists.

use kernels::{Map, MapMut, Shape, Value, blocks};

/// Index of a buffer in the plan.
pub(crate) type BufferIndex = usize;

/// All buffers of the network, in forward order. Each holds values and, in training, gradients of the same
/// shape.
#[derive(Debug, Default)]
pub(crate) struct MemoryPlan {
    /// The size of one image in each buffer.
    pub buffers: Vec<Length>,
    /// For each max pool the number of output values of one image; one byte is kept for each.
    pub switches: Vec<usize>,
}

/// The size of one image in a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Length {
    /// A number of map values, in the network's precision.
    Map(usize),
    /// A number of row values, always f32.
    Rows(usize),
}

impl Length {
    /// Floats of memory, where maps hold values of `T`.
    pub fn floats<T: Value>(self) -> usize {
        match self {
            Length::Map(values) => T::floats(values),
            Length::Rows(values) => values,
        }
    }
}

impl MemoryPlan {
    /// A new feature map in a buffer of its own. Its segments of channels each start at a new block.
    pub fn feature(&mut self, segments: Vec<usize>, height: usize, width: usize) -> Feature {
        let total = segments.iter().map(|&channels| blocks(channels)).sum();
        let feature =
            Feature { buffer: self.buffers.len(), buffer_blocks: total, first: 0, segments, height, width };
        self.buffers.push(Length::Map(feature.shape(1).len()));
        feature
    }

    /// New rows of `width` values an image, in a buffer of their own.
    pub fn rows(&mut self, width: usize) -> Rows {
        self.buffers.push(Length::Rows(width));
        Rows { buffer: self.buffers.len() - 1, width }
    }
}

/// A feature map: a range of channel blocks in a buffer. The branches of a module are parts of one buffer, so
/// that their concatenation takes no copy.
#[derive(Clone, Debug)]
pub(crate) struct Feature {
    pub buffer: BufferIndex,
    /// Number of channel blocks of the buffer, of which this feature may be a part.
    buffer_blocks: usize,
    /// First of the feature's channel blocks in the buffer.
    pub first: usize,
    /// Channels of each concatenated part.
    pub segments: Vec<usize>,
    pub height: usize,
    pub width: usize,
}

impl Feature {
    /// Number of channels, without the unused lanes behind segments.
    pub fn channels(&self) -> usize {
        self.segments.iter().sum()
    }

    /// One segment as a feature in the same buffer.
    pub fn segment(&self, segment: usize) -> Feature {
        Feature { segments: vec![self.segments[segment]], ..self.segments_from(segment) }
    }

    /// The segments from `segment` on as a feature in the same buffer.
    pub fn segments_from(&self, segment: usize) -> Feature {
        let before: usize = self.segments[..segment].iter().map(|&channels| blocks(channels)).sum();
        Feature { first: self.first + before, segments: self.segments[segment..].to_vec(), ..self.clone() }
    }

    /// Channels, height, width.
    pub fn size(&self) -> [usize; 3] {
        [self.channels(), self.height, self.width]
    }

    /// Shape of the whole buffer that this feature is a part of, for a minibatch of `batch` images.
    pub fn shape(&self, batch: usize) -> Shape {
        Shape { batch, blocks: self.buffer_blocks, height: self.height, width: self.width }
    }

    /// Values of the feature alone for a minibatch, without the rest of its buffer.
    pub fn values(&self, batch: usize) -> usize {
        Shape { blocks: self.count(), ..self.shape(batch) }.len()
    }

    fn count(&self) -> usize {
        self.segments.iter().map(|&channels| blocks(channels)).sum()
    }

    /// The feature of a minibatch in its buffer, to read; the buffer may be allocated for a larger minibatch.
    pub fn map<'a, T: Value>(&self, memory: &'a [f32], batch: usize) -> Map<'a, T> {
        let shape = self.shape(batch);
        Map::slice(&T::of(memory)[..shape.len()], shape, self.first, self.count())
    }

    /// The feature of a minibatch in its buffer, to write.
    pub fn map_mut<'a, T: Value>(&self, memory: &'a mut [f32], batch: usize) -> MapMut<'a, T> {
        let shape = self.shape(batch);
        MapMut::slice(&mut T::of_mut(memory)[..shape.len()], shape, self.first, self.count())
    }
}

/// A buffer with one row of values an image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    pub buffer: BufferIndex,
    pub width: usize,
}

impl Rows {
    /// The rows of a minibatch in their buffer, to read.
    pub fn of<'a>(&self, data: &'a [f32], batch: usize) -> &'a [f32] {
        &data[..batch * self.width]
    }

    /// The rows of a minibatch in their buffer, to write.
    pub fn of_mut<'a>(&self, data: &'a mut [f32], batch: usize) -> &'a mut [f32] {
        &mut data[..batch * self.width]
    }
}
