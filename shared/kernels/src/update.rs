//! The parameter server's step in one pass over memory: weight decay, heavy-ball momentum in the form of
//! `torch.optim.SGD` (the rate stays outside the velocity), and the running average of the weights.

use crate::Isa;

/// The factors of one update of one block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// Learning rate, the tensor's multiplier included.
    pub rate: f32,
    /// Share of the velocity that stays.
    pub momentum: f32,
    /// Weight decay, the tensor's multiplier included.
    pub decay: f32,
    /// Share of the new weights in the average, `1 - d` of an exponential average.
    pub average_step: f32,
}

/// For each value, in this order: `g = gradient + decay * w`, `v = momentum * v + g`, `w -= rate * v`,
/// `a += average_step * (w - a)`.
pub fn momentum_update(
    _isa: Isa,
    update: &Update,
    gradient: &[f32],
    weights: &mut [f32],
    velocity: &mut [f32],
    average: &mut [f32],
) {
    let lengths = [weights.len(), velocity.len(), average.len()];
    assert!(
        lengths == [gradient.len(); 3],
        "update: expected weights, velocity and average of {} values, found {lengths:?}",
        gradient.len()
    );
    let state = weights.iter_mut().zip(velocity).zip(average);
    for (((w, v), a), g) in state.zip(gradient) {
        *v = update.momentum * *v + (g + update.decay * *w);
        *w -= update.rate * *v;
        *a += update.average_step * (*w - *a);
    }
}
