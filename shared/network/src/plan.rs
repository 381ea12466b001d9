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
    /// Size that one image takes in each buffer, in the order in which the forward pass first writes the
    /// buffers.
    pub buffers: Vec<Length>,
    /// For each max pool the number of its output values for one image; in training, one byte for each output
    /// value keeps the position of the maximum in its window.
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
    /// Returns how many floats of memory the size takes, where maps hold values of `T` (two bf16 share one
    /// float).
    pub fn floats<T: Value>(self) -> usize {
        match self {
            Length::Map(values) => T::floats(values),
            Length::Rows(values) => values,
        }
    }
}

impl MemoryPlan {
    /// Adds a buffer for a new feature map and returns the map. `segments` holds the numbers of channels of
    /// its concatenated parts, each of which starts at a new block of 16 channels.
    pub fn feature(&mut self, segments: Vec<usize>, height: usize, width: usize) -> Feature {
        let total = segments.iter().map(|&channels| blocks(channels)).sum();
        let feature =
            Feature { buffer: self.buffers.len(), buffer_blocks: total, first: 0, segments, height, width };
        self.buffers.push(Length::Map(feature.shape(1).len()));
        feature
    }

    /// Adds a buffer for one row of `width` f32 values for each image, and returns the rows.
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
    /// Index of the feature's first block of 16 channels among the blocks of its buffer.
    pub first: usize,
    /// Number of channels of each concatenated part, such as a branch of an Inception module; each part
    /// starts at a new block of 16 channels.
    pub segments: Vec<usize>,
    pub height: usize,
    pub width: usize,
}

impl Feature {
    /// Returns the number of channels of all segments, without the unused lanes that fill up each segment's
    /// last block of 16 channels.
    pub fn channels(&self) -> usize {
        self.segments.iter().sum()
    }

    /// Returns the segment with index `segment`, one of the concatenated groups of channels, as a feature in
    /// the same buffer.
    pub fn segment(&self, segment: usize) -> Feature {
        Feature { segments: vec![self.segments[segment]], ..self.segments_from(segment) }
    }

    /// Returns all segments, or concatenated groups of channels, from index `segment` on as one feature in
    /// the same buffer.
    pub fn segments_from(&self, segment: usize) -> Feature {
        let before: usize = self.segments[..segment].iter().map(|&channels| blocks(channels)).sum();
        Feature { first: self.first + before, segments: self.segments[segment..].to_vec(), ..self.clone() }
    }

    /// Returns the number of channels, the height and the width in pixels.
    pub fn size(&self) -> [usize; 3] {
        [self.channels(), self.height, self.width]
    }

    /// Shape of the whole buffer that this feature is a part of, for a minibatch of `batch` images.
    pub fn shape(&self, batch: usize) -> Shape {
        Shape { batch, blocks: self.buffer_blocks, height: self.height, width: self.width }
    }

    /// Returns the number of values that the feature's blocks of 16 channels hold for `batch` images, without
    /// the rest of its buffer.
    pub fn values(&self, batch: usize) -> usize {
        Shape { blocks: self.count(), ..self.shape(batch) }.len()
    }

    fn count(&self) -> usize {
        self.segments.iter().map(|&channels| blocks(channels)).sum()
    }

    /// Returns the feature for a minibatch of `batch` images, to read. `memory` is its whole buffer, which
    /// may be allocated for a larger minibatch.
    pub fn map<'a, T: Value>(&self, memory: &'a [f32], batch: usize) -> Map<'a, T> {
        let shape = self.shape(batch);
        Map::slice(&T::of(memory)[..shape.len()], shape, self.first, self.count())
    }

    /// Returns the feature for a minibatch of `batch` images, to write. `memory` is its whole buffer, which
    /// may be allocated for a larger minibatch.
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
    /// Returns the rows of the first `batch` images in their buffer `data`, to read.
    pub fn of<'a>(&self, data: &'a [f32], batch: usize) -> &'a [f32] {
        &data[..batch * self.width]
    }

    /// Returns the rows of the first `batch` images in their buffer `data`, to write.
    pub fn of_mut<'a>(&self, data: &'a mut [f32], batch: usize) -> &'a mut [f32] {
        &mut data[..batch * self.width]
    }
}
