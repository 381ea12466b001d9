//! The optimizer's step in one pass over memory: weight decay and heavy-ball momentum in the form of
//! `torch.optim.SGD`, where the learning rate is not part of the velocity; on a parameter server also the
//! running average of the weights.

use crate::Isa;
use crate::elementwise::magnitude_bits;
use crate::simd::{Loop, dispatch};

/// The factors of one momentum update of a parameter block (a piece of one tensor).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// Learning rate of this update, with the multiplier of the block's tensor included.
    pub rate: f32,
    /// Momentum: fraction of the velocity that an update keeps.
    pub momentum: f32,
    /// Weight decay: the multiple of the weight that is added to its gradient, with the multiplier of the
    /// block's tensor included.
    pub decay: f32,
}

/// State of one parameter block (a piece of one tensor) on a parameter server that updates by momentum:
/// slices of equal length.
#[derive(Debug)]
pub struct State<'a> {
    /// Weights of the block.
    pub weights: &'a mut [f32],
    /// Velocity of the weights: the decaying sum of their gradients, not multiplied by the learning rate.
    pub velocity: &'a mut [f32],
    /// Running average of the weights.
    pub average: &'a mut [f32],
}

/// Updates the weights by heavy-ball momentum: `g = gradient + decay * w`, `v = momentum * v + g`,
/// `w -= rate * v`.
///
/// # Panics
/// If the slices differ in length.
pub fn momentum_update(
    isa: Isa,
    update: &Update,
    gradient: &[f32],
    weights: &mut [f32],
    velocity: &mut [f32],
) {
    check(gradient, &[weights, velocity]);
    dispatch(isa, Step { update: *update, gradient, weights, velocity });
}

/// Updates one parameter block (a piece of one tensor) of a parameter server by a gradient. After the step of
/// [`momentum_update`] it updates the running average, `a += average_step * (w - a)`, and overwrites the
/// gradient with the look-ahead weights `w - ahead * v`, to which momentum alone would move the block:
/// `ahead` is the learning rate times `m + m^2 + ... + m^k` for momentum `m` and `k` further updates.
///
/// Returns the largest absolute value that the block now holds in its weights, velocity and average, found in
/// the same pass: NaN if any of them is NaN, else infinite if any is.
///
/// # Panics
/// If the slices differ in length.
pub fn momentum_update_ahead(
    isa: Isa,
    update: &Update,
    average_step: f32,
    ahead: f32,
    gradient: &mut [f32],
    state: State,
) -> f32 {
    check(gradient, &[state.weights, state.velocity, state.average]);
    dispatch(isa, StepAhead { update: *update, average_step, ahead, gradient, state })
}

/// Updates one parameter block (a piece of one tensor) of a parameter server by `step`, which a worker that
/// keeps a velocity of its own has computed with [`nesterov_step`]: `w -= rate * step`, then the running
/// average, `a += average_step * (w - a)`. Overwrites `step` with the new weights `w`, the server's reply to
/// the worker.
///
/// Returns the largest absolute value that the block now holds in its weights and average, found in the same
/// pass: NaN if any of them is NaN, else infinite if any is.
///
/// # Panics
/// If the slices differ in length.
pub fn step_update(
    isa: Isa,
    rate: f32,
    average_step: f32,
    step: &mut [f32],
    weights: &mut [f32],
    average: &mut [f32],
) -> f32 {
    check(step, &[weights, average]);
    dispatch(isa, StepUpdate { rate, average_step, step, weights, average })
}

/// Turns a worker's gradient into a step by Nesterov momentum: `g = gradient + decay * w`,
/// `v = momentum * v + g`, for weights `w` and velocity `v`; the gradient is overwritten with the step
/// `g + momentum * v`. A parameter server that subtracts the step, times the learning rate, from its weights
/// thereby holds Nesterov's look-ahead weights, those at which the next gradient is to be computed.
///
/// # Panics
/// If the slices differ in length.
pub fn nesterov_step(
    isa: Isa,
    momentum: f32,
    decay: f32,
    weights: &[f32],
    gradient: &mut [f32],
    velocity: &mut [f32],
) {
    check(weights, &[gradient, velocity]);
    dispatch(isa, NesterovStep { momentum, decay, weights, gradient, velocity });
}

fn check(gradient: &[f32], state: &[&mut [f32]]) {
    let expected = gradient.len();
    for found in state {
        assert_eq!(found.len(), expected, "update: values of a block beside its gradient");
    }
}

impl Update {
    #[inline(always)]
    fn step(&self, g: f32, w: &mut f32, v: &mut f32) {
        *v = self.momentum * *v + (g + self.decay * *w);
        *w -= self.rate * *v;
    }
}

struct Step<'a> {
    update: Update,
    gradient: &'a [f32],
    weights: &'a mut [f32],
    velocity: &'a mut [f32],
}

