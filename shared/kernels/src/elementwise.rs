//! Operations that treat every value alike: ReLU and its mask, sums, and the checks on gradients.

mod reference;

use crate::Isa;
use crate::Pool;
use crate::map::{Map, MapMut};

/// Replaces negative values by zero; NaN stays, so that divergence shows.
pub fn relu(_isa: Isa, _pool: &Pool, values: &mut [f32]) {
    reference::relu(values);
}

/// Zeroes the gradient wherever the ReLU's output is not positive.
pub fn relu_backward(_isa: Isa, _pool: &Pool, output: &[f32], gradient: &mut [f32]) {
    check_lengths("relu backward", output.len(), gradient.len());
    reference::relu_backward(output, gradient);
}

/// [`relu_backward`] for blocks of larger buffers; both maps have the same size and number of blocks.
pub fn relu_backward_map(_isa: Isa, _pool: &Pool, output: Map, gradient: MapMut) {
    let of = |shape: crate::map::Shape, count| (shape.batch, count, shape.height, shape.width);
    let (expected, found) = (of(output.shape, output.count), of(gradient.shape, gradient.count));
    assert!(
        expected == found,
        "relu backward: expected a gradient of (batch, blocks, height, width) {expected:?}, found {found:?}"
    );
    let mut gradient = gradient;
    for image in 0..output.shape.batch {
        for block in 0..output.count {
            reference::relu_backward(output.plane(image, block), gradient.plane(image, block));
        }
    }
}

/// `into += from`.
pub fn add(_isa: Isa, _pool: &Pool, from: &[f32], into: &mut [f32]) {
    check_lengths("addition", from.len(), into.len());
    reference::add(from, into);
}

/// Whether no value is NaN or infinite.
pub fn all_finite(_isa: Isa, values: &[f32]) -> bool {
    reference::all_finite(values)
}

/// Sum of the squares, in f64.
pub fn sum_of_squares(_isa: Isa, values: &[f32]) -> f64 {
    reference::sum_of_squares(values)
}

fn check_lengths(what: &str, expected: usize, found: usize) {
    assert!(expected == found, "{what}: expected slices of one length, found {expected} and {found}");
}
