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

use crate::Pool;
use crate::context::Context;
use crate::disjoint::Disjoint;
use crate::gradients::ParameterGradients;
use crate::map::LANES;
use crate::simd::dispatch;
use backward::{InputGradient, OUTPUTS, SCRATCH, STRIP, WeightGradient};
use forward::Forward;
use matrix::SharedMatrix;
use std::ops::Range;

/// Outputs of one task of the forward pass.
const FORWARD_OUTPUTS: usize = 16;

/// The size of a fully connected layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dense {
    /// Number of input values for each image.
    pub inputs: usize,
    /// Number of output values for each image.
    pub outputs: usize,
}

/// The weights and biases of a fully connected layer.
#[derive(Clone, Copy, Debug)]
pub struct DenseParameters<'a> {
    /// Weights, `[outputs][inputs]`.
    pub weights: &'a [f32],
    /// Bias of each output.
    pub bias: &'a [f32],
}

impl Dense {
    /// Number of floats of scratch memory that suffice for [`Dense::backward_input`] and for
    /// [`Dense::backward_weights`]; the memory's contents do not matter.
    pub fn scratch_len(&self, pool: &Pool) -> usize {
        SCRATCH * pool.threads()
    }

    /// Computes `y = x w^T + bias`, followed by ReLU if `relu`, without scratch; `x` is `[batch][inputs]`,
    /// `y` is `[batch][outputs]`.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn forward(
        &self,
        context: Context,
        batch: usize,
        x: &[f32],
        parameters: DenseParameters,
        relu: bool,
        y: &mut [f32],
    ) {
        let (isa, DenseParameters { weights: w, bias }) = (context.isa, parameters);
        self.check("x", x.len(), batch * self.inputs);
        self.check("w", w.len(), self.outputs * self.inputs);
        self.check("bias", bias.len(), self.outputs);
        self.check("y", y.len(), batch * self.outputs);
        let y = SharedMatrix::new(y, self.outputs);
        in_tasks(context, self.outputs, FORWARD_OUTPUTS, 0, |outputs, _| {
            dispatch(isa, Forward { dense: *self, batch, outputs, x, w, bias, relu, y });
        });
    }

    /// Computes the input gradient `dx = dy w`; `dx` is `[batch][inputs]`, `dy` is `[batch][outputs]`, and
    /// `w` holds the weights, `[outputs][inputs]`.
    ///
    /// # Panics
    /// If a slice has the wrong length, or the scratch memory is too small.
    pub fn backward_input(&self, context: Context, batch: usize, dy: &[f32], w: &[f32], dx: &mut [f32]) {
        let (isa, threads) = (context.isa, context.pool.threads());
        self.check("dy", dy.len(), batch * self.outputs);
        self.check("w", w.len(), self.outputs * self.inputs);
        self.check("dx", dx.len(), batch * self.inputs);
        let dx = SharedMatrix::new(dx, self.inputs);
        let strip = self.inputs.div_ceil(threads).next_multiple_of(LANES).clamp(LANES, STRIP);
        in_tasks(context, self.inputs, strip, SCRATCH, |columns, scratch| {
            dispatch(isa, InputGradient { dense: *self, batch, columns, dy, w, dx, scratch });
        });
    }

    /// Computes the weight gradient `dw = dy^T x` and the bias gradient, the sum of `dy` over its rows; `x`
    /// is `[batch][inputs]`, `dy` is `[batch][outputs]`.
    ///
    /// # Panics
    /// If a slice has the wrong length, or the scratch memory is too small.
    pub fn backward_weights(
        &self,
        context: Context,
        batch: usize,
        x: &[f32],
        dy: &[f32],
        gradients: ParameterGradients,
    ) {
        let isa = context.isa;
        self.check("x", x.len(), batch * self.inputs);
        self.check("dy", dy.len(), batch * self.outputs);
        self.check("dw", gradients.weights.len(), self.outputs * self.inputs);
        self.check("db", gradients.bias.len(), self.outputs);
        let dw = SharedMatrix::new(gradients.weights, self.inputs);
        let biases = Disjoint::new(gradients.bias);
        in_tasks(context, self.outputs, OUTPUTS, SCRATCH, |outputs, scratch| {
            // SAFETY: tasks have different outputs.
            let db = unsafe { biases.part(outputs.start, outputs.len()) };
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

/// Cuts `0..len` into tasks of `each` elements with `scratch` floats of scratch; every element is computed in
/// the same way in any task.
fn in_tasks(
    context: Context,
    len: usize,
    each: usize,
    scratch: usize,
    run: impl Fn(Range<usize>, &mut [f32]) + Sync,
) {
    context.run(len.div_ceil(each), scratch, |task, scratch| {
        run(task * each..len.min((task + 1) * each), scratch);
    });
}
