//! Adagrad, the optimizer of DistBelief's shards: `g += decay * w`, `s += g^2`, `w -= rate * g / sqrt(floor +
//! s)`.
//!
//! Every weight has a rate of its own, which falls as its squared gradients add up (Duchi, Hazan and Singer,
//! "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", 2011; Dean et al., "Large
//! Scale Distributed Deep Networks", 2012, section 4.1, where nothing is added under the root). It has no
//! momentum: a reply is the block itself, and workers keep no momentum.

use kernels::{AdagradState, AdagradUpdate, Isa, adagrad_update};
use protocol::PushForm;

use super::{Arrays, Factors, Optimizer, Values, array};

/// Name of the array of summed squares.
const SQUARES: &str = "squares";
/// Constant under the root, so that a weight without a gradient so far is divided by something.
const FLOOR: f32 = 0.1;

/// The optimizer Adagrad.
pub(super) struct Adagrad;

impl Optimizer for Adagrad {
    fn arrays(&self) -> &'static [&'static str] {
        &[SQUARES]
    }

    fn takes(&self, form: PushForm) -> bool {
        form == PushForm::Gradient
    }

    fn update(&self, isa: Isa, _: PushForm, factors: Factors, push: &mut [f32], block: Values) -> f32 {
        let Factors { rate, decay, average_step, .. } = factors;
        let Values { weights, average, arrays } = block;
        let state = AdagradState { weights, squares: array(arrays, SQUARES), average };
        adagrad_update(isa, &AdagradUpdate { rate, decay, floor: FLOOR }, average_step, push, state)
    }

    /// Returns the largest root: squares may be as large as the square of what a block may hold.
    fn largest(&self, _: Isa, arrays: &Arrays) -> f32 {
        let roots = arrays[SQUARES].iter().map(|square| (FLOOR + square).sqrt().abs());
        // The total order puts NaN above all numbers.
        roots.max_by(f32::total_cmp).unwrap_or_default()
    }
}