impl Loop for Step<'_> {
    #[inline(always)]
    fn run(self) {
        for ((w, v), g) in self.weights.iter_mut().zip(self.velocity).zip(self.gradient) {
            self.update.step(*g, w, v);
        }
    }
}

struct StepAhead<'a> {
    update: Update,
    average_step: f32,
    ahead: f32,
    gradient: &'a mut [f32],
    state: State<'a>,
}

impl Loop<f32> for StepAhead<'_> {
    #[inline(always)]
    fn run(self) -> f32 {
        let State { weights, velocity, average } = self.state;
        let mut largest = 0;
        for (((w, v), a), g) in weights.iter_mut().zip(velocity).zip(average).zip(self.gradient) {
            self.update.step(*g, w, v);
            *a += self.average_step * (*w - *a);
            *g = *w - self.ahead * *v;
            largest = [*w, *v, *a].into_iter().map(magnitude_bits).fold(largest, u32::max);
        }
        f32::from_bits(largest)
    }
}

struct StepUpdate<'a> {
    rate: f32,
    average_step: f32,
    step: &'a mut [f32],
    weights: &'a mut [f32],
    average: &'a mut [f32],
}

impl Loop<f32> for StepUpdate<'_> {
    #[inline(always)]
    fn run(self) -> f32 {
        let mut largest = 0;
        for ((w, a), u) in self.weights.iter_mut().zip(self.average).zip(self.step) {
            *w -= self.rate * *u;
            *a += self.average_step * (*w - *a);
            *u = *w;
            largest = [*w, *a].into_iter().map(magnitude_bits).fold(largest, u32::max);
        }
        f32::from_bits(largest)
    }
}

struct NesterovStep<'a> {
    momentum: f32,
    decay: f32,
    weights: &'a [f32],
    gradient: &'a mut [f32],
    velocity: &'a mut [f32],
}

