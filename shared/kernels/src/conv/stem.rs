//! The network's first convolution: a planar image of few channels, large kernel, stride.

use super::reference::bias_gradient_of;
use crate::isa::Isa;
use crate::map::{LANES, Map, MapMut, blocks};
use crate::pool::Pool;

/// A strided convolution that reads a planar image `[n][c][y][x]` of at most 4 channels and writes a blocked map.
///
/// Weights are `[output channel][input channel][y][x]`. There is no gradient by the input: nothing lies below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stem {
    /// Channels of the image, at most 4.
    pub input_channels: usize,
    /// Channels of the output.
    pub output_channels: usize,
    /// Height and width of the kernel.
    pub kernel: usize,
    /// Distance of neighbouring outputs in the image.
    pub stride: usize,
    /// Rows and columns of zeros around the image.
    pub padding: usize,
}

impl Stem {
    /// Output rows (columns) for `len` rows (columns) of the image.
    pub fn output_size(&self, len: usize) -> usize {
        (len + 2 * self.padding).checked_sub(self.kernel).map_or(0, |room| room / self.stride + 1)
    }

    fn taps(&self) -> usize {
        self.input_channels * self.kernel * self.kernel
    }

    /// Values of the weights, `O x I x K x K`.
    pub fn weights_len(&self) -> usize {
        self.output_channels * self.taps()
    }

    /// Values of the packed weights.
    pub fn packed_len(&self) -> usize {
        blocks(self.output_channels) * LANES * self.taps()
    }

    /// Packs weights for [`Stem::forward`] on `isa`.
    pub fn pack_forward(&self, isa: Isa, pool: &Pool, weights: &[f32], packed: &mut [f32]) {
        assert_eq!(weights.len(), self.weights_len(), "weights of {self:?}");
        assert_eq!(packed.len(), self.packed_len(), "packed weights of {self:?}");
        _ = (isa, pool);
        packed[..weights.len()].copy_from_slice(weights);
    }

    /// Values of scratch memory that the calls below need for images of this size; contents do not matter.
    pub fn scratch_len(&self, isa: Isa, pool: &Pool, height: usize, width: usize) -> usize {
        _ = (isa, pool, height, width);
        0
    }

    /// Writes the convolution of `batch` images plus bias, cut at zero if `relu`, to `output`; the lanes that pad its
    /// last block become zero.
    #[expect(clippy::too_many_arguments, reason = "what a convolution takes")]
    pub fn forward(
        &self,
        isa: Isa,
        pool: &Pool,
        batch: usize,
        input: &[f32],
        height: usize,
        width: usize,
        packed: &[f32],
        bias: &[f32],
        relu: bool,
        mut output: MapMut,
        scratch: &mut [f32],
    ) {
        self.check_maps(batch, input, height, width, &output.as_map());
        assert_eq!(packed.len(), self.packed_len(), "packed weights of {self:?}");
        assert_eq!(bias.len(), self.output_channels, "bias of {self:?}");
        _ = (isa, pool, scratch);
        let weights = &packed[..self.weights_len()];
        for image in 0..batch {
            for o in 0..output.count * LANES {
                let columns = output.shape.width;
                let plane = output.plane(image, o / LANES);
                for (pixel, value) in plane.iter_mut().skip(o % LANES).step_by(LANES).enumerate() {
                    *value = 0.0;
                    if o < self.output_channels {
                        let mut sum = f64::from(bias[o]);
                        let (y, x) = (pixel / columns, pixel % columns);
                        self.each_tap(image, height, width, y, x, |tap, position| {
                            sum += f64::from(weights[o * self.taps() + tap]) * f64::from(input[position]);
                        });
                        *value = if relu { sum.max(0.0) as f32 } else { sum as f32 };
                    }
                }
            }
        }
    }

    /// Overwrites `weight_gradient` and `bias_gradient` with the sums over all images.
    #[expect(clippy::too_many_arguments, reason = "what a convolution takes")]
    pub fn backward_weights(
        &self,
        isa: Isa,
        pool: &Pool,
        batch: usize,
        input: &[f32],
        height: usize,
        width: usize,
        output_gradient: Map,
        weight_gradient: &mut [f32],
        bias_gradient: &mut [f32],
        scratch: &mut [f32],
    ) {
        self.check_maps(batch, input, height, width, &output_gradient);
        assert_eq!(weight_gradient.len(), self.weights_len(), "weight gradient of {self:?}");
        assert_eq!(bias_gradient.len(), self.output_channels, "bias gradient of {self:?}");
        _ = (isa, pool, scratch);
        let mut sums = vec![0.0f64; self.weights_len()];
        let columns = output_gradient.shape.width;
        for image in 0..batch {
            for o in 0..self.output_channels {
                let plane = output_gradient.plane(image, o / LANES);
                for (pixel, gradient) in plane.iter().skip(o % LANES).step_by(LANES).enumerate() {
                    let (y, x) = (pixel / columns, pixel % columns);
                    self.each_tap(image, height, width, y, x, |tap, position| {
                        sums[o * self.taps() + tap] += f64::from(*gradient) * f64::from(input[position]);
                    });
                }
            }
        }
        for (gradient, sum) in weight_gradient.iter_mut().zip(sums) {
            *gradient = sum as f32;
        }
        bias_gradient_of(output_gradient, bias_gradient);
    }

    /// The taps of the output pixel `y`, `x` that read inside the image: each tap's index, and the index of what it reads.
    fn each_tap(
        &self,
        image: usize,
        height: usize,
        width: usize,
        y: usize,
        x: usize,
        mut tap: impl FnMut(usize, usize),
    ) {
        for c in 0..self.input_channels {
            for ky in 0..self.kernel {
                for kx in 0..self.kernel {
                    let (row, column) = (y * self.stride + ky, x * self.stride + kx);
                    let padding = self.padding;
                    if (padding..height + padding).contains(&row)
                        && (padding..width + padding).contains(&column)
                    {
                        let plane = (image * self.input_channels + c) * height;
                        tap(
                            (c * self.kernel + ky) * self.kernel + kx,
                            (plane + row - padding) * width + column - padding,
                        );
                    }
                }
            }
        }
    }

    fn check_maps(&self, batch: usize, input: &[f32], height: usize, width: usize, output: &Map) {
        assert!(self.input_channels <= 4, "expected at most 4 channels, found {}", self.input_channels);
        assert_eq!(input.len(), batch * self.input_channels * height * width, "input of {self:?}");
        assert_eq!(output.count, blocks(self.output_channels), "output blocks of {self:?}");
        let expected = (batch, self.output_size(height), self.output_size(width));
        let found = (output.shape.batch, output.shape.height, output.shape.width);
        assert_eq!(found, expected, "batch, height, width of the output of {self:?}");
    }
}
