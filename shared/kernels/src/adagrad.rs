//! Adagrad's step in one pass over memory: every value has a learning rate of its own, which falls as its
//! squared gradients add up.
//!
//! The step is `g = gradient + decay * w`, `s += g^2`, `w -= rate * g / sqrt(floor + s)` (Duchi, Hazan and
//! Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", 2011, with the
//! constant under the root). The form without decay is that of DistBelief (Dean et al., "Large Scale
//! Distributed Deep Networks", 2012, section 4.1); with it, that of `torch.optim.Adagrad`, whose
//! `initial_accumulator_value` is `floor` and whose `eps` is 0.

use crate::Isa;
use crate::elementwise::magnitude_bits;
use crate::simd::{Loop, dispatch};

/// The factors of one Adagrad step of a parameter block (a piece of one tensor).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdagradUpdate {
    /// Learning rate of this update, with the multiplier of the block's tensor included.
    pub rate: f32,
    /// Weight decay: the multiple of the weight that is added to its gradient, with the multiplier of the
    /// block's tensor included.
    pub decay: f32,
    /// Constant above 0 that is added to the sum of squared gradients before the root is taken.
    pub floor: f32,
}

/// State of one parameter block (a piece of one tensor) on a parameter server that updates by Adagrad: slices
/// of equal length.
#[derive(Debug)]
pub struct AdagradState<'a> {
    /// Weights of the block.
    pub weights: &'a mut [f32],
    /// For each weight, the sum of its squared gradients, with weight decay, over all updates; never
    /// negative.
    pub squares: &'a mut [f32],
    /// Running average of the weights.
    pub average: &'a mut [f32],
}

/// Updates one parameter block (a piece of one tensor) of a parameter server by Adagrad,
/// `g = gradient + decay * w`, `s += g^2`, `w -= rate * g / sqrt(floor + s)`, and then its running average,
/// `a += average_step * (w - a)`. Here `w`, `s` and `a` are the weights, squares and average of `state`.
/// Overwrites the gradient with the new weights.
///
/// Returns the largest of the absolute weights and averages and of the roots `sqrt(floor + s)` that the block
/// now holds, found in the same pass: NaN if any of them is NaN, else infinite if any is.
///
/// # Panics
/// If the slices differ in length.
pub fn adagrad_update(
    isa: Isa,
    update: &AdagradUpdate,
    average_step: f32,
    gradient: &mut [f32],
    state: AdagradState,
) -> f32 {
    let expected = gradient.len();
    for found in [&state.weights, &state.squares, &state.average] {
        assert_eq!(found.len(), expected, "adagrad: values of a block beside its gradient");
    }
    dispatch(isa, Step { update: *update, average_step, gradient, state })
}

struct Step<'a> {
    update: AdagradUpdate,
    average_step: f32,
    gradient: &'a mut [f32],
    state: AdagradState<'a>,
}

