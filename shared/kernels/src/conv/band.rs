//! One panel of a forward multiply: a band of pixels times some output blocks, summed over taps and input
//! channels.

use super::tile::{Sums, multiply};
use crate::map::LANES;
use crate::pool::part;
use crate::simd::Simd;
use crate::value::Value;
use std::ops::Range;

/// Address of a band's input, and the distances between its pixels, taps and channels, in values.
#[derive(Clone, Copy)]
pub(super) struct Band<'a, T> {
    pub(super) start: *const T,
    /// Distance from one block (in the stem: one channel) to the next.
    pub(super) plane: usize,
    /// Distance from the input of one row of output pixels to that of the next row, and from a pixel's to its
    /// neighbour's.
    pub(super) row: usize,
    pub(super) pixel: usize,
    /// Output pixels in a row.
    pub(super) width: usize,
    /// Rows and columns of taps, and the distances between them.
    pub(super) taps: [usize; 2],
    pub(super) tap: [usize; 2],
    /// Number of channels of each block that are adjacent at a tap.
    pub(super) depths: &'a [usize],
    /// Rows of the packed weights for each tap: the largest depth.
    pub(super) rows: usize,
    /// Whether the pixels are contiguous in the input, 16 values apart, across the ends of rows too.
    pub(super) flat: bool,
    pub(super) relu: bool,
    pub(super) accumulate: bool,
}

/// Computes all pixels of a band times the panel of output blocks `columns`; each `output` is one block's
/// pixels of the band.
///
/// `bias` holds all output channels; channels past its end have no bias. Where a column has a mask, of the
/// length of its output, the result is zero wherever the mask is not positive.
///
/// # Safety
/// `band` must describe readable memory that has the pixels and their surroundings in all its blocks.
#[inline(always)]
pub(super) unsafe fn panel<'a, S: Simd, T: Value, O: Value>(
    simd: S,
    band: &Band<'_, T>,
    packed: &[T],
    bias: &[f32],
    columns: Range<usize>,
    output: impl Fn(usize) -> &'a mut [O],
    mask: impl Fn(usize) -> Option<&'a [O]>,
) {
    let mut padded_bias = [0.0; 4 * LANES];
    let bias = bias.get(columns.start * LANES..).unwrap_or(&[]);
    let known = bias.len().min(columns.len() * LANES);
    padded_bias[..known].copy_from_slice(&bias[..known]);
    let depth = band.depths.len() * band.taps[0] * band.taps[1] * band.rows;
    assert_eq!(packed.len(), depth * columns.len() * LANES, "packed weights of a panel");
    let pixels = output(0).len() / LANES;
    let output = |column| {
        let output = output(column);
        assert_eq!(output.len(), pixels * LANES, "pixels of a block");
        output.as_mut_ptr()
    };
    let mask = |column| {
        let mask = mask(column);
        assert!(mask.is_none_or(|mask| mask.len() == pixels * LANES), "mask of a block");
        mask.map_or(std::ptr::null(), <[O]>::as_ptr)
    };
    let column = |column| (output(column), mask(column));
    let (w, bias) = (packed.as_ptr(), padded_bias.as_ptr());
    macro_rules! widths {
        ($flat:literal) => {
            // SAFETY: the input is the caller's promise; the lengths of the others are asserted.
            unsafe {
                match columns.len() {
                    1 => tiles::<S, T, O, $flat, 1>(simd, band, w, bias, [0].map(column), pixels),
                    2 if const { S::PANEL >= 2 } => {
                        tiles::<S, T, O, $flat, 2>(simd, band, w, bias, [0, 1].map(column), pixels)
                    }
                    3 if const { S::PANEL >= 3 } => {
                        tiles::<S, T, O, $flat, 3>(simd, band, w, bias, [0, 1, 2].map(column), pixels)
                    }
                    other => unreachable!("a panel of {other} blocks"),
                }
            }
        };
    }
    if band.flat { widths!(true) } else { widths!(false) }
}

/// Computes all tiles of a panel.
///
/// # Safety
/// See [`tile`], for all `pixels` pixels.
#[inline(always)]
unsafe fn tiles<S: Simd, T: Value, O: Value, const FLAT: bool, const COLUMNS: usize>(
    simd: S,
    band: &Band<'_, T>,
    w: *const T,
    bias: *const f32,
    output: [(*mut O, *const O); COLUMNS],
    pixels: usize,
) {
    let span = if S::SCATTERED || FLAT { pixels } else { band.width };
    let tiles = span.div_ceil(S::PIXELS[COLUMNS]);
    for start in (0..pixels).step_by(span) {
        for index in 0..tiles {
            let pixels = part(index, tiles, span);
            let first = start + pixels.start;
            macro_rules! widths {
                ($($n:literal)*) => {
                    match pixels.len() {
                        // SAFETY: the tile's pixels are among the band's (caller).
                        $($n if const { $n <= S::PIXELS[COLUMNS] } => unsafe {
                            tile::<S, T, O, FLAT, $n, COLUMNS>(simd, band, w, bias, output, first)
                        })*
                        other => unreachable!("a tile of {other} pixels"),
                    }
                };
            }
            widths!(1 2 3 4 5 6 7 8 9)
        }
    }
}

