//! One panel of a weight gradient: rows (taps and channels of the input) times output blocks, summed over
//! pixels.

use super::tile::{Sums, outer};
use crate::map::LANES;
use crate::pool::part;
use crate::simd::Simd;
use crate::value::Value;

/// The pixels of a chunk as runs of equal length, counted in groups of pixels that are multiplied at a time.
/// Distances are in values.
#[derive(Clone, Copy)]
pub(super) struct PixelRuns {
    pub(super) count: usize,
    pub(super) pixels: usize,
    /// Distance in the input from one run to the next, and from one pixel to the next.
    pub(super) input_run: usize,
    pub(super) input_pixel: usize,
    /// Distance in the output gradient from one run to the next.
    pub(super) output_run: usize,
    /// Distance from a pixel to the one to prefetch, for instance in the next block.
    pub(super) ahead: usize,
}

/// The rows of a multiply: for each the offset of its first group of pixels in the input.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a>(pub(super) &'a [usize]);

/// Partial sums of rows and columns, `[column][row][16]`.
pub(super) struct Partial<'a> {
    pub(super) sums: &'a mut [f32],
    /// Whether products are added to the sums instead of overwriting them.
    pub(super) accumulate: bool,
}

impl Rows<'_> {
    /// Multiplies all rows with a panel of `columns` output blocks; `y` returns the gradient of an output
    /// block from the first of the pixels on.
    ///
    /// # Safety
    /// `x` must have a value for each row and each pixel of `runs`.
    #[inline(always)]
    pub(super) unsafe fn panel<'a, S: Simd, T: Value>(
        self,
        simd: S,
        runs: PixelRuns,
        x: &[T],
        columns: usize,
        y: impl Fn(usize) -> &'a [T],
        mut partial: Partial<'_>,
    ) {
        let reach = (runs.count - 1) * runs.output_run + runs.pixels * LANES * T::GROUP;
        let y = |column| y(column)[..reach].as_ptr();
        let x = x.as_ptr();
        // SAFETY: `x` is the caller's promise, the lengths of each `y` are checked.
        unsafe {
            match columns {
                1 => self.tiles(simd, runs, x, [y(0)], &mut partial),
                2 if const { S::PANEL >= 2 } => self.tiles(simd, runs, x, [y(0), y(1)], &mut partial),
                3 if const { S::PANEL >= 3 } => self.tiles(simd, runs, x, [y(0), y(1), y(2)], &mut partial),
                other => unreachable!("a panel of {other} blocks"),
            }
        }
    }

    /// Computes all tiles of a panel.
    ///
    /// # Safety
    /// `x` and each `y` must be valid for reading at all pixels of `runs` (`x` for each row).
    #[inline(always)]
    unsafe fn tiles<S: Simd, T: Value, const COLUMNS: usize>(
        self,
        simd: S,
        runs: PixelRuns,
        x: *const T,
        y: [*const T; COLUMNS],
        partial: &mut Partial<'_>,
    ) {
        let rows = self.0.len();
        assert_eq!(partial.sums.len(), COLUMNS * rows * LANES);
        let tiles = rows.div_ceil(S::ROWS);
        for tile in 0..tiles {
            let tile = part(tile, tiles, rows);
            macro_rules! heights {
                ($($n:literal)*) => {
                    match tile.len() {
                        // SAFETY: the caller's promise.
                        $($n if const { $n <= S::ROWS } => unsafe {
                            self.tile::<S, T, $n, COLUMNS>(simd, runs, x, y, tile.start, partial)
                        })*
                        other => unreachable!("a tile of {other} rows"),
                    }
                };
            }
            heights!(1 2 3 4 5 6 7 8)
        }
    }

    /// Computes rows from `first` on times one panel.
    ///
    /// # Safety
    /// See [`Rows::tiles`].
    #[inline(always)]
    unsafe fn tile<S: Simd, T: Value, const ROWS: usize, const COLUMNS: usize>(
        self,
        simd: S,
        runs: PixelRuns,
        x: *const T,
        y: [*const T; COLUMNS],
        first: usize,
        partial: &mut Partial<'_>,
    ) {
        let mut offsets = [0; ROWS];
        offsets.copy_from_slice(&self.0[first..first + ROWS]);
        let mut sums: Sums<S, ROWS, COLUMNS> = [[simd.zero(); COLUMNS]; ROWS];
        for run in 0..runs.count {
            // SAFETY: the caller's promise.
            unsafe {
                let x = x.add(run * runs.input_run);
                let y = y.map(|y| y.add(run * runs.output_run));
                let x = offsets.map(|offset| x.add(offset));
                outer::<S, T, ROWS, COLUMNS>(
                    simd,
                    &mut sums,
                    x,
                    runs.input_pixel,
                    y,
                    runs.pixels,
                    runs.ahead,
                );
            }
        }
        // Two small loops are unrolled where one with a choice inside is not: see `band::begin`.
        let rows = self.0.len();
        for j in 0..COLUMNS {
            let sums_of_column = &mut partial.sums[(j * rows + first) * LANES..][..ROWS * LANES];
            if partial.accumulate {
                for (i, row) in sums.iter_mut().enumerate().take(simd.unrolled(ROWS)) {
                    row[j] = simd.add(simd.read(&sums_of_column[i * LANES..]), row[j]);
                }
            }
            for (i, row) in sums.iter().enumerate().take(simd.unrolled(ROWS)) {
                simd.write(&mut sums_of_column[i * LANES..], row[j]);
            }
        }
    }
}
