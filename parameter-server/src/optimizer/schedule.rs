//! The learning rate schedule, a function of samples: a linear ramp followed by the paper's staircase.
//!
//! The rate depends only on the rule and on the samples applied to one block, so every shard computes it on
//! its own, in any order of pushes and after any restore.

use protocol::UpdateRule;

/// Returns the learning rate of the update that raises the number of training images applied to a block (a
/// piece of a tensor) from `before` to `after`:
/// `learning_rate * stair_factor^floor(before / stair_samples) * min(1, after / ramp_samples)`.
pub fn rate(rule: &UpdateRule, before: u64, after: u64) -> f64 {
    let stair = before / rule.stair_samples.max(1);
    let ramp = if after < rule.ramp_samples { after as f64 / rule.ramp_samples as f64 } else { 1.0 };
    rule.learning_rate * rule.stair_factor.powf(stair as f64) * ramp
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rule;

    #[test]
    fn ramp_and_stairs_follow_the_table() {
        // 0.01, -4 % every 8000 samples, ramp over the first 500 of 10000 samples.
        let rule = UpdateRule { stair_samples: 8000, ramp_samples: 500, ..rule() };
        struct Case {
            before: u64,
            after: u64,
            expected: f64,
        }
        let cases = [
            Case { before: 0, after: 32, expected: 0.01 * 32.0 / 500.0 },
            Case { before: 32, after: 64, expected: 0.01 * 64.0 / 500.0 },
            Case { before: 468, after: 500, expected: 0.01 },
            Case { before: 7968, after: 8000, expected: 0.01 },
            Case { before: 7999, after: 8031, expected: 0.01 },
            Case { before: 8000, after: 8032, expected: 0.0096 },
            Case { before: 16000, after: 16032, expected: 0.01 * 0.96 * 0.96 },
            Case { before: 250_000, after: 250_032, expected: 0.01 * 0.96f64.powi(31) },
        ];
        for Case { before, after, expected } in cases {
            let found = rate(&rule, before, after);
            assert!(
                (found / expected - 1.0).abs() < 1e-12,
                "{before}..{after}: {found}, expected {expected}"
            );
        }
    }

    #[test]
    fn no_ramp_starts_at_the_full_rate() {
        let rule = UpdateRule { ramp_samples: 0, ..rule() };
        assert_eq!(rate(&rule, 0, 1), rule.learning_rate);
    }
}
