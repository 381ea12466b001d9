//! The tiles that maps are cut into.

use super::Scheme;
use super::transform::MOST as MOST_POINTS;
use crate::map::{LANES, Map};
use crate::simd::Simd;
use crate::value::Value;
use std::marker::PhantomData;
use std::ops::Range;

/// The most tiles of a chunk.
pub(super) const MOST: usize = 64;

/// The tiles of a minibatch's maps, counted through all images, row by row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiles {
    scheme: Scheme,
    /// Height and width of the maps.
    size: [usize; 2],
    /// Rows and columns of tiles.
    count: [usize; 2],
}

/// Position and size of a tile.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TilePosition {
    pub(super) image: usize,
    /// Row and column of the first output.
    pub(super) y: usize,
    pub(super) x: usize,
    /// Rows and columns of outputs that lie on the map.
    pub(super) inside: [usize; 2],
    /// Rows and columns of points.
    pub(super) points: [usize; 2],
}

impl Tiles {
    pub(super) fn new(scheme: Scheme, size: [usize; 2]) -> Tiles {
        Tiles { scheme, size, count: size.map(|length| length.div_ceil(scheme.outputs())) }
    }

    /// Number of tiles of `batch` images.
    pub(super) fn count(&self, batch: usize) -> usize {
        batch * self.count[0] * self.count[1]
    }

    fn position(&self, index: usize) -> TilePosition {
        let [rows, columns] = self.count;
        let position = [index / columns % rows, index % columns];
        let [y, x] = position.map(|position| position * self.scheme.outputs());
        let inside = [self.size[0] - y, self.size[1] - x].map(|left| left.min(self.scheme.outputs()));
        let points = inside.map(|outputs| self.scheme.points_for(outputs));
        TilePosition { image: index / columns / rows, y, x, inside, points }
    }

    /// A chunk of up to [`MOST`] tiles.
    pub(super) fn chunk(&self, tiles: Range<usize>) -> Chunk {
        assert!(tiles.len() <= MOST, "tiles of a chunk");
        let mut chunk = Chunk {
            positions: [TilePosition::default(); MOST],
            whole: [self.scheme.points; 2],
            ends: [0; 4],
        };
        // The kinds are: cut at the lower edge, whole, cut at the right edge, cut at both edges.
        let kinds = [[true, false], [false; 2], [false, true], [true; 2]];
        let mut positions = [TilePosition::default(); MOST];
        positions
            .iter_mut()
            .zip(tiles.clone())
            .for_each(|(position, index)| *position = self.position(index));
        let mut count = 0;
        for (kind, end) in kinds.into_iter().zip(&mut chunk.ends) {
            for position in &positions[..tiles.len()] {
                let cut = position.points.map(|points| points < self.scheme.points);
                if cut == kind {
                    chunk.positions[count] = *position;
                    count += 1;
                    for side in (0..2).filter(|side| cut[*side]) {
                        chunk.whole[side] = position.points[side];
                    }
                }
            }
            *end = count;
        }
        chunk
    }
}

/// A chunk of tiles in such an order that the tiles that have a point are consecutive: first those with fewer
/// rows of points than a whole tile, then whole ones, then those with fewer columns, then those with fewer of
/// both.
pub(super) struct Chunk {
    positions: [TilePosition; MOST],
    /// Rows and columns of the points that every tile has.
    whole: [usize; 2],
    /// End of each kind of tiles.
    ends: [usize; 4],
}

impl Chunk {
    /// Positions of all tiles.
    #[inline(always)]
    pub(super) fn positions(&self) -> &[TilePosition] {
        &self.positions[..self.ends[3]]
    }

    /// The tiles that have a point.
    #[inline(always)]
    pub(super) fn with(&self, y: usize, x: usize) -> Range<usize> {
        let [low, left] = [y < self.whole[0], x < self.whole[1]];
        let start = if low { 0 } else { self.ends[0] };
        let end = match (low, left) {
            (true, true) => 3,
            (false, true) => 2,
            (_, false) => 1,
        };
        start..self.ends[end]
    }
}

