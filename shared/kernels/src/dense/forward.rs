//! The forward pass of a dense layer: tiles of dot products along contiguous rows of both operands.

use super::matrix::SharedMatrix;
use super::{Dense, reference};
use crate::map::LANES;
use crate::simd::{Kernel, Simd, Vectorised};
use std::ops::Range;

/// Rows of `x` in a register tile, and of `w`. With AVX2 their 3 x 2 sums take 12 of 16 registers; in each
/// step 5 loads feed 6 multiply-adds. Three rows of `x` stay in the first-level cache for all outputs of a
/// task, whose rows of `w` stay in the second-level cache.
const ROWS: usize = 3;
const OUTPUTS: usize = 2;

/// A task: some outputs of all rows. Only this task writes these columns of `y`.
pub(super) struct Forward<'a> {
    pub(super) dense: Dense,
    pub(super) batch: usize,
    pub(super) outputs: Range<usize>,
    pub(super) x: &'a [f32],
    pub(super) w: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) relu: bool,
    pub(super) y: SharedMatrix<'a>,
}

impl Vectorised for Forward<'_> {
    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        for row in (0..self.batch).step_by(ROWS) {
            for output in self.outputs.clone().step_by(OUTPUTS) {
                match (self.batch - row, self.outputs.end - output) {
                    (1, 1) => self.tile::<S, 1, 1>(simd, row, output),
                    (2, 1) => self.tile::<S, 2, 1>(simd, row, output),
                    (_, 1) => self.tile::<S, ROWS, 1>(simd, row, output),
                    (1, _) => self.tile::<S, 1, OUTPUTS>(simd, row, output),
                    (2, _) => self.tile::<S, 2, OUTPUTS>(simd, row, output),
                    (_, _) => self.tile::<S, ROWS, OUTPUTS>(simd, row, output),
                }
            }
        }
    }
}

impl Kernel for Forward<'_> {
    fn scalar(self) {
        for row in 0..self.batch {
            for output in self.outputs.clone() {
                // SAFETY: the column is this task's.
                let y = unsafe { self.y.row(row, output..output + 1) };
                y[0] = reference::output(self.x_row(row), self.w_row(output), self.bias[output], self.relu);
            }
        }
    }
}

impl<'a> Forward<'a> {
    #[inline(always)]
    fn x_row(&self, row: usize) -> &'a [f32] {
        &self.x[row * self.dense.inputs..][..self.dense.inputs]
    }

    #[inline(always)]
    fn w_row(&self, output: usize) -> &'a [f32] {
        &self.w[output * self.dense.inputs..][..self.dense.inputs]
    }

    /// Computes `R` rows times `O` outputs from `row` and `output` on.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const O: usize>(&self, simd: S, row: usize, output: usize) {
        let (mut x, mut w): ([&[f32]; R], [&[f32]; O]) = ([&[]; R], [&[]; O]);
        for (r, x) in x.iter_mut().enumerate() {
            *x = self.x_row(row + r);
        }
        for (o, w) in w.iter_mut().enumerate() {
            *w = self.w_row(output + o);
        }
        let mut sums = [[simd.zero(); O]; R];
        let whole = self.dense.inputs / LANES * LANES;
        for i in (0..whole).step_by(LANES) {
            let mut weights = [simd.zero(); O];
            for o in 0..O {
                // SAFETY: every row has `inputs` values, and `i + 16` is not above `inputs`.
                weights[o] = unsafe { simd.load(w[o].as_ptr().add(i)) };
            }
            for r in 0..R {
                // SAFETY: as above.
                let values = unsafe { simd.load(x[r].as_ptr().add(i)) };
                for o in 0..O {
                    sums[r][o] = simd.mul_add(values, weights[o], sums[r][o]);
                }
            }
        }
        for r in 0..R {
            // SAFETY: the columns are this task's.
            let y = unsafe { self.y.row(row + r, output..output + O) };
            for o in 0..O {
                let rest: f32 = x[r][whole..].iter().zip(&w[o][whole..]).map(|(x, w)| x * w).sum();
                let sum = simd.sum(sums[r][o]) + rest + self.bias[output + o];
                y[o] = if self.relu && sum <= 0.0 { 0.0 } else { sum };
            }
        }
    }
}
