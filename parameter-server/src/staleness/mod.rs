//! Policies for staleness, the number of updates that a block received between the fetch that a push was
//! computed from and the push's own application.
//!
//! A single worker has no staleness. With several workers, shared momentum makes it harmful: with momentum
//! 0.9 and no policy, a staleness of 1 is enough for two workers to stay on the first plateau at a learning
//! rate that is right for one. Each policy has a file of its own and decides two things about a push: the
//! learning rate of its update, and the look-ahead of its reply. The settings choose it by name
//! (`optimisation.staleness`).
//!
//! The rate is the policy's to compute, rather than a factor on it: `rate / (1 + staleness)` and
//! `rate * (1 / (1 + staleness))` differ in their last bits.

mod divide;
mod none;
mod root;

use protocol::{PushForm, UpdateRule};
use settings::Staleness;

use self::{divide::Divide, none::Ignore, root::Root};

/// A staleness policy: the learning rate and the look-ahead of a stale push.
pub(crate) trait Policy: Sync {
    /// Returns the rate of an update whose push is `staleness` updates old; `rate` is that of the schedule.
    fn rate(&self, rate: f64, staleness: u64) -> f64;

    /// Returns the look-ahead of a push that is `staleness` updates old: the number of further updates, by
    /// momentum alone, that the weights in the reply anticipate.
    fn look_ahead(&self, staleness: u64) -> u64;
}

/// Returns the staleness policy that an update rule names for pushes of a form. If the rule names none, the
/// default depends on the form: a velocity that workers share needs a smaller rate than those that they keep
/// themselves.
pub(crate) fn policy(rule: &UpdateRule, form: PushForm) -> &'static dyn Policy {
    let by_form = match form {
        PushForm::Gradient => Staleness::Divide,
        PushForm::Step => Staleness::Root,
    };
    match rule.staleness.unwrap_or(by_form) {
        Staleness::Divide => &Divide,
        Staleness::Root => &Root,
        Staleness::None => &Ignore,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rule;

    #[test]
    fn a_rate_and_a_look_ahead_by_name_and_by_form() {
        use Staleness::{Divide, None};
        let rates = |staleness, form| {
            let rule = UpdateRule { staleness, ..rule() };
            let policy = policy(&rule, form);
            [0, 1, 3].map(|staleness| (policy.rate(0.6, staleness), policy.look_ahead(staleness)))
        };
        for form in [PushForm::Gradient, PushForm::Step] {
            assert_eq!(rates(Some(Divide), form), [(0.6, 0), (0.3, 1), (0.15, 3)]);
            assert_eq!(rates(Some(Staleness::Root), form), [(0.6, 0), (0.6 / 2f64.sqrt(), 1), (0.3, 3)]);
            assert_eq!(rates(Some(None), form), [(0.6, 0), (0.6, 0), (0.6, 0)]);
        }
        // The total rate of more than 9 workers is that of 9.
        for staleness in [8, 15, 63, u64::MAX] {
            let rate = Root.rate(0.6, staleness);
            assert!((rate * (1.0 + staleness as f64) / 1.8 - 1.0).abs() < 1e-9, "{staleness}: {rate}");
        }
        assert_eq!(rates(Option::None, PushForm::Gradient), rates(Some(Divide), PushForm::Gradient));
        assert_eq!(rates(Option::None, PushForm::Step), rates(Some(Staleness::Root), PushForm::Step));
    }
}