/// Computes `PIXELS` pixels from `first` on times one panel.
///
/// # Safety
/// `band` must describe readable memory that has these pixels and their surroundings in all its blocks, `w`
/// the packed panel, `bias` 16 floats per column; each output and its mask, unless null, must be valid for 16
/// values at each of the pixels.
#[inline(always)]
unsafe fn tile<S: Simd, T: Value, O: Value, const FLAT: bool, const PIXELS: usize, const COLUMNS: usize>(
    simd: S,
    band: &Band<'_, T>,
    w: *const T,
    bias: *const f32,
    output: [(*mut O, *const O); COLUMNS],
    first: usize,
) {
    // The offsets of the pixels from the first are constants where the pixels are contiguous, which saves
    // registers and additions.
    let place = |pixel: usize| match FLAT {
        true => pixel * LANES,
        false => pixel / band.width * band.row + pixel % band.width * band.pixel,
    };
    let mut offsets = [0; PIXELS];
    for (i, offset) in offsets.iter_mut().enumerate() {
        *offset = match (FLAT, S::SCATTERED) {
            (true, _) => i * LANES,
            (false, true) => place(first + i) - place(first),
            (false, false) => i * band.pixel,
        };
    }
    // SAFETY: everything below stays inside of what the caller promised.
    unsafe {
        let mut sums = begin::<S, O, PIXELS, COLUMNS>(simd, band.accumulate, bias, output, first);
        let mut w = w;
        let mut x = band.start.add(place(first));
        for depth in band.depths {
            if FLAT {
                // The next block is a plane away, which the hardware does not prefetch.
                for offset in offsets {
                    simd.prefetch(x.wrapping_add(band.plane + offset));
                }
            }
            for ky in 0..band.taps[0] {
                for kx in 0..band.taps[1] {
                    let x = x.add(ky * band.tap[0] + kx * band.tap[1]);
                    let x = offsets.map(|offset| x.add(offset));
                    multiply::<S, T, PIXELS, COLUMNS>(simd, &mut sums, x, w, depth.div_ceil(T::GROUP));
                    w = w.add(band.rows * COLUMNS * LANES);
                }
            }
            x = x.wrapping_add(band.plane);
        }
        finish(simd, &mut sums, band.relu, output, first);
    }
}

/// The first values of a tile's sums: the bias, or the output if `accumulate`.
///
/// Each way in and out of the sums is a loop of its own, small enough to be unrolled: one index that is
/// unknown at compile time would put all sums into memory, for the loops in between too.
///
/// # Safety
/// `bias` must be valid for reading 16 floats per column, each output for 16 values at each of the pixels.
#[inline(always)]
unsafe fn begin<S: Simd, O: Value, const PIXELS: usize, const COLUMNS: usize>(
    simd: S,
    accumulate: bool,
    bias: *const f32,
    output: [(*mut O, *const O); COLUMNS],
    first: usize,
) -> Sums<S, PIXELS, COLUMNS> {
    let mut sums: Sums<S, PIXELS, COLUMNS> = [[simd.zero(); COLUMNS]; PIXELS];
    let n = simd.unrolled(PIXELS);
    // SAFETY: the caller's promise.
    unsafe {
        for j in 0..COLUMNS {
            let bias = simd.load(bias.add(j * LANES));
            for row in sums.iter_mut().take(n) {
                row[j] = bias;
            }
        }
        if accumulate {
            for j in 0..COLUMNS {
                for (i, row) in sums.iter_mut().enumerate().take(n) {
                    row[j] = simd.load(output[j].0.add((first + i) * LANES));
                }
            }
        }
    }
    sums
}

/// Writes the complete sums of a tile, after ReLU and masks; see [`begin`] about the loops.
///
/// # Safety
/// Each output and its mask, unless null, must be valid for 16 values at each of the pixels.
#[inline(always)]
unsafe fn finish<S: Simd, O: Value, const PIXELS: usize, const COLUMNS: usize>(
    simd: S,
    sums: &mut Sums<S, PIXELS, COLUMNS>,
    relu: bool,
    output: [(*mut O, *const O); COLUMNS],
    first: usize,
) {
    let n = simd.unrolled(PIXELS);
    if relu {
        for row in sums.iter_mut().take(n) {
            for value in row {
                *value = simd.max(*value, simd.zero());
            }
        }
    }
    for j in 0..COLUMNS {
        let (output, mask) = output[j];
        // SAFETY: the caller's promise.
        unsafe {
            if !mask.is_null() {
                for (i, row) in sums.iter_mut().enumerate().take(n) {
                    let mask = simd.load(mask.add((first + i) * LANES));
                    row[j] = simd.select_greater(mask, simd.zero(), row[j], simd.zero());
                }
            }
            for (i, row) in sums.iter().enumerate().take(n) {
                simd.store(output.add((first + i) * LANES), row[j]);
            }
        }
    }
}
