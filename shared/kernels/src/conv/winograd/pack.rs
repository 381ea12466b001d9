//! Transformed weights: `[panel][point][row block][16 rows][16 * columns]`, where rows and columns are inputs
//! and outputs, or exchanged, as in the packing of direct convolution. For bf16 two rows are interleaved for
//! each column. Channels that do not exist have zeros.

use super::super::pack::{WeightMatrix, panel_width};
use super::transform::{Line, MOST, Weights};
use super::{Scheme, by_scheme};
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::map::LANES;
use crate::pool::{Pool, part};
use crate::simd::{Simd, Vectorised, dispatch_tiled};
use crate::value::Value;

/// The most output blocks of a panel on any instruction set.
const WIDEST: usize = 3;

/// Transforms and packs canonical weights.
pub(super) fn pack<T: Value>(
    matrix: &WeightMatrix<'_>,
    scheme: Scheme,
    isa: Isa,
    pool: &Pool,
    packed: &mut [T],
) {
    let panels = matrix.columns.len().div_ceil(panel_width(isa));
    let rows = matrix.rows.len();
    let packed = Disjoint::new(packed);
    pool.run(panels * rows, |task| {
        let (panel, row_block) = (task / rows, task % rows);
        dispatch_tiled(isa, Task { matrix, scheme, panel, panels, row_block, packed });
    });
}

/// One block of rows of a panel.
struct Task<'a, T> {
    matrix: &'a WeightMatrix<'a>,
    scheme: Scheme,
    panel: usize,
    panels: usize,
    row_block: usize,
    packed: Disjoint<'a, T>,
}

impl<T: Value> Vectorised<T> for Task<'_, T> {
    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        by_scheme!(self.scheme, transform(simd, self));
    }
}

#[inline(always)]
fn transform<S: Simd, T: Value, const N: usize, const R: usize>(simd: S, task: Task<'_, T>) {
    let Task { matrix, panel, panels, row_block, packed, .. } = task;
    let panel = part(panel, panels, matrix.columns.len());
    let (columns, rows) = (&matrix.columns[panel.clone()], matrix.rows[row_block]);
    let mut taps = [[[[0.0; LANES]; R]; R]; LANES * WIDEST];
    for row in 0..rows.count {
        for (j, columns) in columns.iter().enumerate() {
            let taps = taps[row * panel.len() + j].as_flattened_mut();
            matrix.row(rows.first + row, *columns, taps);
        }
    }
    let taps = &taps[..LANES * panel.len()];
    // One row of points is written at a time: more streams of stores would evict each other from the
    // first-level cache.
    macro_rules! points {
        ($($y:literal)*) => {$(if const { $y < N } {
            let mut to: [_; N] = std::array::from_fn(|x| {
                let start = N * N * panel.start * matrix.rows.len();
                let block = (($y * N + x) * matrix.rows.len() + row_block) * panel.len();
                // SAFETY: each task has its own panel and row block.
                unsafe { packed.part((start + block) * LANES * LANES, taps.len() * LANES) }
            });
            for (row, taps) in taps.chunks_exact(panel.len()).enumerate() {
                for (j, taps) in taps.iter().enumerate() {
                    let group = (row / T::GROUP * panel.len() + j) * T::GROUP * LANES;
                    for (to, value) in to.iter_mut().zip(row_of_points::<S, N, R>(simd, taps, $y)) {
                        let to = &mut to[group..][..T::GROUP * LANES];
                        if let Some(to) = T::as_floats_mut(to) {
                            simd.stream(to, value);
                            continue;
                        }
                        simd.write(&mut to[row % T::GROUP * LANES..], value);
                        if row % T::GROUP + 1 == T::GROUP {
                            let to = to.as_mut_ptr();
                            // SAFETY: it has a group of vectors.
                            unsafe { T::group(simd, to, to) };
                        }
                    }
                }
            }
        })*};
    }
    points!(0 1 2 3 4 5 6 7);
    simd.fence();
}

/// Computes row `y` of the points of 16 kernels.
#[inline(always)]
fn row_of_points<S: Simd, const N: usize, const R: usize>(
    simd: S,
    taps: &[[[f32; LANES]; R]; R],
    y: usize,
) -> [S::Vector; MOST] {
    let mut row = [simd.zero(); MOST];
    for x in 0..R {
        let mut column = [simd.zero(); MOST];
        for (value, taps) in column.iter_mut().zip(taps) {
            *value = simd.read(&taps[x]);
        }
        row[x] = Weights::<N, R>::apply(simd, column)[y];
    }
    Weights::<N, R>::apply(simd, row)
}
