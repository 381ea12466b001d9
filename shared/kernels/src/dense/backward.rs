//! The two gradients of a dense layer, both as a matrix multiply with a packed right operand: `dx = dy w` and
//! `dw = dy^T x`.

use super::matrix::{Panel, SharedMatrix};
use super::{Dense, reference};
use crate::map::LANES;
use crate::simd::{Kernel, Simd, Vectorised};
use std::ops::Range;

/// Columns of the weights that are packed at a time: as much of every row as the hardware prefetches.
pub(super) const STRIP: usize = 512;
/// Rows that are packed at a time.
const DEPTH: usize = 64;
/// Values of a packed panel: 128 KB, which stay in the second-level cache.
const PANEL: usize = STRIP * DEPTH;
/// Outputs in one task of the weight gradient: enough to pay for packing `x`.
pub(super) const OUTPUTS: usize = 64;
/// The most rows for which weights are read in place: packing them would take longer than the multiply.
const FEW: usize = 2;
/// Floats of scratch of each thread.
pub(super) const SCRATCH: usize = PANEL + OUTPUTS * DEPTH;
/// Rows of a register tile of one vector: with AVX2 it takes 12 sums, 2 loaded values and 1 broadcast value
/// in 16 registers.
const ROWS: usize = 6;

/// A matrix multiply `c = a b` or `c += a b` for one strip of columns.
struct Product<'a> {
    /// Left operand: rows of `stride` values, of which the columns `depth` are multiplied.
    a: &'a [f32],
    stride: usize,
    depth: Range<usize>,
    rows: usize,
    b: &'a Panel<'a>,
    /// Result: rows from `first_row` on, columns `columns`. Only this task writes them.
    c: SharedMatrix<'a>,
    first_row: usize,
    columns: Range<usize>,
    accumulate: bool,
    /// Whether the result is written once and exceeds the caches, so that it is streamed past them.
    once: bool,
}

impl Product<'_> {
    /// Runs a few rows at a time from their first column to their last, so that the result is written in
    /// order.
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S) {
        for row in (0..self.rows).step_by(ROWS) {
            for vector in 0..self.columns.len().div_ceil(LANES) {
                match self.rows - row {
                    1 => self.tile::<S, 1>(simd, vector, row),
                    2 => self.tile::<S, 2>(simd, vector, row),
                    3 => self.tile::<S, 3>(simd, vector, row),
                    4 => self.tile::<S, 4>(simd, vector, row),
                    5 => self.tile::<S, 5>(simd, vector, row),
                    _ => self.tile::<S, ROWS>(simd, vector, row),
                }
            }
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize>(&self, simd: S, vector: usize, row: usize) {
        let depth = self.depth.len();
        let mut a: [&[f32]; R] = [&[]; R];
        for (r, a) in a.iter_mut().enumerate() {
            *a = &self.a[(row + r) * self.stride..][self.depth.clone()];
        }
        let mut sums = [simd.zero(); R];
        for (k, values) in self.b.vector(vector).chunks_exact(LANES).take(depth).enumerate() {
            let values = simd.read(values);
            for r in 0..R {
                // SAFETY: `k` is below `depth`, the length of each of these rows.
                let factor = unsafe { *a[r].get_unchecked(k) };
                sums[r] = simd.mul_add(simd.splat(factor), values, sums[r]);
            }
        }
        let start = self.columns.start + vector * LANES;
        let columns = start..self.columns.end.min(start + LANES);
        for (r, sum) in sums.into_iter().enumerate() {
            // SAFETY: the columns are this task's.
            let c = unsafe { self.c.row(self.first_row + row + r, columns.clone()) };
            if c.len() == LANES && self.accumulate {
                simd.write(c, simd.add(simd.read(c), sum));
            } else if c.len() == LANES && self.once {
                simd.stream(c, sum);
            } else if c.len() == LANES {
                simd.write(c, sum);
            } else {
                let mut lanes = [0.0; LANES];
                simd.write(&mut lanes, sum);
                for (c, sum) in c.iter_mut().zip(lanes) {
                    *c = if self.accumulate { *c + sum } else { sum };
                }
            }
        }
    }
}

/// Columns of a panel of `depth` rows: whole vectors, since the panel rounds up to them.
fn strip(depth: usize) -> usize {
    PANEL / depth.max(1) / LANES * LANES
}

/// Cuts `0..len` into ranges of [`DEPTH`], at least one, so that an empty sum is zero.
fn depth_blocks(len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len.max(1)).step_by(DEPTH).map(move |start| start..len.min(start + DEPTH))
}

/// The gradient of some columns of `x`. Only this task writes them.
pub(super) struct InputGradient<'a> {
    pub(super) dense: Dense,
    pub(super) batch: usize,
    pub(super) columns: Range<usize>,
    pub(super) dy: &'a [f32],
    pub(super) w: &'a [f32],
    pub(super) dx: SharedMatrix<'a>,
    /// Memory of [`SCRATCH`] values.
    pub(super) scratch: &'a mut [f32],
}

