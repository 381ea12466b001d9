//! Reference of the dense layer: single values of each matrix multiply, by plain sums.

use super::Dense;

/// One output from a row of `x` and a row of `w`.
pub(super) fn output(x: &[f32], w: &[f32], bias: f32, relu: bool) -> f32 {
    let sum = bias + x.iter().zip(w).map(|(x, w)| x * w).sum::<f32>();
    if relu && sum <= 0.0 { 0.0 } else { sum }
}

/// The gradient of one input of a row, from the row's `dy`.
pub(super) fn input_gradient(dense: &Dense, dy: &[f32], w: &[f32], input: usize) -> f32 {
    dy.iter().zip(w.chunks_exact(dense.inputs)).map(|(dy, w)| dy * w[input]).sum()
}

/// The gradient of one weight.
pub(super) fn weight_gradient(dense: &Dense, x: &[f32], dy: &[f32], output: usize, input: usize) -> f32 {
    let rows = x.chunks_exact(dense.inputs).zip(dy.chunks_exact(dense.outputs));
    rows.map(|(x, dy)| dy[output] * x[input]).sum()
}
