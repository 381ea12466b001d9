//! Tests of a shard: what it adopts, applies, refuses and answers.

use super::*;
use crate::testing::{layout, push, rule, with_value};
use parameters::Tensor;
use protocol::{PushForm, StalenessCounts};
use settings::{Optimizer, Staleness};

fn adopted() -> Shard {
    let mut shard = Shard::empty(0, 1, 1, Isa::scalar());
    shard.begin(&rule()).unwrap();
    shard.adopt(layout()).unwrap();
    shard
}

/// A gradient that differs from value to value and from step to step.
fn gradient(values: usize, step: u64) -> Vec<f32> {
    (0..values).map(|i| ((i as f32 + 1.0) * 0.37 + step as f32).sin()).collect()
}

fn parameters(shard: &mut Shard, block: u32) -> Vec<f32> {
    shard.fetch(block, Kind::Parameters).unwrap().values.to_vec()
}

fn refusal(shard: &mut Shard, push: &BlockPush) -> String {
    shard.push(push.clone()).outcome.unwrap_err().to_string()
}

#[test]
fn updates_follow_torch_sgd_and_the_average_follows_them() {
    let rule = UpdateRule { ramp_samples: 100, stair_samples: 200, ..rule() };
    let mut shard = Shard::empty(0, 1, 1, Isa::scalar());
    shard.begin(&rule.clone()).unwrap();
    shard.adopt(layout()).unwrap();
    // Block 2 is a bias (rate multiplier 2, no decay), block 3 a weight.
    for (block, values, rate_multiplier, decay_multiplier) in [(2, 300, 2.0, 0.0), (3, 300, 1.0, 1.0)] {
        let mut w: Vec<f64> = parameters(&mut shard, block).into_iter().map(f64::from).collect();
        let (mut v, mut a) = (vec![0.0; values], w.clone());
        for t in 0..12u64 {
            let g = gradient(values, t);
            let version = Version { generation: 1, counter: t };
            let updated =
                shard.push(push(1, t, block, version, g.clone())).outcome.unwrap().into_values().unwrap();
            assert_eq!(updated.version, Version { generation: 1, counter: t + 1 });
            assert_eq!(updated.values.to_vec(), parameters(&mut shard, block));
            let before = 32 * t;
            let ramp = f64::min(1.0, (before + 32) as f64 / 100.0);
            let rate = 0.01 * 0.96f64.powi((before / 200) as i32) * ramp * rate_multiplier;
            let d = f64::min(0.9999, (1.0 + t as f64) / (10.0 + t as f64));
            for i in 0..values {
                v[i] = 0.9 * v[i] + (f64::from(g[i]) + 2e-4 * decay_multiplier * w[i]);
                w[i] -= rate * v[i];
                a[i] += (1.0 - d) * (w[i] - a[i]);
            }
        }
        let velocity = shard.fetch(block, Kind::Velocity).unwrap().values.to_vec();
        for (i, (found, expected)) in velocity.into_iter().zip(v).enumerate() {
            let difference = (f64::from(found) - expected).abs();
            assert!(difference < 1e-5, "velocity of block {block} value {i}: {found}, expected {expected}");
        }
        assert_holds(&mut shard, block, w, a);
    }
}

/// Checks that a block's parameters and average are within 2e-6 of what was computed in float64.
fn assert_holds(shard: &mut Shard, block: u32, weights: Vec<f64>, averages: Vec<f64>) {
    let average = shard.fetch(block, Kind::Average { evaluation: 0 }).unwrap().values.to_vec();
    let both = [(parameters(shard, block), weights), (average, averages)];
    for (found, expected) in both {
        assert_eq!(found.len(), expected.len());
        for (i, (found, expected)) in found.into_iter().zip(expected).enumerate() {
            let difference = (f64::from(found) - expected).abs();
            assert!(difference < 2e-6, "block {block} value {i}: {found}, expected {expected}");
        }
    }
}