impl Vectorised for InputGradient<'_> {
    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let Dense { inputs, outputs } = self.dense;
        if self.batch <= FEW {
            return self.unpacked(simd);
        }
        let mut panel = Panel::new(self.scratch);
        for depth in depth_blocks(outputs) {
            panel.pack(self.w, inputs, depth.clone(), self.columns.clone());
            let product = Product {
                a: self.dy,
                stride: outputs,
                accumulate: depth.start > 0,
                depth,
                rows: self.batch,
                b: &panel,
                c: self.dx,
                first_row: 0,
                columns: self.columns.clone(),
                once: false,
            };
            product.run(simd);
        }
    }
}

impl Kernel for InputGradient<'_> {
    fn scalar(self) {
        let Dense { outputs, .. } = self.dense;
        for row in 0..self.batch {
            let dy = &self.dy[row * outputs..][..outputs];
            // SAFETY: the columns are this task's.
            let dx = unsafe { self.dx.row(row, self.columns.clone()) };
            for (dx, input) in dx.iter_mut().zip(self.columns.clone()) {
                *dx = reference::input_gradient(&self.dense, dy, self.w, input);
            }
        }
    }
}

impl InputGradient<'_> {
    /// Adds one row of weights after the other, without packing.
    #[inline(always)]
    fn unpacked<S: Simd>(self, simd: S) {
        let Dense { inputs, outputs } = self.dense;
        for row in 0..self.batch {
            // SAFETY: the columns are this task's.
            let dx = unsafe { self.dx.row(row, self.columns.clone()) };
            dx.fill(0.0);
            let (vectors, rest) = dx.as_chunks_mut::<LANES>();
            for (output, dy) in self.dy[row * outputs..][..outputs].iter().enumerate() {
                let (w, w_rest) = self.w[output * inputs..][self.columns.clone()].as_chunks::<LANES>();
                let factor = simd.splat(*dy);
                for (dx, w) in vectors.iter_mut().zip(w) {
                    let sum = simd.mul_add(factor, simd.read(w), simd.read(dx));
                    simd.write(dx, sum);
                }
                rest.iter_mut().zip(w_rest).for_each(|(dx, w)| *dx += dy * w);
            }
        }
    }
}

/// The gradients of the weights and biases of some outputs. Only this task writes them.
pub(super) struct WeightGradient<'a> {
    pub(super) dense: Dense,
    pub(super) batch: usize,
    pub(super) outputs: Range<usize>,
    pub(super) x: &'a [f32],
    pub(super) dy: &'a [f32],
    pub(super) dw: SharedMatrix<'a>,
    pub(super) db: &'a mut [f32],
    /// Memory of [`SCRATCH`] values.
    pub(super) scratch: &'a mut [f32],
}

impl Vectorised for WeightGradient<'_> {
    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let Dense { inputs, outputs } = self.dense;
        let (panel, transposed) = self.scratch.split_at_mut(PANEL);
        let mut panel = Panel::new(panel);
        self.db.fill(0.0);
        for depth in depth_blocks(self.batch) {
            // The rows are transposed, so that the factors of a tile lie side by side.
            let dy = &mut transposed[..self.outputs.len() * depth.len()];
            for (k, row) in depth.clone().enumerate() {
                let from = &self.dy[row * outputs..][self.outputs.clone()];
                for (o, (from, db)) in from.iter().zip(&mut *self.db).enumerate() {
                    dy[o * depth.len() + k] = *from;
                    *db += from;
                }
            }
            let strip = strip(depth.len());
            for start in (0..inputs).step_by(strip) {
                let columns = start..inputs.min(start + strip);
                panel.pack(self.x, inputs, depth.clone(), columns.clone());
                let product = Product {
                    a: dy,
                    stride: depth.len(),
                    depth: 0..depth.len(),
                    rows: self.outputs.len(),
                    b: &panel,
                    c: self.dw,
                    first_row: self.outputs.start,
                    columns,
                    accumulate: depth.start > 0,
                    once: self.batch <= DEPTH,
                };
                product.run(simd);
            }
        }
        simd.fence();
    }
}

impl Kernel for WeightGradient<'_> {
    fn scalar(self) {
        let Dense { inputs, outputs } = self.dense;
        for (db, output) in self.db.iter_mut().zip(self.outputs) {
            // SAFETY: the row is this task's.
            let dw = unsafe { self.dw.row(output, 0..inputs) };
            for (input, dw) in dw.iter_mut().enumerate() {
                *dw = reference::weight_gradient(&self.dense, self.x, self.dy, output, input);
            }
            *db = (0..self.batch).map(|row| self.dy[row * outputs + output]).sum();
        }
    }
}
