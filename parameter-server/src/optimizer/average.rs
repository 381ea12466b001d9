//! Polyak averaging: the model that a run yields is a running average of its iterates.
//!
//! Each update of a block is followed by `a += (1 - d)(w - a)`, where `d = min(average_decay, (1 + t) / (10 +
//! t))` and `t` is the number of earlier updates of that block. The average thus forgets the initial values
//! quickly and then settles to the long window that `average_decay` sets.

use protocol::UpdateRule;

/// Returns the fraction (0 to 1) by which the running average of a block (a piece of a tensor) moves towards
/// the block's new weights, at the update that follows `updates` earlier ones of the block.
pub fn step(rule: &UpdateRule, updates: u64) -> f64 {
    let t = updates as f64;
    1.0 - rule.average_decay.min((1.0 + t) / (10.0 + t))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rule;

    #[test]
    fn warms_up_then_stays_at_the_bound() {
        let rule = UpdateRule { average_decay: 0.999, ..rule() };
        for (updates, expected) in [(0, 0.9), (1, 9.0 / 11.0), (8, 0.5), (8989, 9.0 / 8999.0), (8990, 0.001)]
        {
            let found = step(&rule, updates);
            assert!((found - expected).abs() < 1e-12, "{updates}: {found}, expected {expected}");
        }
        assert!((step(&rule, 1_000_000) - 0.001).abs() < 1e-12);
    }
}
