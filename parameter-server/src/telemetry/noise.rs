//! The gradient noise scale of a run, and how many of its workers are useful.
//!
//! The gradient of a minibatch of `b` images is the mean gradient and noise, whose squared norm falls as
//! `1 / b`. The gradient noise scale `B` is the `b` at which both are equally long (McCandlish et al., "An
//! Empirical Model of Large-Batch Training", 2018). Below it more images in an update make the update better;
//! above it they hardly do. `N` workers put `N b` images where one puts `b`, and so train as `N / (1 + (N - 1)
//! b / B)` workers would if noise cost nothing.
//!
//! Workers measure it in evaluations: the product of the gradients of a minibatch's two halves has no noise in
//! it, as their images are drawn independently of each other. The gradients are those at the averaged
//! parameters. The last iterate swings about the average along the steepest directions, which makes its
//! gradients long and alike, and the noise seem ten times smaller than it is to a run's progress.

use protocol::{GradientNorms, StepMetrics};

/// Number of compared minibatches over which the scale is a running mean: what an earlier one adds to the sums
/// fades by a factor of e as so many follow it.
const REMEMBERED: f64 = 64.0;

/// Number of compared minibatches from which on the scale is known.
const FEWEST: f64 = 16.0;

/// Gain of one more worker, in workers, below which more of them only cost.
const LEAST_GAIN: f64 = 0.2;

/// Measure of the gradient noise of a run: running sums over minibatches, of all workers, in which the
/// gradients of the two halves were compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Noise {
    minibatches: f64,
    squared: f64,
    common: f64,
}

impl Noise {
    /// Adds `norms`, the sums over further compared minibatches; the sums so far fade by a factor of e for
    /// every 64 minibatches that are added.
    pub fn add(&mut self, norms: &GradientNorms) {
        let kept = (-(norms.minibatches as f64) / REMEMBERED).exp();
        let faded = |sum: f64, new: f64| (kept * sum + new).clamp(f64::MIN, f64::MAX);
        self.minibatches = faded(self.minibatches, norms.minibatches as f64);
        self.squared = faded(self.squared, norms.squared);
        self.common = faded(self.common, norms.common);
    }

    /// Returns the gradient noise scale: the number of images in a minibatch whose gradient is half noise.
    /// `batch` is the mean number of images in the run's minibatches. Returns `None` until about 16
    /// minibatches were compared, and while the gradients of their halves have nothing in common.
    pub fn scale(&self, batch: f64) -> Option<f64> {
        let scale = batch * (self.squared - self.common) / self.common;
        (self.minibatches >= FEWEST && self.common > 0.0 && scale.is_finite()).then_some(scale.max(0.0))
    }
}

/// Returns the number of workers that, if gradient noise cost nothing, would train as fast as `workers` do
/// with minibatches of `batch` images at the gradient noise scale `scale` (the number of images in a
/// minibatch whose gradient is half noise).
pub fn useful(workers: u32, batch: f64, scale: f64) -> f64 {
    let workers = f64::from(workers.max(1));
    workers / (1.0 + (workers - 1.0) * batch / scale.max(batch))
}

/// Returns a text that advises to take fewer than `workers` workers, if the last one adds less than 0.2 of a
/// worker's speed. `batch` is the mean number of images in a minibatch, `scale` the gradient noise scale (the
/// number of images in a minibatch whose gradient is half noise).
pub fn advice(workers: u32, batch: f64, scale: f64) -> Option<String> {
    let (all, fewer) = (useful(workers, batch, scale), useful(workers.saturating_sub(1), batch, scale));
    (workers > 1 && all - fewer < LEAST_GAIN).then(|| {
        format!(
            "useful workers: {all:.1} of {workers}; at a gradient noise scale of {scale:.0} images and minibatches of \
             {batch:.0} each of the last workers gains less than {LEAST_GAIN} of one: fewer workers, or smaller \
             minibatches, would train nearly as fast"
        )
    })
}

/// Returns the mean size, in images, of the minibatches that `metrics` sums over.
pub fn batch(metrics: &StepMetrics) -> f64 {
    metrics.images as f64 / metrics.steps.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(minibatches: u64, squared: f64, common: f64) -> Noise {
        let mut noise = Noise::default();
        noise.add(&GradientNorms { minibatches, squared, common });
        noise
    }

    #[test]
    fn the_scale_is_where_noise_is_as_long_as_the_mean() {
        // Of 100 minibatches of 16 images: 1 of the mean, 4 of noise, so that 64 images have as much of either.
        assert_eq!(noise(100, 500.0, 100.0).scale(16.0), Some(64.0));
        assert_eq!(noise(10, 50.0, 10.0).scale(16.0), None, "too few to tell");
        assert_eq!(noise(100, 500.0, -1.0).scale(16.0), None, "nothing in common");
        assert_eq!(noise(100, f64::MAX, 1e-300).scale(16.0), None);
        assert_eq!(noise(100, 90.0, 100.0).scale(16.0), Some(0.0));
        let mut fading = noise(100, 500.0, 100.0);
        (0..20).for_each(|_| fading.add(&GradientNorms { minibatches: 50, squared: 100.0, common: 50.0 }));
        assert!((fading.scale(16.0).unwrap() - 16.0).abs() < 1e-3);
    }

    #[test]
    fn workers_are_useful_up_to_the_noise_scale() {
        assert_eq!(useful(1, 16.0, 256.0), 1.0);
        for (workers, expected) in [(4, 3.4), (8, 5.6), (16, 8.3), (64, 13.0)] {
            let found = useful(workers, 16.0, 256.0);
            assert!((found - expected).abs() < 0.06, "{workers}: {found}, expected {expected}");
        }
        assert_eq!(useful(8, 16.0, 0.0), 1.0, "without noise a worker has all there is");
    }

    #[test]
    fn more_workers_than_gain_anything_are_told() {
        assert_eq!(advice(1, 16.0, 1.0), None);
        assert_eq!(advice(8, 16.0, 256.0), None);
        let text = advice(64, 16.0, 256.0).unwrap();
        assert!(
            text.starts_with("useful workers: 13.0 of 64; at a gradient noise scale of 256 images"),
            "{text}"
        );
    }
}
