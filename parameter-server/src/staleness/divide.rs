//! Division of the rate by 1 + staleness (Zhang et al., "Staleness-aware Async-SGD for Distributed Deep
//! Learning", 2016). N workers then move the parameters as one worker does with a batch N times as large.
//!
//! The reply to a push is not the block itself but the block moved ahead by its momentum: to where momentum
//! alone takes it before the worker's next gradient arrives, if the staleness stays the same (Hakimi et al.,
//! "Taming Momentum in a Distributed Asynchronous Environment", 2019, who keep a velocity for each worker;
//! here all workers share the block's velocity).

use super::Policy;

/// The staleness policy `divide`: the learning rate is divided by 1 + staleness.
pub(super) struct Divide;

impl Policy for Divide {
    fn rate(&self, rate: f64, staleness: u64) -> f64 {
        rate / (1.0 + staleness as f64)
    }

    fn look_ahead(&self, staleness: u64) -> u64 {
        staleness
    }
}
