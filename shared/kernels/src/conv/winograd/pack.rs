//! Transformed weights: `[panel][point][row block][16 rows][16 * columns]`, where rows and columns are the inputs and
//! outputs, or exchanged, as in the packing of the direct kernel. Channels that do not exist have zeros.

use super::super::pack::{Sides, panel_width, part};
use super::by_kernel;
use super::transform::{POINTS, SIDE, Weights, square};
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::map::LANES;
use crate::pool::Pool;
use crate::simd::{Kernel, Simd, dispatch};

/// Transforms and packs canonical weights.
pub(in super::super) fn pack(sides: &Sides<'_>, isa: Isa, pool: &Pool, packed: &mut [f32]) {
    let panels = sides.columns.len().div_ceil(panel_width(isa));
    let rows = sides.rows.len();
    let packed = Disjoint::new(packed);
    pool.run(panels * rows, |task| {
        let (panel, row_block) = (task / rows, task % rows);
        dispatch(isa, Task { sides, panel, panels, row_block, packed });
    });
}

/// One block of rows of a panel.
struct Task<'a> {
    sides: &'a Sides<'a>,
    panel: usize,
    panels: usize,
    row_block: usize,
    packed: Disjoint<'a, f32>,
}

impl Kernel for Task<'_> {
    type Output = ();

    fn scalar(self) {
        unreachable!("the scalar convolution takes weights as they are")
    }

    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        by_kernel!(self.sides.kernel, transform(simd, self));
    }
}

#[inline(always)]
fn transform<const M: usize, const R: usize>(simd: impl Simd, task: Task<'_>) {
    let Task { sides, panel, panels, row_block, packed } = task;
    let panel = part(panel, panels, sides.columns.len());
    let (rows, line) = (sides.rows.len(), panel.len() * LANES);
    let start = |point: usize| {
        (POINTS * panel.start * rows + (point * rows + row_block) * panel.len()) * LANES * LANES
    };
    if sides.rows[row_block].count < LANES {
        for point in 0..POINTS {
            // SAFETY: each task has its own panel and row block.
            unsafe { packed.part(start(point), LANES * line) }.fill(0.0);
        }
    }
    for (j, columns) in sides.columns[panel.clone()].iter().enumerate() {
        for row in 0..sides.rows[row_block].count {
            let mut taps = [[[0.0; LANES]; R]; R];
            for (tap, lanes) in taps.iter_mut().flatten().enumerate() {
                *lanes = sides.lanes(sides.rows[row_block].first + row, *columns, tap);
            }
            square::<_, Weights, R, SIDE>(
                simd,
                |y, x| simd.read(&taps[y][x]),
                |y, x, value| {
                    let start = start(y * SIDE + x) + row * line + j * LANES;
                    // SAFETY: each task has its own panel and row block.
                    simd.write(unsafe { packed.part(start, LANES) }, value);
                },
            );
        }
    }
}