/// The roots of a weight's sums divide its rate, for every block with its tensor's multipliers, and a push is
/// answered with the block as it is, whatever its staleness.
#[test]
fn adagrad_divides_the_rate_of_each_weight_by_the_root_of_its_squared_gradients() {
    let rule = UpdateRule { optimizer: Optimizer::Adagrad, ..rule() };
    let mut shard = Shard::empty(0, 1, 1, Isa::detect());
    shard.begin(&rule).unwrap();
    shard.adopt(layout()).unwrap();
    // Block 2 is a bias (rate multiplier 2, no decay), block 3 a weight.
    for (block, rate, decay) in [(2, 0.02, 0.0), (3, 0.01, 2e-4)] {
        let mut w: Vec<f64> = parameters(&mut shard, block).into_iter().map(f64::from).collect();
        let (mut a, mut gradients) = (w.clone(), vec![Vec::new(); 300]);
        for t in 0..12u64 {
            let g = gradient(300, t);
            // Every second push is one update old.
            let version = Version { generation: 1, counter: t - t % 2 };
            let answer =
                shard.push(push(1, t, block, version, g.clone())).outcome.unwrap().into_values().unwrap();
            assert_eq!(answer.values.to_vec(), parameters(&mut shard, block));
            let d = f64::min(0.9999, (1.0 + t as f64) / (10.0 + t as f64));
            for i in 0..300 {
                gradients[i].push(f64::from(g[i]) + decay * w[i]);
                let squares: f64 = gradients[i].iter().map(|g| g * g).sum();
                w[i] -= rate / (1 + t % 2) as f64 * gradients[i][t as usize] / (0.1 + squares).sqrt();
                a[i] += (1.0 - d) * (w[i] - a[i]);
            }
        }
        assert_holds(&mut shard, block, w, a);
    }
}

#[test]
fn a_step_of_a_workers_momentum_is_refused_where_the_optimizer_has_none() {
    let mut shard = Shard::empty(0, 1, 1, Isa::scalar());
    shard.begin(&UpdateRule { optimizer: Optimizer::Adagrad, ..rule() }).unwrap();
    shard.adopt(layout()).unwrap();
    let step = BlockPush { form: PushForm::Step, ..push(1, 0, 3, Version::default(), gradient(300, 0)) };
    let text = "shard 0: gradient of block 3 (classifier/weights) is a step of the worker's own momentum, expected a \
                gradient: the run's optimizer is adagrad";
    assert_eq!(refusal(&mut shard, &step), text);
}

#[test]
fn the_velocity_of_an_optimizer_without_one_is_refused() {
    let rule = UpdateRule { optimizer: Optimizer::Adagrad, ..rule() };
    let mut shard = Shard::empty(0, 1, 1, Isa::scalar());
    shard.begin(&rule).unwrap();
    shard.adopt(layout()).unwrap();
    let text = shard.fetch(2, Kind::Velocity).unwrap_err().to_string();
    assert!(text.contains("the optimizer adagrad has no velocity"), "{text}");
}

#[test]
fn a_repeated_push_is_acknowledged_and_not_applied() {
    let mut shard = adopted();
    let first = push(4, 10, 3, Version::default(), gradient(300, 0));
    let updated = shard.push(first.clone()).outcome.unwrap();
    let after = parameters(&mut shard, 3);
    let older = push(4, 9, 3, Version::default(), gradient(300, 1));
    for repeated in [&first, &older] {
        assert_eq!(shard.push(repeated.clone()).outcome, Ok(updated.clone()));
    }
    assert_eq!(parameters(&mut shard, 3), after);
    assert_eq!((shard.status().updates, shard.status().repeated), (1, 2));
    // Another block, another incarnation and a later step are other pushes.
    shard.push(push(4, 10, 2, Version::default(), gradient(300, 0))).outcome.unwrap();
    shard.push(push(5, 10, 3, Version::default(), gradient(300, 0))).outcome.unwrap();
    shard.push(push(4, 11, 3, Version::default(), gradient(300, 0))).outcome.unwrap();
    assert_eq!(shard.status().updates, 4);
}

