//! Local response normalisation across channels (Krizhevsky et al. 2012; in GoogLeNet after the first
//! max pool and before the second).
//!
//! With `s_c = k + alpha/size * sum of x_j^2` over the `size` channels `j` around `c`, clipped at the
//! first and the last channel:
//!
//! ```text
//! y_c  = x_c * s_c^-beta
//! dx_c = dy_c * s_c^-beta - 2 alpha/size beta x_c * sum of dy_j x_j s_j^(-beta-1)   (same window)
//! ```

mod reference;
#[cfg(test)]
mod tests;

use crate::Isa;
use crate::Pool;
use crate::map::{LANES, Map, MapMut, blocks};

/// The normalisation's constants. BVLC's GoogLeNet: size 5, alpha 1e-4, beta 0.75, k 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lrn {
    /// Channels in a window, odd, at most 31.
    pub size: usize,
    /// Weight of a full window's sum of squares; each square weighs `alpha / size`, also where the window
    /// is clipped.
    pub alpha: f32,
    /// Exponent; only 0.75, which needs nothing but square roots.
    pub beta: f32,
    /// What the scale is for a window of zeros.
    pub k: f32,
}

impl Lrn {
    /// Normalises the first `channels` channels of the map; lanes behind them become zero.
    pub fn forward(&self, _isa: Isa, _pool: &Pool, input: Map, channels: usize, output: MapMut) {
        self.check(&input, channels, &output);
        reference::forward(self, input, channels, output);
    }

    /// Gradient by the input, overwriting `input_gradient`; computes the scales again from `input`.
    pub fn backward(
        &self,
        _isa: Isa,
        _pool: &Pool,
        input: Map,
        output_gradient: Map,
        channels: usize,
        input_gradient: MapMut,
    ) {
        self.check(&input, channels, &input_gradient);
        self.check(&output_gradient, channels, &input_gradient);
        reference::backward(self, input, output_gradient, channels, input_gradient);
    }

    fn check(&self, from: &Map, channels: usize, to: &MapMut) {
        assert!(
            self.size % 2 == 1 && self.size / 2 < LANES && self.beta == 0.75,
            "normalisation: expected an odd size of at most 31 and beta 0.75, found {self:?}"
        );
        let expected = (from.shape.batch, blocks(channels), from.shape.height, from.shape.width);
        for (shape, count) in [(from.shape, from.count), (to.shape, to.count)] {
            let found = (shape.batch, count, shape.height, shape.width);
            assert!(
                expected == found,
                "normalisation of {channels} channels: expected maps of (batch, blocks, height, width) \
                 {expected:?}, found {found:?}"
            );
        }
    }
}
