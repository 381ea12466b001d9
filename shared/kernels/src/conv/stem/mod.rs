//! The stem, a network's first convolution: few input channels in planar order, a large kernel, a stride.

mod amx;
mod forward;
mod gradient;
mod passes;
mod reference;

pub(crate) use passes::Entries;

use super::ConvolutionParameters;
use crate::context::Context;
use crate::gradients::ParameterGradients;
use crate::isa::Isa;
use crate::map::{Map, MapMut, blocks};
use crate::planes::Planes;
use crate::pool::Pool;
use crate::value::Value;
use std::ops::Range;

/// A network's first convolution: it has a stride, reads planar images `[image][channel][y][x]` of at most 4
/// channels and writes a map in blocks of 16 channels. For maps of bf16, images and weights are rounded to
/// bf16 as well, except in the scalar reference.
///
/// Weights are `[output channel][input channel][y][x]`. There is no input gradient, since no layer comes
/// before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stem {
    /// Channels of the image, at most 4.
    pub input_channels: usize,
    /// Channels of the output.
    pub output_channels: usize,
    /// Side of the square kernel in pixels.
    pub kernel: usize,
    /// Distance in image pixels between neighbouring outputs.
    pub stride: usize,
    /// Rows and columns of zeros on every side of the image.
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

    /// Number of weights, `O x I x K x K` (output channels, input channels, kernel rows, kernel columns).
    pub fn weights_len(&self) -> usize {
        self.output_channels * self.taps()
    }

    /// Number of floats that [`Stem::pack_forward`] fills for maps of `T` on `isa`; two bf16 weights share
    /// the memory of one float.
    pub fn packed_len<T: Value>(&self, isa: Isa) -> usize {
        if isa == Isa::scalar() {
            return self.weights_len();
        }
        T::floats(match isa.amx::<T>() {
            Some(_) => amx::packed_len(self),
            None => forward::packed_len::<T>(self),
        })
    }

    /// Rearranges `weights`, `[output channel][input channel][y][x]`, into `packed`, in the order and number
    /// type in which [`Stem::forward`] reads them on `isa` to compute maps of `T`.
    ///
    /// # Panics
    /// If the length of `weights` is not [`Stem::weights_len`] or that of `packed` not [`Stem::packed_len`].
    pub fn pack_forward<T: Value>(&self, isa: Isa, weights: &[f32], packed: &mut [f32]) {
        (T::entries().stem.pack_forward)(self, isa, weights, packed);
    }

    /// Number of floats of scratch memory that suffice for [`Stem::forward`] and for
    /// [`Stem::backward_weights`] on images of `height` and `width` pixels; the memory's contents do not
    /// matter.
    pub fn scratch_len<T: Value>(&self, isa: Isa, pool: &Pool, height: usize, width: usize) -> usize {
        if isa.amx::<T>().is_some() {
            let forward = amx::scratch_of_thread(self, height, width) * pool.threads();
            return forward.max(amx::gradient_scratch_len(self, pool, height, width));
        }
        if isa == Isa::scalar() {
            return 0;
        }
        let (forward, gradient) =
            (forward::scratch::<T>(self, height, width), gradient::scratch::<T>(self, height, width));
        forward.max(gradient) * pool.threads()
    }

    /// Computes the convolution of the images plus bias, followed by ReLU if `relu`; lanes of the output's
    /// last block that have no channel become zero.
    ///
    /// # Panics
    /// If the images have more than 4 channels, a map or slice has the wrong size, or the scratch memory is
    /// too small.
    pub fn forward<T: Value>(
        &self,
        context: Context,
        images: PlanarImages,
        parameters: ConvolutionParameters,
        relu: bool,
        output: MapMut<T>,
    ) {
        (T::entries().stem.forward)(self, context, images, parameters, relu, output);
    }

    /// Computes the gradients of weights and bias, summed over all images, from the images and the gradient
    /// of the output, and writes them over `gradients`.
    ///
    /// # Panics
    /// If the images have more than 4 channels, a map or slice has the wrong size, or the scratch memory is
    /// too small.
    pub fn backward_weights<T: Value>(
        &self,
        context: Context,
        images: PlanarImages,
        output_gradient: Map<T>,
        gradients: ParameterGradients,
    ) {
        (T::entries().stem.backward_weights)(self, context, images, output_gradient, gradients);
    }

    fn check_maps<T>(&self, images: PlanarImages, output: &Map<T>) {
        let PlanarImages { values, batch, height, width } = images;
        assert!(self.input_channels <= 4, "expected at most 4 channels, found {}", self.input_channels);
        assert_eq!(values.len(), batch * self.input_channels * height * width, "input of {self:?}");
        assert_eq!(output.count, blocks(self.output_channels), "output blocks of {self:?}");
        let expected = (batch, self.output_size(height), self.output_size(width));
        let found = (output.shape.batch, output.shape.height, output.shape.width);
        assert_eq!(found, expected, "batch, height, width of the output of {self:?}");
    }
}

/// The planar images of a minibatch, `[image][channel][y][x]`.
#[derive(Clone, Copy, Debug)]
pub struct PlanarImages<'a> {
    /// Values of all images, `[image][channel][y][x]`.
    pub values: &'a [f32],
    /// Number of images.
    pub batch: usize,
    /// Height of each image in pixels.
    pub height: usize,
    /// Width of each image in pixels.
    pub width: usize,
}

/// A channel of an image in its padding.
#[derive(Clone, Copy)]
struct PaddedChannel<'a> {
    stem: &'a Stem,
    images: PlanarImages<'a>,
    /// Number of the channel, counted over all images.
    plane: usize,
}

impl<'a> PaddedChannel<'a> {
    /// A row, counted from the padding on; none in the padding.
    #[inline(always)]
    fn row(&self, row: usize) -> Option<&'a [f32]> {
        let PlanarImages { values, height, width, .. } = self.images;
        let y = row.checked_sub(self.stem.padding).filter(|y| *y < height)?;
        Some(&values[(self.plane * height + y) * width..][..width])
    }
}

/// A forward pass: the arguments of the kernels.
struct Pass<'a, T> {
    stem: &'a Stem,
    images: PlanarImages<'a>,
    packed: &'a [T],
    bias: &'a [f32],
    relu: bool,
    output: Planes<'a, T>,
    /// Height and width of the output.
    size: [usize; 2],
}

impl<'a, T: Value> Pass<'a, T> {
    /// Whether there is no output.
    fn is_empty(&self) -> bool {
        self.images.batch * self.size[0] * self.size[1] == 0
    }

    /// Returns a range of pixels of an output block, counted along the rows.
    ///
    /// # Safety
    /// See [`Planes::pixels`].
    #[inline(always)]
    unsafe fn pixels(&self, image: usize, block: usize, pixels: Range<usize>) -> &'a mut [T] {
        // SAFETY: the caller's promise.
        unsafe { self.output.pixels(image, block, pixels) }
    }
}