/// A version beyond the block's would pass for staleness 0, and a step far ahead would make those in between
/// pass for repetitions.
#[test]
fn numbers_that_are_ahead_are_refused_and_change_nothing() {
    let mut shard = adopted();
    let at = |generation, counter| Version { generation, counter };
    shard.push(push(1, 5, 3, at(1, 0), gradient(300, 0))).outcome.unwrap();
    let before = shard.saved().unwrap();
    let of = "shard 0: gradient of block 3 (classifier/weights)";
    for (step, version, expected) in [
        (6, at(1, 2), "was computed from update 2 of generation 1, the block has had 1 of generation 1"),
        (6, at(2, 0), "was computed from update 0 of generation 2, the block has had 1 of generation 1"),
        (6 + (1 << 20), at(1, 1), "is of step 1048582, expected at most 1048581: the last one was 5"),
        (u64::MAX, at(1, 1), "is of step 18446744073709551615, expected at most 1048581: the last one was 5"),
    ] {
        assert_eq!(
            refusal(&mut shard, &push(1, step, 3, version, gradient(300, 1))),
            format!("{of} {expected}")
        );
    }
    let first = push(2, (1 << 20) + 1, 3, at(1, 1), gradient(300, 1));
    assert!(refusal(&mut shard, &first).ends_with("expected at most 1048576: the last one was 0"));
    assert!(shard.saved().unwrap() == before);
    // A version of before a restore may have any counter.
    shard.push(push(1, 5 + (1 << 20), 3, at(0, 99), gradient(300, 1))).outcome.unwrap();
    shard.push(push(2, 1 << 20, 3, at(1, 2), gradient(300, 1))).outcome.unwrap();
}

#[test]
fn a_push_is_of_at_most_a_minibatch() {
    let mut shard = Shard::empty(0, 1, 1, Isa::scalar());
    shard.begin(&UpdateRule { batch: Some(32), ..rule() }).unwrap();
    shard.adopt(layout()).unwrap();
    let of = |step, samples| BlockPush { samples, ..push(1, step, 3, Version::default(), gradient(300, 0)) };
    for samples in [33, u32::MAX] {
        let text = format!(
            "shard 0: gradient of block 3 (classifier/weights) has {samples} samples behind it, expected 0 to 32"
        );
        assert_eq!(refusal(&mut shard, &of(1, samples)), text);
    }
    shard.push(of(1, 1)).outcome.unwrap();
    shard.push(of(2, 32)).outcome.unwrap();
    // What was left over of gradients is applied, and nobody's sample.
    let before = parameters(&mut shard, 3);
    shard.push(BlockPush { gradient: vec![0.5; 300].into(), ..of(3, 0) }).outcome.unwrap();
    assert!(parameters(&mut shard, 3) != before);
    assert_eq!((shard.status().samples, shard.status().updates), (33, 3));
    // It comes once for each time that samples came, so that the account tells of whoever pushes more.
    let expected = "shard 0: gradient of block 3 (classifier/weights) of worker 1 at step 4 has no samples behind it, and none of \
                    that worker have come since the last such, expected at least 1";
    assert_eq!(refusal(&mut shard, &of(4, 0)), expected);
    shard.push(of(4, 1)).outcome.unwrap();
    shard.push(of(5, 0)).outcome.unwrap();
}

/// Files of earlier releases do not bound the samples behind a push; the run that goes on from them does.
#[test]
fn a_restored_shard_takes_the_bound_of_its_run() {
    let saved = adopted().saved().unwrap();
    assert_eq!(saved.rule.batch, None);
    let mut shard = Shard::restored(0, 1, 2, Isa::scalar(), saved);
    shard.begin(&UpdateRule { batch: Some(16), ..rule() }).unwrap();
    let text = refusal(&mut shard, &push(1, 1, 3, Version::default(), gradient(300, 0)));
    assert!(text.ends_with("has 32 samples behind it, expected 0 to 16"), "{text}");
    let other = shard.begin(&UpdateRule { batch: Some(8), ..rule() }).unwrap_err().to_string();
    assert_eq!(other, "shard 0: update rule key batch: the shard has 16, the coordinator brings 8");
}

#[test]
fn staleness_is_the_number_of_updates_since_the_fetch() {
    let mut shard = adopted();
    let fetched = shard.fetch(3, Kind::Parameters).unwrap().version;
    let mut staleness =
        |incarnation, version| shard.push(push(incarnation, 0, 3, version, gradient(300, 0))).staleness;
    assert_eq!([staleness(1, fetched), staleness(2, fetched), staleness(3, fetched)], [0, 1, 2]);
    let ahead = Version { generation: 0, counter: 99 };
    assert_eq!(staleness(4, ahead), 0);
    let status = shard.status();
    let largest = status.staleness_counts.largest_since(&StalenessCounts::default());
    assert_eq!((status.staleness_sum, largest, status.updates), (3, 2, 4));
}

