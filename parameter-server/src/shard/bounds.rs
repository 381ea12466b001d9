//! Bounds on what a shard applies to its blocks, so that no block ever holds a value that is not finite.
//!
//! An update is made in place. If it overflows, the old values are lost, and a ReLU may hide the resulting
//! NaN from every loss. Everything that enters an update is therefore bounded before the update is made. With
//! gradients and block values of at most 10^18, a rate of at most 10^9, and momentum and decay of at most 1,
//! no intermediate result comes near 3.4 * 10^38, the largest f32. With momentum:
//!
//! - `v = momentum * v + (g + decay * w)` is at most 3 * 10^18,
//! - `w -= rate * v` at most 10^18 + 10^9 * 3 * 10^18, less than 4 * 10^27,
//! - the average moves from at most 10^18 towards that `w` and never beyond it: it is at most 4 * 10^27, and
//!   the difference of the two is at most 5 * 10^27,
//! - the values sent back, `w - rate * (m + m^2 + ... + m^s) / (1 + s) * v`, differ from `w` by less than
//!   another `rate * v`.
//!
//! With Adagrad, the roots `sqrt(floor + s)` are bounded:
//!
//! - `g + decay * w` is at most 2 * 10^18, its square 4 * 10^36, and `s`, at most 10^36 before, stays finite,
//! - a root is at least as large as the gradient in it, so that a weight moves by at most the rate.
//!
//! A block whose values an update took beyond 10^18 is still finite, but accepts no further gradient: the run
//! has diverged, and the refusals say so. Networks that learn have values and gradients between 10^-10 and
//! 10^4.
//!
//! Two more bounds catch gradients that do harm long before anything overflows. Both compare the largest
//! magnitude in a gradient, which is known without a further pass, with the usual one of the block: the
//! running mean of those of the gradients before it, whoever pushed them. A gradient a million times as
//! large, such as that of a worker with faulty memory, is refused. One that is over 100 times as large is
//! scaled down to that, so that no single push moves the block much further than usual. It is not refused,
//! since gradients may grow: those of a block behind units that were inactive become what is usual within
//! some hundred pushes. In the mean no gradient counts for more than twice the usual, so that workers that
//! push less than half of the gradients cannot raise it beyond measure. Neither bound holds for the first
//! hundred gradients of a block, and the mean is in no file: it begins anew when a shard is restored.

use kernels::{Isa, largest_magnitude};
use parameters::{Layout, Tensor};
use protocol::{LARGEST_GRADIENT, UpdateRule};

use super::BlockState;
use crate::optimizer::Optimizer;

/// Largest magnitude that the weights, the average and the optimizer's arrays of a block may have for it to
/// accept a gradient.
const LARGEST_VALUE: f32 = 1e18;
/// Largest learning rate of a tensor, its multiplier included. Configurations allow a rate of 10 and
/// multipliers of 1000.
const LARGEST_RATE: f64 = 1e9;
/// Largest ratio of a gradient's largest magnitude to the usual one.
const LARGEST_RATIO: f64 = 1e6;
/// Ratio of a gradient's largest magnitude to the usual one from which on the gradient is scaled down.
const LIMITED_RATIO: f64 = 100.0;
/// Least magnitude to which a gradient is scaled down. The usual one may be close to zero for a long time,
/// and no gradient of this size is out of the ordinary.
const LEAST_LIMIT: f64 = 1.0;
/// Most that a gradient counts for in the usual size, in multiples of it.
const MOST_WEIGHT: f64 = 2.0;
/// Number of gradients over which the usual size is averaged. No gradient is compared with it before that
/// many have been applied.
const USUAL: u64 = 100;
/// Smallest magnitude that counts as usual. The gradients of a block behind inactive units, or of a network
/// that has memorised its images, may be close to zero for a long time, and the first large one after that is
/// not a fault.
const LEAST_USUAL: f64 = 1.0;

/// Sizes of one block's values and of its recent gradients.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    /// Largest magnitude in the block's weights, average and optimizer's arrays.
    largest: f32,
    /// Running mean of the largest magnitudes of the block's newest gradients.
    usual: f64,
    /// Gradients applied since the shard was opened.
    applied: u64,
}

