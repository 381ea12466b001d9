//! Copies of image bands with zeros around them, so that kernels need no edge cases.
//!
//! A copy costs one load and one store where the arithmetic on the same values costs hundreds of cycles.

use crate::map::{LANES, Map, Shape};
use crate::simd::Simd;
use crate::value::Value;
use std::ops::Range;

/// Layout of a band of `rows` rows with `pad` zeros on all sides, for one block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Padded {
    /// Values from one row to the next.
    pub(super) row: usize,
    /// Values from one block to the next.
    pub(super) plane: usize,
}

impl Padded {
    pub(super) fn new(rows: usize, width: usize, pad: usize) -> Padded {
        let row = (width + 2 * pad) * LANES;
        // An additional line keeps the same pixel of all blocks from sharing one set of the cache.
        Padded { row, plane: (rows + 2 * pad) * row + LANES }
    }

    /// Copies rows `rows` of a block and their surroundings of `pad` pixels.
    #[inline(always)]
    pub(super) fn fill<T: Value>(
        &self,
        map: &Map<T>,
        image: usize,
        block: usize,
        rows: Range<usize>,
        pad: usize,
        to: &mut [T],
    ) {
        let plane = map.plane(image, block);
        let line = map.shape.width * LANES;
        for (row, to) in (0..rows.len() + 2 * pad).zip(to.chunks_exact_mut(self.row)) {
            match (rows.start + row).checked_sub(pad).filter(|y| *y < map.shape.height) {
                Some(y) => {
                    let (left, rest) = to.split_at_mut(pad * LANES);
                    let (middle, right) = rest.split_at_mut(line);
                    left.fill(T::default());
                    middle.copy_from_slice(&plane[y * line..][..line]);
                    right.fill(T::default());
                }
                None => to.fill(T::default()),
            }
        }
    }
}

/// Layout of a band of one block that is copied as f32 once for each column of the kernel, shifted as that
/// column reads it.
///
/// In each copy the values that a tap reads for neighbouring pixels are contiguous across row ends: a whole
/// band is one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shifted {
    /// Floats from one row to the next.
    pub(super) row: usize,
    /// Floats from one copy to the next.
    pub(super) copy: usize,
    /// Floats of all copies.
    pub(super) len: usize,
}

impl Shifted {
    pub(super) fn new(rows: usize, width: usize, kernel: usize) -> Shifted {
        let row = width * LANES;
        let copy = (rows + kernel - 1) * row;
        Shifted { row, copy, len: kernel * copy }
    }

    /// Start of the values of a tap; taps are counted along the rows of the kernel.
    pub(super) fn tap(&self, tap: usize, kernel: usize) -> usize {
        tap % kernel * self.copy + tap / kernel * self.row
    }

    /// Copies the values that the kernel reads for the output rows `rows`.
    #[inline(always)]
    pub(super) fn fill<S: Simd, T: Value>(
        &self,
        simd: S,
        plane: &[T],
        shape: Shape,
        rows: Range<usize>,
        kernel: usize,
        to: &mut [f32],
    ) {
        let pad = kernel / 2;
        for (kx, to) in to.chunks_exact_mut(self.copy).enumerate() {
            // Outputs for which this column of the kernel reads inside the image.
            let end = (shape.width + pad).saturating_sub(kx).min(shape.width);
            let start = pad.saturating_sub(kx).min(end);
            for (row, to) in (0..rows.len() + kernel - 1).zip(to.chunks_exact_mut(self.row)) {
                match (rows.start + row).checked_sub(pad).filter(|y| *y < shape.height) {
                    Some(y) if start < end => {
                        to[..start * LANES].fill(0.0);
                        let from =
                            &plane[y * self.row + (start + kx - pad) * LANES..][..(end - start) * LANES];
                        widen(simd, from, &mut to[start * LANES..end * LANES]);
                        to[end * LANES..].fill(0.0);
                    }
                    _ => to.fill(0.0),
                }
            }
        }
    }
}

/// Copies whole pixels, widened to f32.
#[inline(always)]
pub(super) fn widen<S: Simd, T: Value>(simd: S, from: &[T], to: &mut [f32]) {
    assert_eq!(from.len(), to.len(), "values of a copy");
    for (from, to) in from.chunks_exact(LANES).zip(to.chunks_exact_mut(LANES)) {
        simd.write(to, simd.read(from));
    }
}