impl Loop<f32> for Step<'_> {
    #[inline(always)]
    fn run(self) -> f32 {
        let AdagradUpdate { rate, decay, floor } = self.update;
        let AdagradState { weights, squares, average } = self.state;
        let mut largest = 0;
        for (((w, s), a), g) in weights.iter_mut().zip(squares).zip(average).zip(self.gradient) {
            let decayed = *g + decay * *w;
            *s += decayed * decayed;
            let root = (floor + *s).sqrt();
            *w -= rate * decayed / root;
            *a += self.average_step * (*w - *a);
            *g = *w;
            largest = [*w, root, *a].into_iter().map(magnitude_bits).fold(largest, u32::max);
        }
        f32::from_bits(largest)
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
            // Around vectors; a bias, a last block, and a whole block of 1 MiB.
            len in prop_oneof![
                12 => 0..70usize,
                4 => prop::sample::select(vec![192usize, 1000, 9408, 110_592]),
                1 => Just((1 << 18) as usize),
            ],
            rate in 0f32..1.0, decay in 0f32..0.1, floor in 1e-3f32..1.0, average_step in 0f32..=1.0,
            seed: u32,
        ) {
            let update = AdagradUpdate { rate, decay, floor };
            let mut start = [0, 1, 2, 3].map(|array| random(len, u64::from(seed) << 2 | array));
            start[2].iter_mut().for_each(|square| *square = square.abs());
            let mut expected: [Vec<f32>; 4] = Default::default();
            let mut held = 0f64;
            let [gradient, weights, squares, average] = &start;
            for (((g, w), s), a) in gradient.iter().zip(weights).zip(squares).zip(average) {
                let [g, w, s, a] = [*g, *w, *s, *a].map(f64::from);
                let g = g + f64::from(decay) * w;
                let s = s + g * g;
                let root = (f64::from(floor) + s).sqrt();
                let w = w - f64::from(rate) * g / root;
                let a = a + f64::from(average_step) * (w - a);
                held = held.max(w.abs()).max(root).max(a.abs());
                for (expected, value) in expected.iter_mut().zip([w, s, a, w]) {
                    expected.push(value as f32);
                }
            }
            for isa in all_isas::<f32>() {
                let mut arrays = [1, 2, 3, 0].map(|array: usize| {
                    let mut guarded = Guarded::<f32>::new(len, 0.0);
                    guarded.values().copy_from_slice(&start[array]);
                    guarded
                });
                let [w, s, a, g] = &mut arrays;
                let state = AdagradState { weights: w.values(), squares: s.values(), average: a.values() };
                let largest = adagrad_update(isa, &update, average_step, g.values(), state);
                prop_assert!(
                    (f64::from(largest) - held).abs() <= 1e-5 * held.max(1.0),
                    "{}: {}, {}", isa.name(), largest, held
                );
                for (array, expected) in arrays.iter_mut().zip(&expected) {
                    let name = format!("adagrad of {len}, {}", isa.name());
                    array.check(&name);
                    assert_close(&name, array.values(), expected, 1e-5, 1.0);
                }
            }
        }
    }

    /// One value that overflows, in the weights, the squares or the average, shows in what the update
    /// returns.
    #[test]
    fn what_overflows_in_an_update_is_told() {
        let update = AdagradUpdate { rate: 0.5, decay: 0.0, floor: 0.1 };
        for isa in all_isas::<f32>() {
            let name = isa.name();
            for (array, place) in [(0, 3), (1, 31), (2, 32)] {
                let mut arrays = [1, 2, 3].map(|array| random(40, array));
                arrays[1].iter_mut().for_each(|square| *square = square.abs());
                arrays[array][place] = f32::NAN;
                let [weights, squares, average] = &mut arrays;
                let state = AdagradState { weights, squares, average };
                let largest = adagrad_update(isa, &update, 0.5, &mut random(40, 4), state);
                assert!(largest.is_nan(), "array {array}, {name}: {largest}");
            }
            let (mut weights, mut squares, mut average) = (vec![0.0; 40], vec![3e38; 40], vec![0.0; 40]);
            let state = AdagradState { weights: &mut weights, squares: &mut squares, average: &mut average };
            assert_eq!(adagrad_update(isa, &update, 0.5, &mut [1e19; 40], state), f32::INFINITY, "{name}");
        }
    }

    #[test]
    fn three_steps_are_those_of_torch_optim_adagrad() {
        // torch.optim.Adagrad([w], lr=0.1, weight_decay=0.01, initial_accumulator_value=0.1, eps=0) from
        // w = 1, by hand: per step the gradient, then w and the sum; the average takes half of each new w.
        let steps = [
            (0.5_f32, 0.9150118031, 0.2601000000, 0.9575059015),
            (-0.25, 0.9522597083, 0.3181086656, 0.9548828049),
            (0.125, 0.9318916361, 0.3362049948, 0.9433872205),
        ];
        let update = AdagradUpdate { rate: 0.1, decay: 0.01, floor: 0.1 };
        for isa in all_isas::<f32>() {
            for len in [0, 1, 15, 16, 17, 31, 33, 100] {
                let (mut weights, mut squares, mut average) =
                    (vec![1.0; len], vec![0.0; len], vec![1.0; len]);
                for (gradient, w, s, a) in steps {
                    let mut gradient = vec![gradient; len];
                    let state =
                        AdagradState { weights: &mut weights, squares: &mut squares, average: &mut average };
                    adagrad_update(isa, &update, 0.5, &mut gradient, state);
                    assert_eq!(gradient, weights);
                    for (found, expected) in [(&weights, w), (&squares, s), (&average, a)] {
                        for &found in found {
                            let name = isa.name();
                            assert!(
                                (f64::from(found) - expected).abs() < 2e-7,
                                "{name}: {found}, {expected}"
                            );
                        }
                    }
                }
            }
        }
    }
}
