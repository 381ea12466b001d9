//! The three products of a dense layer as plain triple loops: what the blocked paths are held against.

use super::Dense;

pub(super) fn forward(
    dense: &Dense,
    batch: usize,
    x: &[f32],
    w: &[f32],
    bias: &[f32],
    relu: bool,
    y: &mut [f32],
) {
    for row in 0..batch {
        for output in 0..dense.outputs {
            let mut sum = bias[output];
            for input in 0..dense.inputs {
                sum += x[row * dense.inputs + input] * w[output * dense.inputs + input];
            }
            y[row * dense.outputs + output] = if relu && sum <= 0.0 { 0.0 } else { sum };
        }
    }
}

pub(super) fn backward_input(dense: &Dense, batch: usize, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    for row in 0..batch {
        for input in 0..dense.inputs {
            dx[row * dense.inputs + input] = (0..dense.outputs)
                .map(|output| dy[row * dense.outputs + output] * w[output * dense.inputs + input])
                .sum();
        }
    }
}

pub(super) fn backward_weights(
    dense: &Dense,
    batch: usize,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    db: &mut [f32],
) {
    for output in 0..dense.outputs {
        for input in 0..dense.inputs {
            dw[output * dense.inputs + input] =
                (0..batch).map(|row| dy[row * dense.outputs + output] * x[row * dense.inputs + input]).sum();
        }
        db[output] = (0..batch).map(|row| dy[row * dense.outputs + output]).sum();
    }
}