#[test]
fn a_stale_gradient_moves_the_parameters_less_and_is_answered_ahead() {
    let mut shard = adopted();
    for staleness in 0..3 {
        let before = parameters(&mut shard, 2);
        // A bias has no decay, and a tenth of the gradient replaces what momentum takes off, so the
        // velocity stays.
        let g = gradient(300, 0);
        let next = g.iter().map(|g| if staleness == 0 { *g } else { 0.1 * g }).collect();
        let answer = shard
            .push(push(1 + staleness, 0, 2, Version::default(), next))
            .outcome
            .unwrap()
            .into_values()
            .unwrap()
            .values
            .to_vec();
        let after = parameters(&mut shard, 2);
        for i in 0..300 {
            let moved = 2.0 * 0.01 * g[i] / (1 + staleness) as f32; // a bias has rate multiplier 2
            let ahead = moved * [0.0, 0.9, 0.9 + 0.81][staleness as usize];
            assert!((before[i] - after[i] - moved).abs() < 1e-6, "staleness {staleness}: value {i}");
            assert!((after[i] - answer[i] - ahead).abs() < 1e-6, "staleness {staleness}: answer {i}");
        }
    }
}

#[test]
fn a_step_is_added_by_the_root_of_its_staleness_and_leaves_the_velocity() {
    let mut shard = adopted();
    for staleness in 0..3 {
        let before = parameters(&mut shard, 2);
        let g = gradient(300, staleness);
        let step =
            BlockPush { form: PushForm::Step, ..push(1 + staleness, 0, 2, Version::default(), g.clone()) };
        let reply = shard.push(step);
        let (answer, after) =
            (reply.outcome.unwrap().into_values().unwrap().values.to_vec(), parameters(&mut shard, 2));
        assert_eq!((reply.staleness, &answer), (staleness, &after), "a step is not answered ahead");
        for i in 0..300 {
            let moved = 2.0 * 0.01 * g[i] / ((1 + staleness) as f32).sqrt(); // a bias has rate multiplier 2
            assert!((before[i] - after[i] - moved).abs() < 1e-6, "staleness {staleness}: value {i}");
        }
    }
    // Were there a velocity, a gradient of zero would move the parameters by it.
    let before = parameters(&mut shard, 2);
    let version = Version { generation: 1, counter: 3 };
    shard.push(push(9, 0, 2, version, vec![0.0; 300])).outcome.unwrap();
    assert_eq!(parameters(&mut shard, 2), before);
}

#[test]
fn a_policy_by_name_takes_the_place_of_that_of_the_form() {
    let moved_and_ahead = |staleness, form| {
        let mut shard = Shard::empty(0, 1, 1, Isa::scalar());
        shard.begin(&UpdateRule { staleness, momentum: 0.5, ..rule() }).unwrap();
        shard.adopt(layout()).unwrap();
        // Two pushes of zeros leave the bias and its velocity as they are, and make the third one stale.
        for step in 0..2 {
            shard.push(push(1, step, 2, Version::default(), vec![0.0; 300])).outcome.unwrap();
        }
        let before = parameters(&mut shard, 2)[0];
        let pushed =
            BlockPush { form, ..push(1, 2, 2, Version { generation: 1, counter: 1 }, vec![1.0; 300]) };
        let answer = shard.push(pushed).outcome.unwrap().into_values().unwrap().values.to_vec()[0];
        let after = parameters(&mut shard, 2)[0];
        [(before - after) / 0.02, (after - answer) / 0.02] // a bias has rate multiplier 2
    };
    let root = 0.5f32.sqrt();
    for (staleness, form, expected) in [
        (None, PushForm::Gradient, [0.5, 0.25]),
        (Some(Staleness::Divide), PushForm::Gradient, [0.5, 0.25]),
        (Some(Staleness::Root), PushForm::Gradient, [root, root * 0.5]),
        (Some(Staleness::None), PushForm::Gradient, [1.0, 0.0]),
        (None, PushForm::Step, [root, 0.0]),
        (Some(Staleness::Divide), PushForm::Step, [0.5, 0.0]),
        (Some(Staleness::None), PushForm::Step, [1.0, 0.0]),
    ] {
        let found = moved_and_ahead(staleness, form);
        let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-3);
        assert!(near, "{staleness:?}, {form:?}: {found:?}, expected {expected:?}");
    }
}

