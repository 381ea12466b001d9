//! Momentum: the update of `torch.optim.SGD`, `v = momentum * v + (g + decay * w)`, then `w -= rate * v`
//! (Caffe keeps the rate inside the velocity).
//!
//! A worker that keeps a momentum of its own pushes steps in place of gradients. The shard then only applies
//! them, `w -= rate * step`, and its velocity does not change.

use kernels::{Isa, State, Update, largest_magnitude, momentum_update_ahead, step_update};
use protocol::PushForm;

use super::{Arrays, Factors, Optimizer, Values, array};

/// Name of the array, in memory and in a shard's file, that holds the velocity of every weight of a block.
pub(crate) const VELOCITY: &str = "velocity";

/// The optimizer with heavy-ball momentum, which updates as `torch.optim.SGD` does.
pub(super) struct Momentum {
    /// Momentum coefficient: the fraction (0 to below 1) of the velocity that an update keeps.
    pub(super) momentum: f64,
}

impl Optimizer for Momentum {
    fn arrays(&self) -> &'static [&'static str] {
        &[VELOCITY]
    }

    fn takes(&self, _: PushForm) -> bool {
        true
    }

    fn update(&self, isa: Isa, form: PushForm, factors: Factors, push: &mut [f32], block: Values) -> f32 {
        let Factors { rate, decay, average_step, look_ahead } = factors;
        let Values { weights, average, arrays } = block;
        match form {
            PushForm::Gradient => {
                let update = Update { rate, momentum: self.momentum as f32, decay };
                let ahead = rate * distance(self.momentum, look_ahead);
                let state = State { weights, velocity: array(arrays, VELOCITY), average };
                momentum_update_ahead(isa, &update, average_step, ahead, push, state)
            }
            PushForm::Step => step_update(isa, rate, average_step, push, weights, average),
        }
    }

    fn largest(&self, isa: Isa, arrays: &Arrays) -> f32 {
        largest_magnitude(isa, &arrays[VELOCITY])
    }
}

/// Returns how far momentum alone moves the weights in `updates` updates, as a multiple of rate times
/// velocity: `m + m^2 + ... + m^updates`.
fn distance(momentum: f64, updates: u64) -> f32 {
    let rest = momentum.powf(updates as f64);
    (momentum * (1.0 - rest) / (1.0 - momentum)) as f32
}
