//! Weights as the matrix unit multiplies them.
//!
//! `[panel][pair of row blocks][y][x][column][16 pairs of rows][16 columns][2]`, where a panel is up to two blocks of columns. The
//! last pair's second block has zeros if there is none.

use crate::conv::pack::{MOST_TAPS, Sides};
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::map::LANES;
use crate::pool::{Pool, part};
use crate::simd::matrix::{COLUMNS, DEPTH, TILE_VALUES};
use crate::simd::{Kernel, Simd, dispatch};
use crate::value::Value;
use std::ops::Range;

/// Values of the packed weights between so many blocks.
pub(in super::super) fn packed_len([rows, columns]: [usize; 2], taps: usize) -> usize {
    rows.div_ceil(2) * columns * taps * TILE_VALUES
}

/// Packs canonical weights.
pub(in super::super) fn pack<T: Value>(sides: &Sides<'_>, isa: Isa, pool: &Pool, packed: &mut [T]) {
    let (pairs, columns, taps) =
        (sides.rows.len().div_ceil(2), sides.columns.len(), sides.kernel * sides.kernel);
    let panels = columns.div_ceil(COLUMNS);
    let packed = Disjoint::new(packed);
    pool.run(panels * pairs, |task| {
        let (panel, pair) = (part(task / pairs, panels, columns), task % pairs);
        let start = (panel.start * pairs + pair * panel.len()) * taps * TILE_VALUES;
        // SAFETY: each task has its own panel and pair.
        let target = unsafe { packed.part(start, panel.len() * taps * TILE_VALUES) };
        dispatch(isa, Task { sides, panel, pair, target });
    });
}

/// A pair of blocks of rows times a panel.
struct Task<'a, T> {
    sides: &'a Sides<'a>,
    panel: Range<usize>,
    pair: usize,
    target: &'a mut [T],
}

impl<T: Value> Kernel for Task<'_, T> {
    const HALVES: bool = T::GROUP == 2;
    type Output = ();

    fn scalar(self) {
        unreachable!("the scalar convolution has no tiles")
    }

    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let Task { sides, panel, pair, target } = self;
        let taps = sides.kernel * sides.kernel;
        let mut kernels = [[[0.0; LANES]; MOST_TAPS]; 2];
        for (column, columns) in sides.columns[panel.clone()].iter().enumerate() {
            for step in 0..DEPTH / 2 {
                let block = sides.rows.get(2 * pair + 2 * step / LANES);
                for (half, kernel) in kernels.iter_mut().enumerate() {
                    let kernel = &mut kernel[..taps];
                    kernel.fill([0.0; LANES]);
                    if let Some(block) = block.filter(|block| 2 * step % LANES + half < block.count) {
                        sides.row(block.first + 2 * step % LANES + half, *columns, kernel);
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