/// A rectangle of pixels of one block; pixels outside the map are zero.
pub(super) struct Pixels<'a, T> {
    /// Address of each row's first pixel, which need not lie on the map.
    rows: [*const T; MOST_POINTS],
    height: usize,
    pub(super) width: usize,
    /// The columns that lie on the map.
    pub(super) columns: Range<usize>,
    plane: PhantomData<&'a [T]>,
}

/// The values of a row outside the map.
pub(super) type Zeros<T> = [T; MOST_POINTS * LANES];

impl<'a, T: Value> Pixels<'a, T> {
    /// The rectangle of `height` rows and `width` columns of a block that starts `pad` pixels above and to
    /// the left of a tile.
    #[inline(always)]
    pub(super) fn new(
        map: &Map<'a, T>,
        block: usize,
        position: &TilePosition,
        pad: usize,
        [height, width]: [usize; 2],
        zeros: &'a Zeros<T>,
    ) -> Pixels<'a, T> {
        let (plane, shape) = (map.plane(position.image, block), map.shape);
        let columns = pad.saturating_sub(position.x)..width.min(shape.width + pad - position.x);
        let (first, len) = (position.x + columns.start - pad, columns.len() * LANES);
        let mut rows = [zeros.as_ptr(); MOST_POINTS];
        for (i, row) in rows[..height].iter_mut().enumerate() {
            let y = (position.y + i).wrapping_sub(pad);
            if y < shape.height {
                let start = plane[(y * shape.width + first) * LANES..][..len].as_ptr();
                *row = start.wrapping_sub(columns.start * LANES);
            }
        }
        Pixels { rows, height, width, columns, plane: PhantomData }
    }

    /// Prefetches the next `columns` to the right, where the next tile usually is: short pieces of many rows,
    /// which the hardware does not prefetch.
    #[inline(always)]
    pub(super) fn prefetch_beyond<S: Simd>(&self, simd: S, columns: usize) {
        let pixels_of_line = 64 / (LANES * size_of::<T>());
        for row in &self.rows[..self.height] {
            for x in (self.width..self.width + columns).step_by(pixels_of_line) {
                simd.prefetch(row.wrapping_add(x * LANES));
            }
        }
    }

    /// Loads a pixel.
    ///
    /// # Safety
    /// `y` and `x` must lie in the rectangle, and `x` among its columns on the map.
    #[inline(always)]
    pub(super) unsafe fn at<S: Simd>(&self, simd: S, y: usize, x: usize) -> S::Vector {
        // SAFETY: each row was sliced to these columns, or is as many zeros.
        unsafe { simd.load(self.rows[y].wrapping_add(x * LANES)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_that_have_a_point_follow_each_other() {
        for (points, kernel, size) in [(6, 3, [14, 14]), (8, 3, [14, 28]), (8, 5, [7, 6]), (6, 5, [3, 5])] {
            let scheme = Scheme { kernel, points };
            let tiles = Tiles::new(scheme, size);
            for cut in 0..=tiles.count(3) {
                let (start, end) = (cut / 2, (cut / 2 + MOST).min(cut));
                let chunk = tiles.chunk(start..end);
                let mut found: Vec<_> = chunk.positions().iter().map(|p| (p.image, p.y, p.x)).collect();
                found.sort_unstable();
                let expected = (start..end).map(|index| tiles.position(index));
                assert!(found.into_iter().eq(expected.map(|p| (p.image, p.y, p.x))), "each tile once");
                for (y, x) in (0..points).flat_map(|y| (0..points).map(move |x| (y, x))) {
                    let with = chunk.with(y, x);
                    for (index, position) in chunk.positions().iter().enumerate() {
                        let has = y < position.points[0] && x < position.points[1];
                        assert_eq!(with.contains(&index), has, "{scheme:?} {size:?} {y} {x}: {position:?}");
                    }
                }
            }
        }
    }
}