impl Bounds {
    /// Measures the largest magnitude among the weights, average and optimizer's arrays of a block to which
    /// this process has not applied a gradient yet.
    pub(crate) fn of(isa: Isa, optimizer: &dyn Optimizer, state: &BlockState) -> Bounds {
        let BlockState { parameters, average, arrays, .. } = state;
        let [parameters, average] = [&**parameters, average].map(|values| largest_magnitude(isa, values));
        let each = [parameters, average, optimizer.largest(isa, arrays)];
        // The total order puts NaN above all numbers.
        let largest = each.into_iter().max_by(f32::total_cmp).expect("there are three");
        Bounds { largest, usual: 0.0, applied: 0 }
    }

    /// Checks that the block's own values are small enough for an update; the error gives the largest
    /// magnitude.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.largest <= LARGEST_VALUE {
            return Ok(());
        }
        Err(format!("holds {:e}, expected values of at most {LARGEST_VALUE:e}", self.largest))
    }

    /// Checks that `gradient` may be applied and returns its largest magnitude; the error says what is wrong
    /// with it.
    pub(crate) fn check_gradient(&self, isa: Isa, gradient: &[f32]) -> Result<f32, String> {
        let fits = |value: f32| value.abs() <= LARGEST_GRADIENT;
        let found = largest_magnitude(isa, gradient);
        if !fits(found) {
            let place = gradient.iter().position(|&value| !fits(value)).unwrap_or_default();
            return Err(format!(
                "has {:e} at position {place}, expected finite numbers of at most {LARGEST_GRADIENT:e}",
                gradient[place]
            ));
        }
        let usual = self.usual.max(LEAST_USUAL);
        if self.applied >= USUAL && f64::from(found) > LARGEST_RATIO * usual {
            return Err(format!(
                "has a value of magnitude {found:.1e}, expected at most {LARGEST_RATIO:e} times {usual:.1e}, the mean \
                 of the largest of the gradients before it"
            ));
        }
        Ok(found)
    }

    /// Returns the largest magnitude to which a gradient with this one is to be scaled down; `None` if it is
    /// to be applied as it is.
    pub(crate) fn limit(&self, magnitude: f32) -> Option<f32> {
        let limit = (LIMITED_RATIO * self.usual).max(LEAST_LIMIT);
        (self.applied >= USUAL && f64::from(magnitude) > limit).then_some(limit as f32)
    }

    /// Records that a gradient with this largest magnitude was applied and that the update left `block` as
    /// the block's.
    pub(crate) fn applied(&mut self, gradient: f32, block: f32) {
        self.largest = block;
        let most = match self.applied {
            ..USUAL => f64::INFINITY,
            USUAL.. => MOST_WEIGHT * self.usual.max(LEAST_LIMIT / LIMITED_RATIO),
        };
        self.applied += 1;
        self.usual += (f64::from(gradient).min(most) - self.usual) / self.applied.min(USUAL) as f64;
    }
}

/// Checks that the numbers of an update rule are in the ranges in which no update overflows; the error names
/// the first that is not.
pub(crate) fn check_rule(rule: &UpdateRule) -> Result<(), String> {
    let wrong = |key: &str, found: f64, expected: &str| {
        Err(format!("update rule key {key}: expected {expected}, found {found}"))
    };
    if !(rule.learning_rate >= 0.0 && rule.learning_rate.is_finite()) {
        return wrong("learning_rate", rule.learning_rate, "a finite number of at least 0");
    }
    for (key, found) in [
        ("momentum", rule.momentum),
        ("weight_decay", rule.weight_decay),
        ("average_decay", rule.average_decay),
    ] {
        if !(0.0..1.0).contains(&found) {
            return wrong(key, found, "0 to below 1");
        }
    }
    if !(0.0..=1.0).contains(&rule.stair_factor) {
        return wrong("stair_factor", rule.stair_factor, "0 to 1");
    }
    Ok(())
}

