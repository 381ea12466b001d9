//! Weights in the order in which AMX tiles are loaded.
//!
//! The order is `[panel][pair of row blocks][y][x][column][16 pairs of rows][16 columns][2]`, where a panel
//! is up to two blocks of columns. A missing second block of the last pair is zero.

use crate::conv::pack::{MOST_TAPS, WeightMatrix};
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::map::LANES;
use crate::pool::{Pool, part};
use crate::simd::amx::{COLUMNS, DEPTH, TILE_VALUES};
use crate::simd::{Simd, Vectorised, dispatch_tiled};
use crate::value::Value;
use std::ops::Range;

/// Values of the packed weights for numbers of row and column blocks.
pub(super) fn packed_len([rows, columns]: [usize; 2], taps: usize) -> usize {
    rows.div_ceil(2) * columns * taps * TILE_VALUES
}

/// Packs canonical weights.
pub(super) fn pack<T: Value>(matrix: &WeightMatrix<'_>, isa: Isa, pool: &Pool, packed: &mut [T]) {
    let (pairs, columns, taps) =
        (matrix.rows.len().div_ceil(2), matrix.columns.len(), matrix.kernel * matrix.kernel);
    let panels = columns.div_ceil(COLUMNS);
    let packed = Disjoint::new(packed);
    pool.run(panels * pairs, |task| {
        let (panel, pair) = (part(task / pairs, panels, columns), task % pairs);
        let start = (panel.start * pairs + pair * panel.len()) * taps * TILE_VALUES;
        // SAFETY: each task has its own panel and pair.
        let target = unsafe { packed.part(start, panel.len() * taps * TILE_VALUES) };
        dispatch_tiled(isa, Task { matrix, panel, pair, target });
    });
}

/// A pair of row blocks times a panel.
struct Task<'a, T> {
    matrix: &'a WeightMatrix<'a>,
    panel: Range<usize>,
    pair: usize,
    target: &'a mut [T],
}

impl<T: Value> Vectorised<T> for Task<'_, T> {
    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let Task { matrix, panel, pair, target } = self;
        let taps = matrix.kernel * matrix.kernel;
        let mut kernels = [[[0.0; LANES]; MOST_TAPS]; 2];
        for (column, columns) in matrix.columns[panel.clone()].iter().enumerate() {
            for step in 0..DEPTH / 2 {
                let block = matrix.rows.get(2 * pair + 2 * step / LANES);
                for (half, kernel) in kernels.iter_mut().enumerate() {
                    let kernel = &mut kernel[..taps];
                    kernel.fill([0.0; LANES]);
                    if let Some(block) = block.filter(|block| 2 * step % LANES + half < block.count) {
                        matrix.row(block.first + 2 * step % LANES + half, *columns, kernel);
                    }
                }
                for tap in 0..taps {
                    let tile = &mut target[(tap * panel.len() + column) * TILE_VALUES..][..TILE_VALUES];
                    let [lower, upper] = [0, 1].map(|half: usize| simd.read(&kernels[half][tap]));
                    simd.write_pairs(&mut tile[step * 2 * LANES..], lower, upper);
                }
            }
        }
    }
}
