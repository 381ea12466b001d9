//! The network's first convolution: a planar image of few channels, large kernel, stride.

mod forward;
mod gradient;
mod matrix;
mod passes;
mod reference;

pub(crate) use passes::Entries;

use crate::isa::Isa;
use crate::map::{Map, MapMut, blocks};
use crate::pool::Pool;
use crate::value::Value;

/// A strided convolution that reads a planar image `[n][c][y][x]` of at most 4 channels and writes a blocked map. For maps of
/// bf16 the image and the weights are rounded to bf16 as well, but in the scalar reference.
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

    /// Floats of the packed weights for maps of `T`.
    pub fn packed_len<T: Value>(&self, isa: Isa) -> usize {
        if isa == Isa::scalar() {
            return self.weights_len();
        }
        T::floats(match isa.matrices::<T>() {
            Some(_) => matrix::packed_len(self),
            None => forward::packed_len::<T>(self),
        })
    }

    /// Packs weights for [`Stem::forward`] on `isa`, into maps of `T`.
    pub fn pack_forward<T: Value>(&self, isa: Isa, weights: &[f32], packed: &mut [f32]) {
        (T::entries().stem.pack_forward)(self, isa, weights, packed);
    }

    /// Values of scratch memory that the calls below need for images of this size; contents do not matter.
    pub fn scratch_len<T: Value>(&self, isa: Isa, pool: &Pool, height: usize, width: usize) -> usize {
        if isa.matrices::<T>().is_some() {
            let forward = matrix::scratch_of_thread(self, height, width) * pool.threads();
            return forward.max(matrix::gradient_scratch_len(self, pool, height, width));
        }
        if isa == Isa::scalar() {
            return 0;
        }
        let (forward, gradient) =
            (forward::scratch::<T>(self, height, width), gradient::scratch::<T>(self, height, width));
        forward.max(gradient) * pool.threads()
    }

    /// Writes the convolution of `batch` images plus bias, cut at zero if `relu`, to `output`; the lanes that pad its
    /// last block become zero.
    #[expect(clippy::too_many_arguments, reason = "what a convolution takes")]
    pub fn forward<T: Value>(
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
        output: MapMut<T>,
        scratch: &mut [f32],
    ) {
        (T::entries().stem.forward)(
            self, isa, pool, batch, input, height, width, packed, bias, relu, output, scratch,
        );
    }

    /// Overwrites `weight_gradient` and `bias_gradient` with the sums over all images.
    #[expect(clippy::too_many_arguments, reason = "what a convolution takes")]
    pub fn backward_weights<T: Value>(
        &self,
        isa: Isa,
        pool: &Pool,
        batch: usize,
        input: &[f32],
        height: usize,
        width: usize,
        output_gradient: Map<T>,
        weight_gradient: &mut [f32],
        bias_gradient: &mut [f32],
        scratch: &mut [f32],
    ) {
        let (dy, dw, db) = (output_gradient, weight_gradient, bias_gradient);
        (T::entries().stem.backward_weights)(
            self, isa, pool, batch, input, height, width, dy, dw, db, scratch,
        );
    }

    fn check_maps<T>(&self, batch: usize, input: &[f32], height: usize, width: usize, output: &Map<T>) {
        assert!(self.input_channels <= 4, "expected at most 4 channels, found {}", self.input_channels);
        assert_eq!(input.len(), batch * self.input_channels * height * width, "input of {self:?}");
        assert_eq!(output.count, blocks(self.output_channels), "output blocks of {self:?}");
        let expected = (batch, self.output_size(height), self.output_size(width));
        let found = (output.shape.batch, output.shape.height, output.shape.width);
        assert_eq!(found, expected, "batch, height, width of the output of {self:?}");
    }
}

/// The planar images of a minibatch.
#[derive(Clone, Copy)]
struct Image<'a> {
    input: &'a [f32],
    height: usize,
    width: usize,
}

impl<'a> Image<'a> {
    /// A row of a channel, which is counted over all images; nothing in the padding, where rows begin.
    fn row(&self, stem: &Stem, plane: usize, row: usize) -> Option<&'a [f32]> {
        let y = row.checked_sub(stem.padding).filter(|y| *y < self.height)?;
        Some(&self.input[(plane * self.height + y) * self.width..][..self.width])
    }
}
