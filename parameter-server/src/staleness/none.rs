//! The policy that ignores staleness, as in DistBelief's Downpour SGD: every push has the whole rate, and its
//! reply is the block itself.

use super::Policy;

/// The staleness policy `none`: stale pushes are applied as if they were fresh.
pub(super) struct Ignore;

impl Policy for Ignore {
    fn rate(&self, rate: f64, _: u64) -> f64 {
        rate
    }

    fn look_ahead(&self, _: u64) -> u64 {
        0
    }
}
