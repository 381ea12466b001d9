//! The comparison of the gradients of a minibatch's two halves, which tells how noisy gradients are.

use kernels::{Isa, dot, magnitudes};
use protocol::GradientNorms;

/// Number of minibatches of which one is compared. The comparison costs half a step, which makes 1.6 % of all.
const EVERY: u64 = 32;

/// The comparison of the gradients of the two halves of a minibatch, for one minibatch in 32.
///
/// Both halves see the same parameters and different images. Their gradients are therefore the same mean
/// gradient with different noise, and their product has the squared norm of the mean gradient as its
/// expectation (McCandlish et al., "An Empirical Model of Large-Batch Training", 2018, appendix A, estimates
/// it from norms alone; the product varies less).
pub struct Halves {
    isa: Isa,
    minibatches: u64,
    /// Mean gradient of the first half.
    first: Vec<f32>,
}

impl Halves {
    /// Creates the comparison for gradients of `values` values.
    pub fn new(values: usize, isa: Isa) -> Halves {
        Halves { isa, minibatches: 0, first: vec![0.0; values] }
    }

    /// Counts a minibatch of `samples` samples. If it is one to compare, returns the number of samples in its
    /// first half, and the buffer that their mean gradient is to be computed into.
    pub fn begin(&mut self, samples: usize) -> Option<(usize, &mut [f32])> {
        self.minibatches += 1;
        (self.minibatches % EVERY == 0 && samples > 1).then(|| (samples / 2, &mut self.first[..]))
    }

    /// Returns the norms of a minibatch's mean gradient over all its samples, given the gradient of the first
    /// half in the buffer that [`Self::begin`] returned. All norms are 0 if a gradient is not finite.
    pub fn compare(&self, samples: usize, gradient: &[f32]) -> GradientNorms {
        let (all, half) = (samples as f64, (samples / 2) as f64);
        // The second half's gradient is what is left of the whole, so that it need not be computed.
        let product = all * dot(self.isa, &self.first, gradient);
        let common = (product - half * magnitudes(self.isa, &self.first).sum_of_squares) / (all - half);
        let squared = magnitudes(self.isa, gradient).sum_of_squares;
        // The shards refuse and count a gradient that is not finite; it says nothing about noise.
        match squared.is_finite() && common.is_finite() {
            true => GradientNorms { minibatches: 1, squared, common },
            false => GradientNorms::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_of_the_halves_is_computed_from_one_and_the_whole() {
        let mut halves = Halves::new(2, Isa::detect());
        assert!((1..EVERY).all(|_| halves.begin(5).is_none()));
        let (count, first) = halves.begin(5).unwrap();
        assert_eq!(count, 2);
        first.copy_from_slice(&[1.0, 2.0]);
        // The other three samples have the mean [3, -1].
        let norms = halves.compare(5, &[2.2, 0.2]);
        assert!((norms.common - 1.0).abs() < 1e-6, "{norms:?}");
        assert!((norms.squared - 4.88).abs() < 1e-6, "{norms:?}");
        assert_eq!(norms.minibatches, 1);
        assert_eq!(halves.compare(5, &[f32::NAN, 0.0]), GradientNorms::default());
    }

    #[test]
    fn a_single_sample_has_no_halves() {
        let mut halves = Halves::new(1, Isa::detect());
        assert!((0..2 * EVERY).all(|_| halves.begin(1).is_none()));
    }
}
