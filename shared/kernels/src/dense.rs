//! Fully connected layers: three matrix multiplies of row-major matrices.
//!
//! `x` is `[batch][inputs]`, `w` is `[outputs][inputs]`, `y` is `[batch][outputs]`; each gradient has the
//! shape of its matrix.

mod backward;
mod forward;
mod matrix;
mod reference;
#[cfg(test)]
mod tests;

use crate::disjoint::Disjoint;
use crate::map::LANES;
use crate::simd::dispatch;
use crate::{Isa, Pool};
use backward::{InputGradient, OUTPUTS, SCRATCH, STRIP, WeightGradient};
use forward::Forward;
use matrix::SharedMatrix;
use std::ops::Range;

/// Outputs of one task of the forward pass.
const FORWARD_OUTPUTS: usize = 16;

/// The size of a fully connected layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dense {
    /// Values in one row of `x`.
    pub inputs: usize,
    /// Values in one row of `y`.
    pub outputs: usize,
}

impl Dense {
    /// Floats of scratch memory that the two gradients need; its contents do not matter.
    pub fn scratch_len(&self, pool: &Pool) -> usize {
        SCRATCH * pool.threads()
    }

    /// Computes `y = x w^T + bias`, followed by ReLU if `relu`.
    ///
    /// # Panics
    /// If a length does not fit.
    #[expect(clippy::too_many_arguments, reason = "a product has its operands; none belongs to another")]
    pub fn forward(
        &self,
        isa: Isa,
        pool: &Pool,
        batch: usize,
        x: &[f32],
        w: &[f32],
        bias: &[f32],
        relu: bool,
        y: &mut [f32],
    ) {
        self.check("x", x.len(), batch * self.inputs);
        self.check("w", w.len(), self.outputs * self.inputs);
        self.check("bias", bias.len(), self.outputs);
        self.check("y", y.len(), batch * self.outputs);
        let y = SharedMatrix::new(y, self.outputs);
        in_tasks(pool, self.outputs, FORWARD_OUTPUTS, |_, outputs| {
            dispatch(isa, Forward { dense: *self, batch, outputs, x, w, bias, relu, y });
        });
    }

    /// Computes the input gradient `dx = dy w`.
    ///
    /// # Panics
    /// If a length does not fit or the scratch memory is too small.
    #[expect(clippy::too_many_arguments, reason = "a product has its operands; none belongs to another")]
    pub fn backward_input(
        &self,
        isa: Isa,
        pool: &Pool,
        batch: usize,
        dy: &[f32],
        w: &[f32],
        dx: &mut [f32],
        scratch: &mut [f32],
    ) {
        self.check("dy", dy.len(), batch * self.outputs);
        self.check("w", w.len(), self.outputs * self.inputs);
        self.check("dx", dx.len(), batch * self.inputs);
        let dx = SharedMatrix::new(dx, self.inputs);
        let strip = self.inputs.div_ceil(pool.threads()).next_multiple_of(LANES).clamp(LANES, STRIP);
        let scratch = Disjoint::new(scratch);
        in_tasks(pool, self.inputs, strip, |thread, columns| {
            // SAFETY: `thread` is this thread's alone.
            let scratch = unsafe { scratch.part(thread * SCRATCH, SCRATCH) };
            dispatch(isa, InputGradient { dense: *self, batch, columns, dy, w, dx, scratch });
        });
    }

    /// Computes the weight gradient `dw = dy^T x` and the bias gradient `db`, the sum of `dy` over its rows.
    ///
    /// # Panics
    /// If a length does not fit or the scratch memory is too small.
    #[expect(clippy::too_many_arguments, reason = "a product has its operands; none belongs to another")]
    pub fn backward_weights(
        &self,
        isa: Isa,
        pool: &Pool,
        batch: usize,
        x: &[f32],
        dy: &[f32],
        dw: &mut [f32],
        db: &mut [f32],
        scratch: &mut [f32],
    ) {
        self.check("x", x.len(), batch * self.inputs);
        self.check("dy", dy.len(), batch * self.outputs);
        self.check("dw", dw.len(), self.outputs * self.inputs);
        self.check("db", db.len(), self.outputs);
        let (dw, biases) = (SharedMatrix::new(dw, self.inputs), Disjoint::new(db));
        let scratch = Disjoint::new(scratch);
        in_tasks(pool, self.outputs, OUTPUTS, |thread, outputs| {
            // SAFETY: tasks have different outputs.
            let db = unsafe { biases.part(outputs.start, outputs.len()) };
            // SAFETY: `thread` is this thread's alone.
            let scratch = unsafe { scratch.part(thread * SCRATCH, SCRATCH) };
            dispatch(isa, WeightGradient { dense: *self, batch, outputs, x, dy, dw, db, scratch });
        });
    }

    fn check(&self, operand: &str, found: usize, expected: usize) {
        assert!(
            found == expected,
            "dense layer {} -> {}: expected {operand} of {expected} values, found {found}",
            self.inputs,
            self.outputs
        );
    }
}

/// Cuts `0..len` into tasks of `each` elements; every element is computed in the same way in any task.
fn in_tasks(pool: &Pool, len: usize, each: usize, run: impl Fn(usize, Range<usize>) + Sync) {
    pool.run_on_threads(len.div_ceil(each), |thread, task| {
        run(thread, task * each..len.min((task + 1) * each));
    });
}
