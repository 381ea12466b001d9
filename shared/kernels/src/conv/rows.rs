//! One panel of a weight gradient: rows (taps and channels of the input) times output blocks, summed over pixels.

use super::pack::part;
use super::tile::{Sums, outer};
use crate::map::LANES;
use crate::simd::Simd;

/// The pixels of a chunk as the tiles walk over them: lines of neighbours.
#[derive(Clone, Copy)]
pub(super) struct Lines {
    pub(super) images: usize,
    pub(super) lines: usize,
    pub(super) pixels: usize,
    /// Floats from one image, line, pixel to the next in the input, and in the output gradient.
    pub(super) input_image: usize,
    pub(super) input_line: usize,
    pub(super) input_pixel: usize,
    pub(super) output_image: usize,
    pub(super) output_line: usize,
}

/// The rows of the product: `[y of the tap][x of the tap][inner]`.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub(super) kernel: usize,
    /// Values that lie side by side at each tap: the channels of a block, or one.
    pub(super) inner: usize,
    /// Floats from one tap to the next in a row of the kernel.
    pub(super) tap: usize,
    /// Floats from one row of the input to the next.
    pub(super) line: usize,
}

impl Rows {
    /// How many there are.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.kernel * self.kernel * self.inner
    }

    /// All rows times the panel of `columns` output blocks, added to `partial`, which is `[column][row][16]`; `y` gives
    /// the gradient of an output block from the first of the pixels on.
    ///
    /// # Safety
    /// `x` must have what the pixels of `lines` read, from its start.
    #[inline(always)]
    pub(super) unsafe fn panel<'a, S: Simd>(
        self,
        simd: S,
        lines: Lines,
        x: &[f32],
        columns: usize,
        y: impl Fn(usize) -> &'a [f32],
        partial: &mut [f32],
    ) {
        let reach = (lines.images - 1) * lines.output_image
            + (lines.lines - 1) * lines.output_line
            + lines.pixels * LANES;
        let y = |column| y(column)[..reach].as_ptr();
        let x = x.as_ptr();
        // SAFETY: `x` is the caller's promise, the lengths of each `y` are checked.
        unsafe {
            match columns {
                1 => self.tiles(simd, lines, x, [y(0)], partial),
                2 if const { S::PANEL >= 2 } => self.tiles(simd, lines, x, [y(0), y(1)], partial),
                3 if const { S::PANEL >= 3 } => self.tiles(simd, lines, x, [y(0), y(1), y(2)], partial),
                other => unreachable!("a panel of {other} blocks"),
            }
        }
    }

    /// All tiles of a panel.
    ///
    /// # Safety
    /// `x` and each `y` must be valid for reading at all pixels of `lines` (of `x`, and around them).
    #[inline(always)]
    unsafe fn tiles<S: Simd, const COLUMNS: usize>(
        self,
        simd: S,
        lines: Lines,
        x: *const f32,
        y: [*const f32; COLUMNS],
        partial: &mut [f32],
    ) {
        let rows = self.len();
        assert_eq!(partial.len(), COLUMNS * rows * LANES);
        let tiles = rows.div_ceil(S::ROWS);
        for tile in 0..tiles {
            let tile = part(tile, tiles, rows);
            macro_rules! heights {
                ($($n:literal)*) => {
                    match tile.len() {
                        // SAFETY: the caller's promise.
                        $($n if const { $n <= S::ROWS } => unsafe {
                            self.tile::<S, $n, COLUMNS>(simd, lines, x, y, tile.start, partial)
                        })*
                        other => unreachable!("a tile of {other} rows"),
                    }
                };
            }
            heights!(1 2 3 4 5 6 7 8)
        }
    }

    /// Rows from `first` on times one panel.
    ///
    /// # Safety
    /// As [`Rows::tiles`].
    #[inline(always)]
    unsafe fn tile<S: Simd, const ROWS: usize, const COLUMNS: usize>(
        self,
        simd: S,
        lines: Lines,
        x: *const f32,
        y: [*const f32; COLUMNS],
        first: usize,
        partial: &mut [f32],
    ) {
        let mut offsets = [0; ROWS];
        for (i, offset) in offsets.iter_mut().enumerate() {
            let (tap, inner) = ((first + i) / self.inner, (first + i) % self.inner);
            *offset = tap / self.kernel * self.line + tap % self.kernel * self.tap + inner;
        }
        let mut sums: Sums<S, ROWS, COLUMNS> = [[simd.zero(); COLUMNS]; ROWS];
        for image in 0..lines.images {
            for line in 0..lines.lines {
                // SAFETY: the caller's promise.
                unsafe {
                    let x = x.add(image * lines.input_image + line * lines.input_line);
                    let y = y.map(|y| y.add(image * lines.output_image + line * lines.output_line));
                    let x = offsets.map(|offset| x.add(offset));
                    outer::<S, ROWS, COLUMNS>(simd, &mut sums, x, lines.input_pixel, y, lines.pixels);
                }
            }
        }
        let rows = partial.len() / COLUMNS / LANES;
        for j in 0..COLUMNS {
            let partial = &mut partial[(j * rows + first) * LANES..][..ROWS * LANES];
            for (sum, to) in sums.iter().zip(partial.chunks_exact_mut(LANES)).take(simd.unrolled(ROWS)) {
                simd.write(to, simd.add(simd.read(to), sum[j]));
            }
        }
    }
}
