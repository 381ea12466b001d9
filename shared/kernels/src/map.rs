//! Feature maps in blocks of 16 channels.
//!
//! A buffer is `[image][block][y][x][16]`: all pixels of 16 channels, then of the next 16. One vector of channels is
//! one cache line, branches of a module write their own blocks of one buffer (a concatenation costs nothing), and
//! the displacements inside a kernel are constants. Lanes of channels that do not fill a block are zero and stay zero.

/// Channels of a block, and floats of a vector.
pub const LANES: usize = 16;

/// Blocks that `channels` channels take.
pub fn blocks(channels: usize) -> usize {
    channels.div_ceil(LANES)
}

/// The shape of a whole buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Images.
    pub batch: usize,
    /// Blocks of 16 channels of each image.
    pub blocks: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Shape {
    /// Values of the buffer.
    #[expect(clippy::len_without_is_empty, reason = "a size, not a collection")]
    pub fn len(&self) -> usize {
        self.batch * self.blocks * self.plane()
    }

    /// Pixels of one block.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Values of one block of one image.
    pub fn plane(&self) -> usize {
        self.pixels() * LANES
    }
}

/// Blocks `first .. first + count` of every image of a buffer, to read.
#[derive(Clone, Copy, Debug)]
pub struct Map<'a, T = f32> {
    /// The whole buffer.
    pub data: &'a [T],
    /// Its shape.
    pub shape: Shape,
    /// First block.
    pub first: usize,
    /// Number of blocks.
    pub count: usize,
}

/// Blocks `first .. first + count` of every image of a buffer, to write.
#[derive(Debug)]
pub struct MapMut<'a, T = f32> {
    /// The whole buffer.
    pub data: &'a mut [T],
    /// Its shape.
    pub shape: Shape,
    /// First block.
    pub first: usize,
    /// Number of blocks.
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
    /// All blocks of a buffer.
    #[track_caller]
    pub fn whole(data: &'a [T], shape: Shape) -> Map<'a, T> {
        Map::slice(data, shape, 0, shape.blocks)
    }

    /// Blocks `first .. first + count`.
    #[track_caller]
    pub fn slice(data: &'a [T], shape: Shape, first: usize, count: usize) -> Map<'a, T> {
        check(data.len(), shape, first, count);
        Map { data, shape, first, count }
    }

    /// Where block `block` (of this map) of image `image` starts in the buffer.
    #[inline(always)]
    pub fn offset(&self, image: usize, block: usize) -> usize {
        (image * self.shape.blocks + self.first + block) * self.shape.plane()
    }

    /// That block: `[y][x][16]`.
    #[inline(always)]
    pub fn plane(&self, image: usize, block: usize) -> &'a [T] {
        &self.data[self.offset(image, block)..][..self.shape.plane()]
    }
}

impl<'a, T> MapMut<'a, T> {
    /// All blocks of a buffer.
    #[track_caller]
    pub fn whole(data: &'a mut [T], shape: Shape) -> MapMut<'a, T> {
        MapMut::slice(data, shape, 0, shape.blocks)
    }

    /// Blocks `first .. first + count`.
    #[track_caller]
    pub fn slice(data: &'a mut [T], shape: Shape, first: usize, count: usize) -> MapMut<'a, T> {
        check(data.len(), shape, first, count);
        MapMut { data, shape, first, count }
    }

    /// Where block `block` (of this map) of image `image` starts in the buffer.
    #[inline(always)]
    pub fn offset(&self, image: usize, block: usize) -> usize {
        (image * self.shape.blocks + self.first + block) * self.shape.plane()
    }

    /// That block: `[y][x][16]`.
    #[inline(always)]
    pub fn plane(&mut self, image: usize, block: usize) -> &mut [T] {
        let offset = self.offset(image, block);
        &mut self.data[offset..][..self.shape.plane()]
    }

    /// The same map, lent for a shorter time.
    pub fn reborrow(&mut self) -> MapMut<'_, T> {
        MapMut { data: self.data, shape: self.shape, first: self.first, count: self.count }
    }

    /// The same map, to read.
    pub fn as_map(&self) -> Map<'_, T> {
        Map { data: self.data, shape: self.shape, first: self.first, count: self.count }
    }
}
