//! Division of the rate by the root of 1 + staleness: the total rate of N workers grows by the root of N, as
//! that of a batch N times as large may. It is right for workers that keep their momentum themselves; a
//! shared velocity is stable only at a smaller rate.

use super::Policy;

/// The staleness policy `root`: the learning rate is divided by the square root of 1 + staleness.
pub(super) struct Root;

impl Policy for Root {
    fn rate(&self, rate: f64, staleness: u64) -> f64 {
        rate / (1.0 + staleness as f64).sqrt()
    }

    fn look_ahead(&self, staleness: u64) -> u64 {
        staleness
    }
}
