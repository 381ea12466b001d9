//! Fully connected layers: three matrix products over row-major matrices.
//!
//! `x` is `[batch][inputs]`, `w` is `[outputs][inputs]`, `y` is `[batch][outputs]`; gradients have the
//! shape of what they belong to.

mod reference;

use crate::Isa;
use crate::Pool;

/// The size of a fully connected layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dense {
    /// Values of one row of `x`.
    pub inputs: usize,
    /// Values of one row of `y`.
    pub outputs: usize,
}

impl Dense {
    /// `y = x w^T + bias`, then ReLU if asked for.
    #[expect(clippy::too_many_arguments, reason = "a product has its operands; none belongs to another")]
    pub fn forward(
        &self,
        _isa: Isa,
        _pool: &Pool,
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
        reference::forward(self, batch, x, w, bias, relu, y);
    }

    /// `dx = dy w`.
    pub fn backward_input(
        &self,
        _isa: Isa,
        _pool: &Pool,
        batch: usize,
        dy: &[f32],
        w: &[f32],
        dx: &mut [f32],
    ) {
        self.check("dy", dy.len(), batch * self.outputs);
        self.check("w", w.len(), self.outputs * self.inputs);
        self.check("dx", dx.len(), batch * self.inputs);
        reference::backward_input(self, batch, dy, w, dx);
    }

    /// `dw = dy^T x` and `db` = the sum of `dy` over the rows.
    #[expect(clippy::too_many_arguments, reason = "a product has its operands; none belongs to another")]
    pub fn backward_weights(
        &self,
        _isa: Isa,
        _pool: &Pool,
        batch: usize,
        x: &[f32],
        dy: &[f32],
        dw: &mut [f32],
        db: &mut [f32],
    ) {
        self.check("x", x.len(), batch * self.inputs);
        self.check("dy", dy.len(), batch * self.outputs);
        self.check("dw", dw.len(), self.outputs * self.inputs);
        self.check("db", db.len(), self.outputs);
        reference::backward_weights(self, batch, x, dy, dw, db);
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