#[test]
fn unusable_pushes_are_refused_by_name_and_change_nothing() {
    let mut shard = adopted();
    let before = parameters(&mut shard, 3);
    let good = push(1, 5, 3, Version::default(), gradient(300, 0));
    let poisoned = with_value(good.clone(), 17, f32::NAN);
    let infinite = with_value(good.clone(), 0, f32::NEG_INFINITY);
    let cases = [
        (
            BlockPush { gradient: vec![0.0; 1024].into(), ..good.clone() },
            "shard 0: gradient of block 3 (classifier/weights) has 1024 values, expected 300",
        ),
        (
            poisoned,
            "shard 0: gradient of block 3 (classifier/weights) of worker 1 at step 5 has NaN at position 17, \
             expected finite numbers of at most 1e18",
        ),
        (
            infinite,
            "shard 0: gradient of block 3 (classifier/weights) of worker 1 at step 5 has -inf at position 0, \
             expected finite numbers of at most 1e18",
        ),
        (BlockPush { block: 4, ..good.clone() }, "shard 0: block 4 is unknown, expected 0 to 3"),
    ];
    for (push, text) in &cases {
        assert_eq!(refusal(&mut shard, push), *text);
    }
    assert_eq!(parameters(&mut shard, 3), before);
    assert_eq!((shard.status().refused, shard.status().updates), (4, 0));
    // A refused push does not use up its step: repeated with usable values, it is applied.
    shard.push(good).outcome.unwrap();
    assert_eq!(shard.status().updates, 1);
}

#[test]
fn a_shard_serves_its_own_blocks_only() {
    let mut shards: Vec<Shard> = (0..2).map(|number| Shard::empty(number, 2, 1, Isa::scalar())).collect();
    let early = push(1, 0, 0, Version::default(), Vec::new());
    let text = "shard 0: no layout adopted yet; a joining worker brings it";
    assert_eq!(shards[0].push(early).outcome, Err(Refusal::NotReady(text.into())));
    for shard in &mut shards {
        shard.begin(&rule()).unwrap();
        shard.adopt(layout()).unwrap();
    }
    assert_eq!(shards.iter().map(|shard| shard.status().blocks).sum::<u32>(), 4);
    let owners = assign(&layout(), 2);
    let text = shards[1 - owners[0] as usize].fetch(0, Kind::Parameters).unwrap_err().to_string();
    assert_eq!(text, format!("shard {}: block 0 (fc/weights) belongs to shard {}", 1 - owners[0], owners[0]));
    let expected = layout().initial(rule().seed);
    for block in layout().blocks() {
        let found = parameters(&mut shards[owners[block.index as usize] as usize], block.index);
        assert_eq!(found, expected[block.range.clone()]);
    }
}

#[test]
fn another_network_or_rule_is_refused_by_its_first_difference() {
    let mut shard = Shard::empty(0, 1, 1, Isa::scalar());
    let text = "shard 0: no update rule yet; the coordinator brings it once a worker has joined";
    assert_eq!(shard.adopt(layout()).unwrap_err(), Refusal::NotReady(text.into()));
    shard.begin(&rule()).unwrap();
    for _ in 0..2 {
        shard.begin(&rule()).unwrap();
        assert_eq!(shard.adopt(layout()).unwrap().fingerprint, layout().fingerprint());
        assert_eq!(shard.status().layout, Some(layout().fingerprint().to_hex()));
    }
    let mut tensors = layout().tensors().to_vec();
    tensors[1].shape = vec![301];
    let refusal = shard.adopt(Layout::new(tensors).unwrap()).unwrap_err();
    let text = "shard 0: the network is not the run's: tensor 1: expected fc/bias [300], found fc/bias [301]";
    assert_eq!(refusal, Refusal::Mismatch(text.into()));
    let refusal = shard.begin(&UpdateRule { momentum: 0.5, ..rule() }).unwrap_err();
    let text = "shard 0: update rule key momentum: the shard has 0.9, the coordinator brings 0.5";
    assert_eq!(refusal, Refusal::Mismatch(text.into()));
}

