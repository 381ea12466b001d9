//! Values that several unit tests of this crate need.

use parameters::{Initialiser, Layout, Tensor};

/// Returns a layout of one tensor of `values` values, with multipliers of 1.
pub(crate) fn one_tensor(values: usize) -> Layout {
    let tensor = Tensor {
        name: "weights".into(),
        shape: vec![values],
        initialiser: Initialiser::Constant(0.0),
        rate_multiplier: 1.0,
        decay_multiplier: 1.0,
    };
    Layout::new(vec![tensor]).unwrap()
}
