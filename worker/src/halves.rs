//! The comparison of the gradients of a minibatch's two halves, which tells how noisy gradients are.

use std::ops::Range;

use kernels::{dot, sum_of_squares};
use protocol::GradientNorms;

use crate::workload::{Batch, Model, Pass};

/// Fraction of the training images since the evaluation before that an evaluation compares. Comparing an image
/// costs half as much again as training with it.
const FRACTION: u64 = 100;

/// Most images that an evaluation compares.
const MOST: u64 = 512;

/// Returns the number of training images on which an evaluation measures the noise of gradients: a hundredth
/// of the `trained` images between two evaluations, but at most 512, rounded up to whole minibatches of
/// `batch` images, at least one minibatch, and no more than `images`, those of an epoch. It is 0 where the
/// run has no average (`average_decay` 0), for gradients of the last iterate say little (it swings about the
/// average).
pub fn compared_images(trained: u64, images: u64, batch: usize, average_decay: f64) -> u64 {
    if average_decay == 0.0 {
        return 0;
    }
    let batch = batch as u64;
    ((trained / FRACTION).min(MOST).div_ceil(batch).max(1) * batch).min(images)
}

/// Returns the range of the `compared` training images that belong to a part of an evaluation, the images `part` of
/// a validation split of `validation`: whole minibatches of `batch` images, each of which belongs to one part.
pub fn compared_in_part(compared: u64, batch: usize, part: Range<u64>, validation: u64) -> Range<u64> {
    if validation == 0 {
        return 0..0;
    }
    let batch = batch as u64;
    let minibatches = u128::from(compared.div_ceil(batch));
    // The first minibatch whose place among all is not before that of an image among all.
    let first = |image: u64| (u128::from(image) * minibatches).div_ceil(u128::from(validation)) as u64;
    compared.min(first(part.start) * batch)..compared.min(first(part.end) * batch)
}

/// Computes the gradients of `batch` and of its first half with the model's parameters, without dropout and
/// without any effect on the run. Returns the squared norm of the former and the inner product of the
/// gradients of the two halves, from which the noise of gradients can be estimated.
///
/// Both halves see the same parameters and different images. Their gradients are therefore the same mean
/// gradient with different noise, and the expectation of their product is the squared norm of that mean
/// (McCandlish et al., "An Empirical Model of Large-Batch Training", 2018, appendix A, estimates it from
/// norms alone; the product varies less). The result counts no minibatch if there is only one sample, or if a
/// gradient is not finite.
pub fn compare_halves<M: Model>(model: &mut M, batch: &M::Batch) -> GradientNorms {
    let (all, half) = (batch.samples().len(), batch.samples().len() / 2);
    if half == 0 {
        return GradientNorms::default();
    }
    let mut gradient = |samples| {
        let mut gradients = vec![0.0; model.layout().len()];
        model.train(batch, Pass { samples, dropout: None, gradients: &mut gradients, ready: &mut |_, _| {} });
        gradients
    };
    let (first, whole) = (gradient(half), gradient(all));
    let isa = model.isa();
    let (all, half) = (all as f64, half as f64);
    // The second half's gradient is what is left of the whole, so that it need not be computed.
    let product = all * dot(isa, &first, &whole) - half * sum_of_squares(isa, &first);
    let (squared, common) = (sum_of_squares(isa, &whole), product / (all - half));
    match squared.is_finite() && common.is_finite() {
        true => GradientNorms { minibatches: 1, squared, common },
        false => GradientNorms::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::one_tensor;
    use network::Losses;
    use parameters::Layout;
    use protocol::{Scores, WorstMistakes};

    /// A minibatch whose samples are their own gradients.
    struct Gradients(Vec<[f32; 2]>, Vec<u32>);

    impl Batch for Gradients {
        fn samples(&self) -> &[u32] {
            &self.1
        }

        fn skipped(&self) -> &[String] {
            &[]
        }
    }

    #[derive(Clone, Copy, Default)]
    struct Nothing;

    impl crate::workload::Tally for Nothing {
        fn samples(&self) -> u64 {
            0
        }

        fn sums(&self) -> Scores {
            Scores::default()
        }
    }

    struct Mean(Layout);

    impl Model for Mean {
        type Batch = Gradients;
        type Tally = Nothing;

        fn layout(&self) -> &Layout {
            &self.0
        }

        fn load_tensor(&mut self, _: usize, _: &[f32]) {}

        fn train(&mut self, batch: &Gradients, pass: Pass<'_>) -> Losses {
            for sample in &batch.0[..pass.samples] {
                let parts = pass.gradients.iter_mut().zip(sample);
                parts.for_each(|(mean, value)| *mean += value / pass.samples as f32);
            }
            Losses { total: 0.0, main: 0.0, auxiliary: [None; 2], correct: 0, images: pass.samples }
        }

        fn score(&mut self, _: &Gradients, _: &mut Nothing, _: &mut WorstMistakes) {}
    }

    fn norms(gradients: &[[f32; 2]]) -> GradientNorms {
        let samples = (0..gradients.len() as u32).collect();
        compare_halves(&mut Mean(one_tensor(2)), &Gradients(gradients.to_vec(), samples))
    }

    #[test]
    fn the_product_of_the_halves_is_computed_from_one_and_the_whole() {
        // Two samples with the mean [1, 2], three with the mean [3, -1].
        let norms = norms(&[[0.0, 2.0], [2.0, 2.0], [3.0, 0.0], [3.0, -3.0], [3.0, 0.0]]);
        assert!((norms.common - 1.0).abs() < 1e-5, "{norms:?}");
        assert!((norms.squared - 4.88).abs() < 1e-5, "{norms:?}");
        assert_eq!(norms.minibatches, 1);
    }

    #[test]
    fn a_hundredth_of_the_images_is_compared() {
        assert_eq!(compared_images(40_000, 20_000, 16, 0.99), 400);
        assert_eq!(compared_images(4800, 2400, 32, 0.99), 64);
        assert_eq!(compared_images(2_562_334, 1_281_167, 32, 0.99), 512);
        assert_eq!(compared_images(100, 50, 16, 0.99), 16);
        assert_eq!(compared_images(100, 3, 16, 0.99), 3);
        assert_eq!(compared_images(40_000, 20_000, 16, 0.0), 0);
    }

    #[test]
    fn each_compared_minibatch_belongs_to_one_part() {
        for (compared, validation, ends) in
            [(400, 1000, vec![256, 512, 1000]), (16, 600, vec![80, 600]), (37, 5, vec![1, 2, 3, 4, 5])]
        {
            let (mut begin, mut next) = (0, 0);
            for end in ends {
                let range = compared_in_part(compared, 16, begin..end, validation);
                assert_eq!(range.start, next);
                assert!(range.end == compared || range.end.is_multiple_of(16));
                // Neither more nor less than the part's share, but for one minibatch.
                let share = compared.next_multiple_of(16) as f64 * end as f64 / validation as f64;
                assert!((range.end as f64 - share).abs() < 16.0, "{range:?}");
                (begin, next) = (end, range.end);
            }
            assert_eq!(next, compared);
        }
        assert_eq!(compared_in_part(16, 16, 0..0, 0), 0..0);
    }

    #[test]
    fn what_cannot_be_compared_counts_as_nothing() {
        assert_eq!(norms(&[[1.0, 2.0]]), GradientNorms::default());
        assert_eq!(norms(&[[1.0, 2.0], [f32::NAN, 0.0]]), GradientNorms::default());
    }
}
