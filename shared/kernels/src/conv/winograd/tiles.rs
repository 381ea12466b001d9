//! The tiles that maps are cut into.

use crate::map::{LANES, Shape};
use crate::simd::Simd;
use crate::value::Value;
use std::ops::Range;

/// The most tiles of a chunk whose places are kept at hand.
pub(super) const MOST: usize = 64;

/// Maps cut into squares of outputs, counted through all images, row by row. Those at the lower and right edge may
/// reach over it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiles {
    /// Outputs of a side.
    pub(super) side: usize,
    height: usize,
    width: usize,
    /// In a row of tiles, in an image.
    across: usize,
    each: usize,
}

/// Where a tile is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) image: usize,
    /// Its first output.
    pub(super) y: usize,
    pub(super) x: usize,
}

impl Tiles {
    pub(super) fn new(side: usize, height: usize, width: usize) -> Tiles {
        let across = width.div_ceil(side);
        Tiles { side, height, width, across, each: height.div_ceil(side) * across }
    }

    /// Tiles of `batch` images.
    pub(super) fn count(&self, batch: usize) -> usize {
        batch * self.each
    }

    #[inline(always)]
    pub(super) fn place(&self, index: usize) -> Place {
        let (image, index) = (index / self.each, index % self.each);
        Place { image, y: index / self.across * self.side, x: index % self.across * self.side }
    }

    /// The places of up to [`MOST`] tiles.
    #[inline(always)]
    pub(super) fn places(&self, tiles: Range<usize>) -> ([Place; MOST], usize) {
        let mut places = [Place::default(); MOST];
        assert!(tiles.len() <= MOST, "tiles of a chunk");
        for (place, index) in places.iter_mut().zip(tiles.clone()) {
            *place = self.place(index);
        }
        (places, tiles.len())
    }

    /// Rows and columns of a tile that lie on the map.
    #[inline(always)]
    pub(super) fn inside(&self, place: Place) -> [usize; 2] {
        [self.side.min(self.height - place.y), self.side.min(self.width - place.x)]
    }
}

/// A square of pixels of one block, read from the map or, where it reaches over the edge, from a copy with zeros.
pub(super) struct Square<'a, T> {
    start: &'a [T],
    row: usize,
}

/// Room for the copy of a square.
pub(super) type Copied<T> = [T; super::transform::POINTS * LANES];

impl<'a, T: Value> Square<'a, T> {
    /// The pixels from `pad` above and left of (`y`, `x`) on, `N` each way.
    #[inline(always)]
    pub(super) fn new<const N: usize>(
        plane: &'a [T],
        shape: Shape,
        place: Place,
        pad: usize,
        copy: &'a mut Copied<T>,
    ) -> Square<'a, T> {
        let line = shape.width * LANES;
        let (y, x) = (place.y, place.x);
        if y >= pad && x >= pad && y + N <= shape.height + pad && x + N <= shape.width + pad {
            let start = &plane[((y - pad) * shape.width + x - pad) * LANES..];
            assert!((N - 1) * line + N * LANES <= start.len(), "pixels of a tile");
            return Square { start, row: line };
        }
        let row = N * LANES;
        for (i, to) in copy[..N * row].chunks_exact_mut(row).enumerate() {
            let Some(y) = (y + i).checked_sub(pad).filter(|y| *y < shape.height) else {
                to.fill(T::default());
                continue;
            };
            for (j, to) in to.chunks_exact_mut(LANES).enumerate() {
                match (x + j).checked_sub(pad).filter(|x| *x < shape.width) {
                    Some(x) => to.copy_from_slice(&plane[y * line + x * LANES..][..LANES]),
                    None => to.fill(T::default()),
                }
            }
        }
        Square { start: copy, row }
    }

    /// A pixel.
    ///
    /// # Safety
    /// `y` and `x` must be below the `N` that the square was made with.
    #[inline(always)]
    pub(super) unsafe fn at<S: Simd>(&self, simd: S, y: usize, x: usize) -> S::Vector {
        // SAFETY: the square's pixels were asserted to lie in the slice.
        unsafe { simd.load(self.start.as_ptr().add(y * self.row + x * LANES)) }
    }
}
