//! The two register tiles that all convolutions are made of.
//!
//! Both multiply broadcast values of one operand with vectors of the other and keep `ROWS x COLUMNS` sums in
//! registers. They differ in what runs along the sum: channels and taps of one pixel ([`multiply`]), or pixels
//! ([`outer`]). The compiler must unroll the loops over rows and columns and keep `sums` in registers; the sizes are
//! chosen for that in the implementations of [`Simd`].

use crate::simd::Simd;

/// The sums of a tile.
pub(super) type Sums<S, const ROWS: usize, const COLUMNS: usize> = [[<S as Simd>::Vector; COLUMNS]; ROWS];

/// `sums[i][j] += x[i][step] * w[step][j]` for each of `steps` steps.
///
/// # Safety
/// Each `x[i]` must be valid for reading `steps` floats, `w` for `steps * COLUMNS * 16`.
#[inline(always)]
pub(super) unsafe fn multiply<S: Simd, const ROWS: usize, const COLUMNS: usize>(
    simd: S,
    sums: &mut Sums<S, ROWS, COLUMNS>,
    x: [*const f32; ROWS],
    w: *const f32,
    steps: usize,
) {
    for step in 0..simd.unrolled(steps) {
        let mut columns = [simd.zero(); COLUMNS];
        for (j, column) in columns.iter_mut().enumerate() {
            // SAFETY: w has steps * COLUMNS * 16 floats (caller).
            *column = unsafe { simd.load(w.add((step * COLUMNS + j) * 16)) };
        }
        for i in 0..simd.unrolled(ROWS) {
            // SAFETY: x[i] has steps floats (caller).
            let value = simd.splat(unsafe { *x[i].add(step) });
            for j in 0..COLUMNS {
                sums[i][j] = simd.mul_add(value, columns[j], sums[i][j]);
            }
        }
    }
}

/// `sums[i][j] += x[i][p * stride] * y[j][p]`, where `y[j][p]` is a vector, for each of `pixels` pixels. Asks for what lies `ahead` of
/// each pixel.
///
/// # Safety
/// Each `x[i]` must be valid for reading at `0, stride, .. (pixels - 1) * stride`, each `y[j]` for `pixels * 16` floats.
#[inline(always)]
pub(super) unsafe fn outer<S: Simd, const ROWS: usize, const COLUMNS: usize>(
    simd: S,
    sums: &mut Sums<S, ROWS, COLUMNS>,
    x: [*const f32; ROWS],
    stride: usize,
    y: [*const f32; COLUMNS],
    pixels: usize,
    ahead: usize,
) {
    let mut at = 0;
    for p in 0..pixels {
        simd.prefetch(x[0].wrapping_add(at + ahead));
        let mut columns = [simd.zero(); COLUMNS];
        for j in 0..COLUMNS {
            // SAFETY: y[j] has `pixels` vectors (caller).
            columns[j] = unsafe { simd.load(y[j].add(p * 16)) };
        }
        for i in 0..simd.unrolled(ROWS) {
            // SAFETY: x[i] has a value for each pixel (caller).
            let value = simd.splat(unsafe { *x[i].add(at) });
            for j in 0..COLUMNS {
                sums[i][j] = simd.mul_add(value, columns[j], sums[i][j]);
            }
        }
        at += stride;
    }
}