#[test]
fn a_run_that_goes_on_may_have_another_rate_and_stairs_from_there_on() {
    let ramped = UpdateRule { ramp_samples: 100, stair_samples: 200, ..rule() };
    let mut shard = Shard::empty(0, 1, 1, Isa::scalar());
    shard.begin(&ramped).unwrap();
    shard.adopt(layout()).unwrap();
    // A push is of 32 samples.
    let factor = |shard: &mut Shard, step| {
        shard.push(push(1, step, 3, Version::default(), gradient(300, 1))).outcome.unwrap();
        (1000.0 * shard.status().learning_rate / rule().learning_rate).round() / 1000.0
    };
    assert_eq!(factor(&mut shard, 0), 0.32);
    let saved = shard.saved().unwrap();
    let mut restored = Shard::restored(0, 1, 2, Isa::scalar(), saved);
    let halved = UpdateRule {
        learning_rate: rule().learning_rate / 2.0,
        stair_samples: 64,
        total_samples: 77,
        ..ramped.clone()
    };
    restored.begin(&halved).unwrap();
    assert_eq!(factor(&mut restored, 1), 0.5 * 0.64, "the ramp goes on");
    assert_eq!(factor(&mut restored, 2), 0.461, "half of 0.96 of 0.96: ramp and stair");
    assert_eq!(restored.saved().unwrap().rule, halved);
    for (wrong, expected) in [
        (UpdateRule { ramp_samples: 99, ..halved.clone() }, "ramp_samples: the shard has 100"),
        (UpdateRule { learning_rate: f64::INFINITY, ..halved.clone() }, "learning_rate: expected a finite"),
        (UpdateRule { learning_rate: 1e30, ..halved.clone() }, "the learning rate of fc/weights"),
    ] {
        let text = restored.begin(&wrong).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
        assert_eq!(restored.saved().unwrap().rule, halved, "it keeps its own");
    }
}

/// A message of a few bytes can announce 16 GiB of parameters.
#[test]
fn a_layout_beyond_this_machines_memory_is_refused_before_any_is_taken() {
    let largest = Tensor { shape: vec![1 << 16, 1 << 16], ..layout().tensors()[0].clone() };
    let large = Layout::new(vec![largest]).unwrap();
    let mut shard = Shard::empty(0, 1, 1, Isa::scalar());
    if limits::memory::available().is_none_or(|free| free >= 48 << 30) {
        return; // it would be taken
    }
    shard.begin(&rule()).unwrap();
    let refusal = shard.adopt(large).unwrap_err();
    let Refusal::Invalid(text) = refusal else { panic!("expected an invalid layout, found {refusal:?}") };
    assert!(
        text.starts_with(
            "shard 0: for 4294967296 of the network's 4294967296 parameters, with velocity and average, 48 GiB of \
             memory are needed, this machine has "
        ),
        "{text}"
    );
    shard.adopt(layout()).unwrap();
}

#[test]
fn an_evaluation_sees_the_average_of_one_moment() {
    let mut shard = adopted();
    shard.push(push(1, 0, 3, Version::default(), gradient(300, 0))).outcome.unwrap();
    let average = |shard: &mut Shard, evaluation, block| {
        let fetched = shard.fetch(block, Kind::Average { evaluation }).unwrap();
        (fetched.version.counter, fetched.values.to_vec())
    };
    // The first fetch names block 2, and freezes block 3 as well.
    average(&mut shard, 1, 2);
    let (_, at_one) = average(&mut shard, 0, 3);
    shard.push(push(1, 1, 3, Version::default(), gradient(300, 1))).outcome.unwrap();
    let (_, at_two) = average(&mut shard, 2, 3);
    assert_ne!(at_one, at_two);
    assert_eq!(average(&mut shard, 1, 3), (1, at_one));
    shard.push(push(1, 2, 3, Version::default(), gradient(300, 2))).outcome.unwrap();
    assert_eq!(average(&mut shard, 2, 3), (2, at_two));
}
