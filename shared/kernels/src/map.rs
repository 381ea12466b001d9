//! Feature maps in blocks of 16 channels (NCHW16c).
//!
//! A buffer is `[image][block][y][x][16]`: all pixels of 16 channels, then of the next 16. One vector of
//! channels is one cache line. The branches of a module write their own blocks of one buffer, so that a
//! concatenation costs nothing. The displacements inside a kernel are constants. Lanes of channels that do
//! not fill a block are zero and stay zero.

/// Number of channels in a block of a feature map, and of floats in a vector of the kernels.
pub const LANES: usize = 16;

/// Number of blocks of 16 channels that hold `channels` channels; the last may be partly unused.
pub fn blocks(channels: usize) -> usize {
    channels.div_ceil(LANES)
}

/// Shape of a whole buffer of feature maps, `[batch][blocks][height][width][16]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Number of images.
    pub batch: usize,
    /// Blocks of 16 channels in each image.
    pub blocks: usize,
    /// Height of the maps in pixels.
    pub height: usize,
    /// Width of the maps in pixels.
    pub width: usize,
}

impl Shape {
    /// Number of values in the buffer, including those of unused channels in the last block.
    ///
    /// # Panics
    /// If the number overflows `usize`; the plan of a network's memory checks for this before any map is
    /// made.
    #[expect(clippy::len_without_is_empty, reason = "a size, not a collection")]
    pub fn len(&self) -> usize {
        let extents = [self.batch, self.blocks, self.height, self.width, LANES];
        let len = extents.into_iter().try_fold(1usize, usize::checked_mul);
        len.expect("the values of a shape can be counted, as its memory was planned")
    }

    /// Number of pixels in one block, height times width.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Number of values in one block of one image.
    pub fn plane(&self) -> usize {
        self.pixels() * LANES
    }
}

/// A readable feature map: the channel blocks `first .. first + count`, of 16 channels each, of every image
/// in a buffer of order `[image][block][y][x][16]`.
#[derive(Clone, Copy, Debug)]
pub struct Map<'a, T = f32> {
    /// Values of the whole buffer in which the map lies.
    pub data: &'a [T],
    /// Shape of the whole buffer in which the map lies.
    pub shape: Shape,
    /// Index of the map's first block within an image of the buffer.
    pub first: usize,
    /// Number of the map's blocks of 16 channels.
    pub count: usize,
}

/// A writable feature map: the channel blocks `first .. first + count`, of 16 channels each, of every image
/// in a buffer of order `[image][block][y][x][16]`.
#[derive(Debug)]
pub struct MapMut<'a, T = f32> {
    /// Values of the whole buffer in which the map lies.
    pub data: &'a mut [T],
    /// Shape of the whole buffer in which the map lies.
    pub shape: Shape,
    /// Index of the map's first block within an image of the buffer.
    pub first: usize,
    /// Number of the map's blocks of 16 channels.
    pub count: usize,
}

#[track_caller]
fn check(len: usize, shape: Shape, first: usize, count: usize) {
    assert_eq!(len, shape.len(), "the buffer's length does not fit {shape:?}");
    assert!(
        first <= shape.blocks && count <= shape.blocks - first,
        "blocks {first} + {count} are outside of {shape:?}"
    );
}

impl<'a, T> Map<'a, T> {
    /// The map of all channel blocks of `data`, a buffer of feature maps of shape `shape`.
    ///
    /// # Panics
    /// If the length of `data` is not that of `shape`.
    #[track_caller]
    pub fn whole(data: &'a [T], shape: Shape) -> Map<'a, T> {
        Map::slice(data, shape, 0, shape.blocks)
    }

    /// The map of the channel blocks `first .. first + count` of every image in `data`, a buffer of feature
    /// maps of shape `shape`.
    ///
    /// # Panics
    /// If the length of `data` is not that of `shape`, or `shape` has fewer blocks than `first + count`.
    #[track_caller]
    pub fn slice(data: &'a [T], shape: Shape, first: usize, count: usize) -> Map<'a, T> {
        check(data.len(), shape, first, count);
        Map { data, shape, first, count }
    }

    /// Index, in the whole buffer, of the first value of one block of image `image`; `block` counts from the
    /// first block of this map.
    #[inline(always)]
    pub fn offset(&self, image: usize, block: usize) -> usize {
        (image * self.shape.blocks + self.first + block) * self.shape.plane()
    }

    /// Values `[y][x][16]` of one block of image `image`; `block` counts from the first block of this map.
    #[inline(always)]
    pub fn plane(&self, image: usize, block: usize) -> &'a [T] {
        &self.data[self.offset(image, block)..][..self.shape.plane()]
    }
}

impl<'a, T> MapMut<'a, T> {
    /// The map of all channel blocks of `data`, a buffer of feature maps of shape `shape`.
    ///
    /// # Panics
    /// If the length of `data` is not that of `shape`.
    #[track_caller]
    pub fn whole(data: &'a mut [T], shape: Shape) -> MapMut<'a, T> {
        MapMut::slice(data, shape, 0, shape.blocks)
    }

    /// The map of the channel blocks `first .. first + count` of every image in `data`, a buffer of feature
    /// maps of shape `shape`.
    ///
    /// # Panics
    /// If the length of `data` is not that of `shape`, or `shape` has fewer blocks than `first + count`.
    #[track_caller]
    pub fn slice(data: &'a mut [T], shape: Shape, first: usize, count: usize) -> MapMut<'a, T> {
        check(data.len(), shape, first, count);
        MapMut { data, shape, first, count }
    }

    /// Index, in the whole buffer, of the first value of one block of image `image`; `block` counts from the
    /// first block of this map.
    #[inline(always)]
    pub fn offset(&self, image: usize, block: usize) -> usize {
        (image * self.shape.blocks + self.first + block) * self.shape.plane()
    }

    /// Values `[y][x][16]` of one block of image `image`; `block` counts from the first block of this map.
    #[inline(always)]
    pub fn plane(&mut self, image: usize, block: usize) -> &mut [T] {
        let offset = self.offset(image, block);
        &mut self.data[offset..][..self.shape.plane()]
    }

    /// A reborrow of this map for a shorter time.
    pub fn reborrow(&mut self) -> MapMut<'_, T> {
        MapMut { data: self.data, shape: self.shape, first: self.first, count: self.count }
    }

    /// A readable view of this map.
    pub fn as_map(&self) -> Map<'_, T> {
        Map { data: self.data, shape: self.shape, first: self.first, count: self.count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "the values of a shape can be counted")]
    fn the_length_of_a_shape_never_wraps() {
        Shape { batch: 1 << 40, blocks: 1, height: 1 << 20, width: 1 }.len();
    }
}
