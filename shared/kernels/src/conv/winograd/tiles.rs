//! The tiles that maps are cut into.

use super::Filter;
use super::transform::MOST as MOST_POINTS;
use crate::map::{LANES, Map};
use crate::simd::Simd;
use crate::value::Value;
use std::marker::PhantomData;
use std::ops::Range;

/// The most tiles of a chunk.
pub(super) const MOST: usize = 64;

/// Maps cut into tiles, counted through all images, row by row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiles {
    filter: Filter,
    /// Height and width of the maps.
    size: [usize; 2],
    /// Rows and columns of tiles.
    count: [usize; 2],
}

/// Where a tile is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) image: usize,
    /// Its first output.
    pub(super) y: usize,
    pub(super) x: usize,
    /// Rows and columns of its outputs that lie on the map.
    pub(super) inside: [usize; 2],
    /// Rows and columns of its points.
    pub(super) points: [usize; 2],
}

impl Tiles {
    pub(super) fn new(filter: Filter, size: [usize; 2]) -> Tiles {
        Tiles { filter, size, count: size.map(|length| length.div_ceil(filter.outputs())) }
    }

    /// Tiles of `batch` images.
    pub(super) fn count(&self, batch: usize) -> usize {
        batch * self.count[0] * self.count[1]
    }

    fn place(&self, index: usize) -> Place {
        let [rows, columns] = self.count;
        let position = [index / columns % rows, index % columns];
        let [y, x] = position.map(|position| position * self.filter.outputs());
        let inside = [self.size[0] - y, self.size[1] - x].map(|left| left.min(self.filter.outputs()));
        let points = inside.map(|outputs| self.filter.points_for(outputs));
        Place { image: index / columns / rows, y, x, inside, points }
    }

    /// Up to [`MOST`] tiles.
    pub(super) fn chunk(&self, tiles: Range<usize>) -> Chunk {
        assert!(tiles.len() <= MOST, "tiles of a chunk");
        let mut chunk =
            Chunk { places: [Place::default(); MOST], whole: [self.filter.points; 2], ends: [0; 4] };
        // Of those at the lower edge, none, the right, and both edges.
        let kinds = [[true, false], [false; 2], [false, true], [true; 2]];
        let mut places = [Place::default(); MOST];
        places.iter_mut().zip(tiles.clone()).for_each(|(place, index)| *place = self.place(index));
        let mut count = 0;
        for (kind, end) in kinds.into_iter().zip(&mut chunk.ends) {
            for place in &places[..tiles.len()] {
                let cut = place.points.map(|points| points < self.filter.points);
                if cut == kind {
                    chunk.places[count] = *place;
                    count += 1;
                    for side in (0..2).filter(|side| cut[*side]) {
                        chunk.whole[side] = place.points[side];
                    }
                }
            }
            *end = count;
        }
        chunk
    }
}

/// Some tiles, in such an order that those that have a point follow each other: first those with fewer rows of points than a whole tile,
/// then whole ones, then those with fewer columns, then those with fewer of both.
pub(super) struct Chunk {
    places: [Place; MOST],
    /// Rows and columns of the points that every tile has.
    whole: [usize; 2],
    /// Where each kind of tiles ends.
    ends: [usize; 4],
}

impl Chunk {
    /// The places of all tiles.
    #[inline(always)]
    pub(super) fn places(&self) -> &[Place] {
        &self.places[..self.ends[3]]
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

/// A rectangle of pixels of one block, of which those outside of the map are zero.
pub(super) struct Pixels<'a, T> {
    /// Where each row's first pixel is, or would be.
    rows: [*const T; MOST_POINTS],
    height: usize,
    pub(super) width: usize,
    /// The columns that lie on the map.
    pub(super) columns: Range<usize>,
    plane: PhantomData<&'a [T]>,
}

/// What is read of a row outside of the map.
pub(super) type Zeros<T> = [T; MOST_POINTS * LANES];

impl<'a, T: Value> Pixels<'a, T> {
    /// `height` rows of `width` pixels of a block from `pad` above and left of a tile on.
    #[inline(always)]
    pub(super) fn new(
        map: &Map<'a, T>,
        block: usize,
        place: &Place,
        pad: usize,
        [height, width]: [usize; 2],
        zeros: &'a Zeros<T>,
    ) -> Pixels<'a, T> {
        let (plane, shape) = (map.plane(place.image, block), map.shape);
        let columns = pad.saturating_sub(place.x)..width.min(shape.width + pad - place.x);
        let (first, len) = (place.x + columns.start - pad, columns.len() * LANES);
        let mut rows = [zeros.as_ptr(); MOST_POINTS];
        for (i, row) in rows[..height].iter_mut().enumerate() {
            let y = (place.y + i).wrapping_sub(pad);
            if y < shape.height {
                let start = plane[(y * shape.width + first) * LANES..][..len].as_ptr();
                *row = start.wrapping_sub(columns.start * LANES);
            }
        }
        Pixels { rows, height, width, columns, plane: PhantomData }
    }

    /// Asks for the next `columns` to the right, where mostly the next tile is: short pieces of many rows, which the
    /// hardware does not foresee.
    #[inline(always)]
    pub(super) fn ask_beyond<S: Simd>(&self, simd: S, columns: usize) {
        let pixels_of_line = 64 / (LANES * size_of::<T>());
        for row in &self.rows[..self.height] {
            for x in (self.width..self.width + columns).step_by(pixels_of_line) {
                simd.prefetch(row.wrapping_add(x * LANES));
            }
        }
    }

    /// A pixel.
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
            let filter = Filter { kernel, points };
            let tiles = Tiles::new(filter, size);
            for cut in 0..=tiles.count(3) {
                let (start, end) = (cut / 2, (cut / 2 + MOST).min(cut));
                let chunk = tiles.chunk(start..end);
                let mut found: Vec<_> = chunk.places().iter().map(|p| (p.image, p.y, p.x)).collect();
                found.sort_unstable();
                let expected = (start..end).map(|index| tiles.place(index));
                assert!(found.into_iter().eq(expected.map(|p| (p.image, p.y, p.x))), "each tile once");
                for (y, x) in (0..points).flat_map(|y| (0..points).map(move |x| (y, x))) {
                    let with = chunk.with(y, x);
                    for (index, place) in chunk.places().iter().enumerate() {
                        let has = y < place.points[0] && x < place.points[1];
                        assert_eq!(with.contains(&index), has, "{filter:?} {size:?} {y} {x}: {place:?}");
                    }
                }
            }
        }
    }
}