/// Checks that the learning rate and the weight decay of an update rule, with the multipliers of each tensor
/// of a layout, are in the ranges in which no update overflows; the error names the first tensor for which
/// they are not.
pub(crate) fn check_layout(rule: &UpdateRule, layout: &Layout) -> Result<(), String> {
    let rate = |tensor: &Tensor| rule.learning_rate * f64::from(tensor.rate_multiplier);
    if let Some(tensor) = layout.tensors().iter().find(|tensor| rate(tensor) > LARGEST_RATE) {
        let (name, found) = (&tensor.name, rate(tensor));
        return Err(format!(
            "the learning rate of {name}, its multiplier included: expected at most {LARGEST_RATE:e}, found {found:e}"
        ));
    }
    let decay = |tensor: &Tensor| rule.weight_decay * f64::from(tensor.decay_multiplier);
    if let Some(tensor) = layout.tensors().iter().find(|tensor| decay(tensor) > 1.0) {
        let (name, found) = (&tensor.name, decay(tensor));
        return Err(format!(
            "the weight decay of {name}, its multiplier included: expected at most 1, found {found:e}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use protocol::{BlockPush, Kind, Version};

    use super::*;
    use crate::{
        Shard, optimizer,
        testing::{layout, push, rule, with_value},
    };

    fn adopted(rule: UpdateRule) -> Shard {
        let mut shard = Shard::empty(0, 1, 1, Isa::detect());
        shard.begin(&rule).unwrap();
        shard.adopt(layout()).unwrap();
        shard
    }

    /// A push of worker 1 to the bias, whose block is number 2 and has 300 values.
    fn to_bias(step: u64, value: f32) -> BlockPush {
        push(1, step, 2, Version { generation: 1, counter: step }, vec![value; 300])
    }

    fn refusal(shard: &mut Shard, push: BlockPush) -> String {
        shard.push(push).outcome.unwrap_err().to_string()
    }

    fn all_finite(shard: &mut Shard) -> bool {
        let kinds = [Kind::Parameters, Kind::Average { evaluation: 0 }];
        let values = |kind| shard.fetch(2, kind).unwrap().values.to_vec();
        kinds.map(values).concat().iter().all(|value| value.is_finite())
    }

    /// Once, three pushes of 3e38 made a bias NaN, and the run still ended as if all was well.
    #[test]
    fn finite_gradients_that_would_overflow_are_refused_and_change_nothing() {
        let mut shard = adopted(rule());
        let before = shard.saved().unwrap();
        for (value, shown) in [(3e38, "3e38"), (-f32::MAX, "-3.4028235e38"), (1.1e18, "1.1e18")] {
            let push = with_value(to_bias(0, 0.5), 17, value);
            let expected = format!(
                "shard 0: gradient of block 2 (fc/bias) of worker 1 at step 0 has {shown} at position 17, expected finite \
                 numbers of at most 1e18"
            );
            assert_eq!(refusal(&mut shard, push), expected);
        }
        assert!(shard.saved().unwrap() == before);
        assert_eq!((shard.status().refused, shard.status().updates), (3, 0));
    }

    /// The largest gradient that is accepted, applied repeatedly, at a usual rate and near the largest, with
    /// and without staleness.
    #[test]
    fn whatever_is_let_in_leaves_the_block_finite() {
        use settings::Optimizer::{Adagrad, Momentum};
        for (optimizer, learning_rate, most) in [
            // How many are applied depends on the staleness; the first is not the last of them.
            (Momentum, 0.01, None),
            (Momentum, LARGEST_RATE / 2.0, Some(1)),
            // The root of two such squares is beyond what a block may hold.
            (Adagrad, 0.01, Some(2)),
            (Adagrad, LARGEST_RATE / 2.0, Some(2)),
        ] {
            let extreme = UpdateRule {
                optimizer,
                learning_rate,
                momentum: 1.0 - f64::EPSILON,
                weight_decay: 1.0 - f64::EPSILON,
                average_decay: 0.0,
                ..rule()
            };
            for stale in [0, 1, 50] {
                let mut shard = adopted(extreme.clone());
                let (mut applied, mut refused) = (0, 0);
                for step in 0..200 {
                    let mut push =
                        to_bias(step, if step % 2 == 0 { LARGEST_GRADIENT } else { -LARGEST_GRADIENT });
                    push.version.counter = applied - applied.min(stale);
                    match shard.push(push).outcome {
                        Ok(answer) => {
                            let block = answer.into_values().unwrap();
                            assert!(block.values.to_vec().iter().all(|value| value.is_finite()));
                            applied += 1;
                        }
                        Err(text) => {
                            let text = text.to_string();
                            assert!(
                                text.contains("is not applied: the block has diverged, it holds "),
                                "{text}"
                            );
                            refused += 1;
                        }
                    }
                    assert!(all_finite(&mut shard), "after step {step}");
                }
                assert_eq!(applied + refused, 200);
                let as_expected = most.map_or(applied > 2, |most| applied == most);
                assert!(as_expected, "{optimizer}, {learning_rate}: {applied} applied, expected {most:?}");
            }
        }
    }

    #[test]
    fn a_gradient_a_million_times_as_large_as_usual_is_refused_once_that_is_known() {
        let mut shard = adopted(UpdateRule { learning_rate: 1e-6, ..rule() });
        for step in 0..USUAL {
            // The signs alternate so that the weights stay where they are. A large gradient among the first
            // is not a fault.
            let value = if step == 0 { 1e7 } else { [5.0, -5.0][step as usize % 2] };
            shard.push(to_bias(step, value)).outcome.unwrap();
        }
        let found = refusal(&mut shard, to_bias(USUAL, 1e12));
        let expected = "shard 0: gradient of block 2 (fc/bias) of worker 1 at step 100 has a value of magnitude \
                        1.0e12, expected at most 1e6 times 1.0e5, the mean of the largest of the gradients before it";
        assert_eq!(found, expected);
        // A refused gradient does not use up its step, and the usual size follows the gradients that are
        // applied.
        for step in USUAL..20 * USUAL {
            shard.push(to_bias(step, [5.0, -5.0][step as usize % 2])).outcome.unwrap();
        }
        assert!(refusal(&mut shard, to_bias(20 * USUAL, 1e12)).contains("expected at most 1e6 times 5.0e0"));
    }

    #[test]
    fn a_gradient_far_larger_than_usual_is_scaled_down_and_counted_by_worker() {
        let limited = |shard: &Shard| (shard.status().limited, shard.limited.clone());
        let mut shard = adopted(UpdateRule { learning_rate: 1e-3, momentum: 0.0, ..rule() });
        let mut moved = |step: u64, value: f32| {
            let before = shard.fetch(2, Kind::Parameters).unwrap().values.to_vec()[0];
            let push = with_value(to_bias(step, value), 299, value / 2.0);
            let after = shard.push(push).outcome.unwrap().into_values().unwrap().values.to_vec();
            // A bias has rate multiplier 2.
            (((before - after[0]) / 2e-3).abs(), limited(&shard))
        };
        let near = |found: f32, expected: f32| (found - expected).abs() < 1e-2 * expected;
        // Among the first, nothing is known.
        for step in 0..USUAL {
            assert!(near(moved(step, 5.0).0, 5.0));
        }
        let (as_it_is, count) = moved(USUAL, 499.0);
        assert!(near(as_it_is, 499.0) && count == (0, BTreeMap::new()), "{as_it_is}");
        // Of that one only twice the usual 5 counts, so that the usual is 5.05 by now.
        for (step, pushes) in [(USUAL + 1, 1), (USUAL + 2, 2)] {
            let (scaled, count) = moved(step, -1e5);
            assert!((500.0..530.0).contains(&scaled), "{scaled}");
            assert_eq!(count, (pushes, [(1, pushes)].into()));
        }
    }

    /// What is small in itself is not out of the ordinary, and what stays larger becomes usual.
    #[test]
    fn a_block_that_was_silent_catches_up() {
        let mut bounds = Bounds { largest: 0.0, usual: 0.0, applied: 0 };
        (0..USUAL).for_each(|_| bounds.applied(0.0, 0.0));
        assert_eq!([1.0, 1.5].map(|magnitude| bounds.limit(magnitude)), [None, Some(1.0)]);
        let pushes = (0..).take_while(|_| {
            let limit = bounds.limit(3.0);
            bounds.applied(limit.unwrap_or(3.0), 0.0);
            limit.is_some()
        });
        let pushes = pushes.count();
        assert!((50..500).contains(&pushes), "{pushes}");
    }

    /// A worker that pushes as large gradients as it may cannot raise what is usual, and thereby the limit,
    /// if three others push too.
    #[test]
    fn one_worker_of_four_cannot_raise_what_is_usual() {
        let mut bounds = Bounds { largest: 0.0, usual: 0.0, applied: 0 };
        (0..USUAL).for_each(|_| bounds.applied(1.0, 0.0));
        for push in 0..10_000 {
            let magnitude = if push % 4 == 0 { 1e6 } else { 1.0 };
            bounds.applied(bounds.limit(magnitude).unwrap_or(magnitude), 0.0);
            assert!(bounds.usual < 2.0, "{bounds:?} after {push}");
        }
    }

    /// A faulty bit in one value is found however small all others are.
    #[test]
    fn one_value_a_million_times_as_large_as_usual_is_enough() {
        let mut shard = adopted(UpdateRule { learning_rate: 1e-6, ..rule() });
        for step in 0..USUAL {
            shard.push(to_bias(step, 1e-3)).outcome.unwrap();
        }
        let push = with_value(to_bias(USUAL, 1e-3), 17, 2e6);
        let found = refusal(&mut shard, push);
        assert!(found.contains("has a value of magnitude 2.0e6, expected at most 1e6 times"), "{found}");
    }

    /// The gradients of a block behind inactive units are zero for a long time; the first large one is not a
    /// fault.
    #[test]
    fn the_first_gradients_of_a_silent_block_are_applied() {
        let mut shard = adopted(rule());
        for step in 0..2 * USUAL {
            shard.push(to_bias(step, 0.0)).outcome.unwrap();
        }
        shard.push(to_bias(2 * USUAL, 1e5)).outcome.unwrap();
    }

    #[test]
    fn a_run_that_starts_with_values_too_large_is_refused_by_tensor() {
        let mut saved = adopted(rule()).saved().unwrap();
        for (value, text) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (2e18, "2e18")] {
            let state = saved.blocks.get_mut(&2).unwrap();
            state.arrays.get_mut("velocity").unwrap()[299] = value;
            assert_eq!(
                Bounds::of(Isa::detect(), &*optimizer::of(&rule()), state).check(),
                Err(format!("holds {text}, expected values of at most 1e18"))
            );
        }
        let mut tensors = layout().tensors().to_vec();
        tensors[1].initialiser = parameters::Initialiser::Constant(-1e19);
        let large = Layout::new(tensors).unwrap();
        let mut shard = Shard::empty(0, 1, 1, Isa::detect());
        shard.begin(&rule()).unwrap();
        let text = shard.adopt(large).unwrap_err().to_string();
        assert_eq!(
            text,
            "shard 0: block 2 (fc/bias) holds 1e19, expected values of at most 1e18 at the start of a run"
        );
        assert!(shard.layout().is_none());
        shard.begin(&rule()).unwrap();
        shard.adopt(layout()).unwrap();
    }

    #[test]
    fn a_rule_with_numbers_out_of_range_is_refused_by_its_key() {
        let multiplied = |rate_multiplier, decay_multiplier| {
            let mut tensors = layout().tensors().to_vec();
            (tensors[1].rate_multiplier, tensors[1].decay_multiplier) = (rate_multiplier, decay_multiplier);
            Layout::new(tensors).unwrap()
        };
        let cases = [
            (
                UpdateRule { learning_rate: f64::NAN, ..rule() },
                layout(),
                "update rule key learning_rate: expected a finite number of at least 0, found NaN",
            ),
            (
                UpdateRule { momentum: 1.0, ..rule() },
                layout(),
                "update rule key momentum: expected 0 to below 1, found 1",
            ),
            (
                UpdateRule { weight_decay: f64::INFINITY, ..rule() },
                layout(),
                "update rule key weight_decay: expected 0 to below 1, found inf",
            ),
            (
                UpdateRule { average_decay: -0.5, ..rule() },
                layout(),
                "update rule key average_decay: expected 0 to below 1, found -0.5",
            ),
            (
                UpdateRule { stair_factor: 2.0, ..rule() },
                layout(),
                "update rule key stair_factor: expected 0 to 1, found 2",
            ),
            (
                rule(),
                multiplied(f32::MAX, 0.0),
                "the learning rate of fc/bias, its multiplier included: expected at most 1e9, found 3.4",
            ),
            (
                rule(),
                multiplied(1.0, 1e6),
                "the weight decay of fc/bias, its multiplier included: expected at most 1, found 2e2",
            ),
        ];
        for (rule, layout, expected) in cases {
            let mut shard = Shard::empty(0, 1, 1, Isa::scalar());
            let text = shard.begin(&rule).and_then(|()| shard.adopt(layout)).unwrap_err().to_string();
            assert!(text.starts_with(&format!("shard 0: {expected}")), "{text}\nexpected {expected}");
        }
    }

    #[test]
    fn the_size_of_a_block_is_that_of_its_largest_array() {
        let state = |parameters: f32, velocity: f32, average: f32| BlockState {
            parameters: Arc::new(vec![0.0, parameters]),
            average: vec![0.0, average],
            arrays: [("velocity", vec![velocity, 0.0])].into(),
            counter: 0,
            samples: 0,
            applied: BTreeMap::new(),
        };
        let momentum = optimizer::of(&rule());
        let largest = |state| Bounds::of(Isa::scalar(), &*momentum, &state).largest;
        for (parameters, velocity, average) in [(-3.0, 2.0, 1.0), (1.0, -3.0, 2.0), (1.0, 2.0, 3.0)] {
            assert_eq!(largest(state(parameters, velocity, average)), 3.0);
        }
        assert!(largest(state(f32::NAN, 1.0, f32::INFINITY)).is_nan());
    }
}