impl Loop for NesterovStep<'_> {
    #[inline(always)]
    fn run(self) {
        for ((g, v), w) in self.gradient.iter_mut().zip(self.velocity).zip(self.weights) {
            let decayed = *g + self.decay * *w;
            *v = self.momentum * *v + decayed;
            *g = decayed + self.momentum * *v;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Guarded, all_isas, assert_close, random};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_step_is_that_of_the_formula(
            // Around vectors; the biases and the last blocks of GoogLeNet's tensors, and a whole block of 1
            // MiB.
            len in prop_oneof![
                12 => 0..70usize,
                4 => prop::sample::select(vec![192usize, 208, 1000, 1024, 9408, 36_864, 110_592]),
                1 => Just((1 << 18) as usize),
            ],
            rate in 0f32..1.0, momentum in 0f32..1.0, decay in 0f32..0.1, average_step in 0f32..=1.0,
            ahead in 0f32..10.0,
            seed: u32,
        ) {
            let update = Update { rate, momentum, decay };
            let start = [0, 1, 2, 3].map(|array| random(len, u64::from(seed) << 2 | array));
            let mut expected: [Vec<f32>; 4] = Default::default();
            let [gradient, weights, velocity, average] = &start;
            for (((g, w), v), a) in gradient.iter().zip(weights).zip(velocity).zip(average) {
                let [g, w, v, a] = [*g, *w, *v, *a].map(f64::from);
                let v = f64::from(momentum) * v + g + f64::from(decay) * w;
                let w = w - f64::from(rate) * v;
                let a = a + f64::from(average_step) * (w - a);
                for (expected, value) in expected.iter_mut().zip([w, v, a, w - f64::from(ahead) * v]) {
                    expected.push(value as f32);
                }
            }
            for isa in all_isas::<f32>() {
                for carry in [false, true] {
                    let mut arrays = [1, 2, 3, 0].map(|array: usize| {
                        let mut guarded = Guarded::<f32>::new(len, 0.0);
                        guarded.values().copy_from_slice(&start[array]);
                        guarded
                    });
                    let [w, v, a, g] = &mut arrays;
                    let written = if carry {
                        let state = State { weights: w.values(), velocity: v.values(), average: a.values() };
                        let largest =
                            momentum_update_ahead(isa, &update, average_step, ahead, g.values(), state);
                        let held = [&mut *w, &mut *v, &mut *a].into_iter().flat_map(|array| array.values().to_vec());
                        let expected = held.fold(0.0, |largest: f32, value| largest.max(value.abs()));
                        prop_assert_eq!(largest, expected, "{}", isa.name());
                        4
                    } else {
                        momentum_update(isa, &update, g.values(), w.values(), v.values());
                        2
                    };
                    for (array, expected) in arrays.iter_mut().zip(&expected).take(written) {
                        let name = format!("update of {len}, {}", isa.name());
                        array.check(&name);
                        assert_close(&name, array.values(), expected, 1e-5, 1.0);
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn steps_of_workers_are_those_of_the_formula(
            len in prop_oneof![12 => 0..70usize, 4 => prop::sample::select(vec![192usize, 1000, 9408, 36_864])],
            rate in 0f32..1.0, momentum in 0f32..1.0, decay in 0f32..0.1, average_step in 0f32..=1.0,
            seed: u32,
        ) {
            let start = [0, 1, 2, 3].map(|array| random(len, u64::from(seed) << 2 | array));
            let mut expected: [Vec<f32>; 4] = Default::default();
            let [gradient, weights, velocity, average] = &start;
            for (((g, w), v), a) in gradient.iter().zip(weights).zip(velocity).zip(average) {
                let [g, w, v, a] = [*g, *w, *v, *a].map(f64::from);
                let g = g + f64::from(decay) * w;
                let v = f64::from(momentum) * v + g;
                let u = g + f64::from(momentum) * v;
                let w = w - f64::from(rate) * u;
                let a = a + f64::from(average_step) * (w - a);
                for (expected, value) in expected.iter_mut().zip([u, w, v, a]) {
                    expected.push(value as f32);
                }
            }
            for isa in all_isas::<f32>() {
                let name = format!("a worker's step of {len}, {}", isa.name());
                let mut arrays = [0, 1, 2, 3].map(|array: usize| {
                    let mut guarded = Guarded::<f32>::new(len, 0.0);
                    guarded.values().copy_from_slice(&start[array]);
                    guarded
                });
                let [g, w, v, a] = &mut arrays;
                nesterov_step(isa, momentum, decay, w.values(), g.values(), v.values());
                assert_close(&name, g.values(), &expected[0], 1e-5, 1.0);
                let largest = step_update(isa, rate, average_step, g.values(), w.values(), a.values());
                prop_assert_eq!(g.values(), w.values());
                let held = [&mut *w, &mut *a].into_iter().flat_map(|array| array.values().to_vec());
                prop_assert_eq!(largest, held.fold(0.0, |largest: f32, value| largest.max(value.abs())));
                for (array, expected) in arrays.iter_mut().zip(&expected).skip(1) {
                    array.check(&name);
                    assert_close(&name, array.values(), expected, 1e-5, 1.0);
                }
            }
        }
    }

    /// One value that overflows, in the weights, the velocity or the average, shows in what the update
    /// returns.
    #[test]
    fn what_overflows_in_an_update_is_told() {
        let update = Update { rate: 0.5, momentum: 0.9, decay: 0.0 };
        for isa in all_isas::<f32>() {
            for (array, place, finite) in [(0, 16, true), (0, 3, false), (1, 31, false), (2, 32, false)] {
                let mut arrays = [1, 2, 3].map(|array| random(40, array));
                arrays[array][place] = if finite { 1e30 } else { f32::NAN };
                let [weights, velocity, average] = &mut arrays;
                let state = State { weights, velocity, average };
                let largest = momentum_update_ahead(isa, &update, 0.5, 0.0, &mut random(40, 4), state);
                let name = isa.name();
                assert_eq!(largest.is_finite(), finite, "array {array}, {name}: {largest}");
                assert!(!finite || largest == 1e30, "{name}: {largest}");
            }
            let (mut weights, mut velocity, mut average) = (vec![0.0; 40], vec![3e38; 40], vec![0.0; 40]);
            let state = State { weights: &mut weights, velocity: &mut velocity, average: &mut average };
            let largest = momentum_update_ahead(isa, &update, 0.5, 0.0, &mut [3e38; 40], state);
            assert_eq!(largest, f32::INFINITY, "{}", isa.name());
        }
    }

    #[test]
    fn three_steps_are_those_of_torch_optim_sgd() {
        // torch.optim.SGD([w], lr=0.1, momentum=0.9, weight_decay=0.01) from w = 1, by hand: per step the
        // gradient, then w and v; the average takes half of each new w.
        let steps = [
            (0.5_f32, 0.949, 0.51, 0.9745),
            (-0.25, 0.927151, 0.21849, 0.9508255),
            (0.125, 0.894059749, 0.33091251, 0.9224426245),
        ];
        let update = Update { rate: 0.1, momentum: 0.9, decay: 0.01 };
        for isa in all_isas::<f32>() {
            for len in [0, 1, 15, 16, 17, 31, 33, 100] {
                let mut weights = vec![1.0; len];
                let mut velocity = vec![0.0; len];
                let mut average = vec![1.0; len];
                for (gradient, w, v, a) in steps {
                    let mut gradient = vec![gradient; len];
                    let state =
                        State { weights: &mut weights, velocity: &mut velocity, average: &mut average };
                    momentum_update_ahead(isa, &update, 0.5, 0.0, &mut gradient, state);
                    assert_eq!(gradient, weights);
                    for (found, expected) in [(&weights, w), (&velocity, v), (&average, a)] {
                        for &found in found {
                            assert!(
                                (f64::from(found) - expected).abs() < 2e-7,
                                "{}: {found}, {expected}",
                                isa.name()
                            );
                        }
                    }
                }
            }
        }
    }
}
