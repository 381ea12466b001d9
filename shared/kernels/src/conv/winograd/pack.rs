//! Transformed weights: `[panel][point][row block][16 rows][16 * columns]`, where rows and columns are the inputs and
//! outputs, or exchanged, as in the packing of the direct kernel. Channels that do not exist have zeros.

use super::super::pack::{Sides, panel_width, part};
use super::by_kernel;
use super::transform::{Line, POINTS, SIDE, Weights};
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::map::LANES;
use crate::pool::Pool;
use crate::simd::{Kernel, Simd, dispatch};

/// The most output blocks of a panel on any instruction set.
const WIDEST: usize = 3;

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
    let (columns, rows) = (&sides.columns[panel.clone()], sides.rows[row_block]);
    let mut taps = [[[[0.0; LANES]; R]; R]; LANES * WIDEST];
    for row in 0..rows.count {
        for (j, columns) in columns.iter().enumerate() {
            let taps = taps[row * panel.len() + j].as_flattened_mut();
            sides.row(rows.first + row, *columns, taps);
        }
    }
    let taps = &taps[..LANES * panel.len()];
    // A row of points at a time: more streams of stores would be in each other's way in the first-level cache.
    macro_rules! points {
        ($($y:literal)*) => {$({
            let to = [0, 1, 2, 3, 4, 5].map(|x| {
                let matrix = POINTS * panel.start * sides.rows.len();
                let block = (($y * SIDE + x) * sides.rows.len() + row_block) * panel.len();
                // SAFETY: each task has its own panel and row block.
                unsafe { packed.part((matrix + block) * LANES * LANES, taps.len() * LANES) }.as_mut_ptr()
            });
            for (index, taps) in taps.iter().enumerate() {
                let mut row = [simd.zero(); R];
                for (x, value) in row.iter_mut().enumerate() {
                    let mut column = [simd.zero(); R];
                    column.iter_mut().zip(taps).for_each(|(value, taps)| *value = simd.read(&taps[x]));
                    *value = Weights::apply(simd, column)[$y];
                }
                for (to, value) in to.iter().zip(Weights::apply(simd, row)) {
                    // SAFETY: the pointer has 16 floats for each of the vectors of taps (asserted).
                    unsafe { simd.store(to.add(index * LANES), value) };
                }
            }
        })*};
    }
    points!(0 1 2 3 4 5);
}
