//! The two register tiles that all convolutions on vectors are made of.
//!
//! Both multiply broadcast values of one operand with vectors of the other and keep `ROWS x COLUMNS` sums in
//! registers. They differ in the dimension that is summed: channels and taps of one pixel ([`multiply`]), or
//! pixels ([`outer`]). The compiler must unroll the loops over rows and columns and keep `sums` in registers;
//! the implementations of [`Simd`] choose the sizes for that.

use crate::simd::Simd;
use crate::value::Value;

/// The sums of a register tile.
pub(super) type Sums<S, const ROWS: usize, const COLUMNS: usize> = [[<S as Simd>::Vector; COLUMNS]; ROWS];

/// Computes `sums[i][j] += x[i][step] * w[step][j]` for `steps` steps of one group of values each.
///
/// # Safety
/// Each `x[i]` must be valid for reading `steps` groups, `w` for `steps * COLUMNS * 16`.
#[inline(always)]
pub(super) unsafe fn multiply<S: Simd, T: Value, const ROWS: usize, const COLUMNS: usize>(
    simd: S,
    sums: &mut Sums<S, ROWS, COLUMNS>,
    x: [*const T; ROWS],
    w: *const T,
    steps: usize,
) {
    for step in 0..simd.unrolled(steps) {
        let mut columns = [simd.zero(); COLUMNS];
        for (j, column) in columns.iter_mut().enumerate() {
            // SAFETY: w has steps * COLUMNS * 16 groups (caller).
            *column = unsafe { T::load_groups(simd, w.add((step * COLUMNS + j) * 16 * T::GROUP)) };
        }
        for i in 0..simd.unrolled(ROWS) {
            // SAFETY: x[i] has steps groups (caller).
            let value = unsafe { T::splat_group(simd, x[i].add(step * T::GROUP)) };
            for j in 0..COLUMNS {
                sums[i][j] = T::multiply(simd, value, columns[j], sums[i][j]);
            }
        }
    }
}

/// Computes `sums[i][j] += x[i][p * stride] * y[j][p]`, where `y[j][p]` is a vector, for `pixels` groups of
/// pixels. Prefetches the value at distance `ahead` from each.
///
/// # Safety
/// Each `x[i]` must be valid for reading a group at `0, stride, .. (pixels - 1) * stride`, each `y[j]` for
/// `pixels * 16` groups.
#[inline(always)]
pub(super) unsafe fn outer<S: Simd, T: Value, const ROWS: usize, const COLUMNS: usize>(
    simd: S,
    sums: &mut Sums<S, ROWS, COLUMNS>,
    x: [*const T; ROWS],
    stride: usize,
    y: [*const T; COLUMNS],
    pixels: usize,
    ahead: usize,
) {
    let mut at = 0;
    for p in 0..pixels {
        simd.prefetch(x[0].wrapping_add(at + ahead));
        let mut columns = [simd.zero(); COLUMNS];
        for j in 0..COLUMNS {
            // SAFETY: y[j] has `pixels` vectors of groups (caller).
            columns[j] = unsafe { T::load_groups(simd, y[j].add(p * 16 * T::GROUP)) };
        }
        for i in 0..simd.unrolled(ROWS) {
            // SAFETY: x[i] has a group for each of them (caller).
            let value = unsafe { T::splat_group(simd, x[i].add(at)) };
            for j in 0..COLUMNS {
                sums[i][j] = T::multiply(simd, value, columns[j], sums[i][j]);
            }
        }
        at += stride;
    }
}
