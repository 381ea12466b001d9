//! Optimizers: the rules by which a push updates a block.
//!
//! Each optimizer has a file of its own. It names the arrays that it keeps for every block besides weights
//! and average, gives their initial values, and makes the update. Snapshots hold the arrays under those
//! names. The settings choose it by name (`optimisation.optimizer`). The [learning rate schedule](schedule)
//! and the [average](average) are the same for all.

mod adagrad;
pub(crate) mod average;
mod momentum;
pub(crate) mod schedule;

use std::{collections::BTreeMap, sync::Arc};

use kernels::Isa;
use protocol::{PushForm, UpdateRule};

pub(crate) use self::momentum::VELOCITY;
use self::{adagrad::Adagrad, momentum::Momentum};

/// Arrays that an optimizer keeps for a block beside weights and average, by their names, such as `velocity`;
/// each has one value for every weight of the block, in the same order.
pub(crate) type Arrays = BTreeMap<&'static str, Vec<f32>>;

/// Factors of one update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Factors {
    /// Learning rate of the update, with the tensor's multiplier and the effect of staleness included.
    pub(crate) rate: f32,
    /// Weight decay of the update, with the tensor's multiplier included.
    pub(crate) decay: f32,
    /// Fraction (0 to 1) by which the running average of the weights moves towards the new weights.
    pub(crate) average_step: f32,
    /// Number of further updates, by momentum alone, that the weights in the reply to the push anticipate; 0
    /// means the block as it is.
    pub(crate) look_ahead: u64,
}

/// The values of one block that an update changes, as flat arrays with one value for each weight.
#[derive(Debug)]
pub(crate) struct Values<'a> {
    /// Weights of the block.
    pub(crate) weights: &'a mut [f32],
    /// Running average of the weights.
    pub(crate) average: &'a mut [f32],
    /// Arrays that the optimizer keeps for the block.
    pub(crate) arrays: &'a mut Arrays,
}

/// A rule by which a push changes a block.
pub(crate) trait Optimizer: Send + Sync {
    /// Returns the names of the arrays that the optimizer keeps for a block.
    fn arrays(&self) -> &'static [&'static str];

    /// Whether the optimizer can update a block by a push of the form `form`.
    fn takes(&self, form: PushForm) -> bool;

    /// Returns the arrays of a block of `len` weights at the start of a run.
    fn initial(&self, len: usize) -> Arrays {
        self.arrays().iter().map(|&name| (name, vec![0.0; len])).collect()
    }

    /// Updates a block by a push of a form that it [takes](Self::takes) and overwrites the push with the
    /// reply: the weights to compute the next gradient from.
    ///
    /// Returns the largest magnitude that the block now holds, its average and the optimizer's arrays
    /// included: NaN if it holds one.
    fn update(&self, isa: Isa, form: PushForm, factors: Factors, push: &mut [f32], block: Values) -> f32;

    /// Returns the largest magnitude in a block's arrays, measured as [`update`](Self::update) measures them.
    fn largest(&self, isa: Isa, arrays: &Arrays) -> f32;
}

/// Returns the optimizer that an update rule names.
pub(crate) fn of(rule: &UpdateRule) -> Arc<dyn Optimizer> {
    match rule.optimizer {
        settings::Optimizer::Momentum => Arc::new(Momentum { momentum: rule.momentum }),
        settings::Optimizer::Adagrad => Arc::new(Adagrad),
    }
}

/// Returns an array that the optimizer keeps for every block.
///
/// # Panics
/// If the block has none of that name: it was made for another optimizer.
fn array<'a>(arrays: &'a mut Arrays, name: &str) -> &'a mut [f32] {
    arrays.get_mut(name).expect("a block has the arrays of its optimizer")
}
