//! Max and average pooling with the rounding and the clipping that GoogLeNet was trained with.
//!
//! Along one side of `len` pixels there are `ceil((len + 2 padding - kernel) / stride) + 1` windows
//! (Caffe's rule: nothing of the map is left out, so the last window may hang over the border). With
//! padding, a last window that would start behind the map and its left padding is dropped. Windows are
//! clipped to the map: padding never takes part in a maximum, nor in the divisor of an average.

mod reference;

use crate::Isa;
use crate::Pool;
use crate::map::{LANES, Map, MapMut, Shape};
use std::ops::Range;

/// The windows of one side of a map.
#[derive(Clone, Copy, Debug)]
struct Windows {
    kernel: usize,
    stride: usize,
    padding: usize,
    len: usize,
}

impl Windows {
    fn new(kernel: usize, stride: usize, padding: usize, len: usize) -> Self {
        assert!(
            1 <= stride && stride <= kernel && padding < kernel,
            "pooling: expected 1 <= stride <= kernel and padding < kernel, so that no window is empty, \
             found kernel {kernel}, stride {stride}, padding {padding}"
        );
        Windows { kernel, stride, padding, len }
    }

    /// Number of windows.
    fn count(&self) -> usize {
        if self.len == 0 {
            return 0;
        }
        let padded = self.len + 2 * self.padding;
        let steps = padded.saturating_sub(self.kernel).div_ceil(self.stride);
        if self.padding > 0 && steps * self.stride >= self.len + self.padding { steps } else { steps + 1 }
    }

    /// The positions inside `window` that lie on the map.
    #[inline(always)]
    fn taps(&self, window: usize) -> Range<usize> {
        let start = window * self.stride;
        let first = self.padding.saturating_sub(start);
        first..self.kernel.min(self.len + self.padding - start)
    }

    /// The pixel under position `tap` of `window`.
    #[inline(always)]
    fn input(&self, window: usize, tap: usize) -> usize {
        window * self.stride + tap - self.padding
    }
}

/// Maximum over square windows. Of equal values the first in row-major order wins, and alone receives the
/// gradient. A NaN is greater than nothing: it only wins where it comes first in its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool {
    /// Side of the window, 1..=16.
    pub kernel: usize,
    /// Distance between windows, 1..=kernel.
    pub stride: usize,
    /// Pixels by which the first window starts before the map, less than the kernel.
    pub padding: usize,
}

impl MaxPool {
    /// Side of the output for a side of `len` input pixels.
    pub fn output_size(&self, len: usize) -> usize {
        self.windows(len).count()
    }

    /// Writes the maxima, and into `indices` (`batch x count x height x width x 16` of the output's own
    /// blocks) the winner's position inside its window, `ky * kernel + kx`.
    pub fn forward(&self, _isa: Isa, _pool: &Pool, input: Map, output: MapMut, indices: &mut [u8]) {
        self.check(input.shape, input.count, output.shape, output.count, indices.len());
        reference::max_forward(self, input, output, indices);
    }

    /// Gives each output's gradient to the pixel that `indices` names, and adds up where windows overlap.
    /// The rest becomes zero, or with `accumulate` everything is added to what is there.
    pub fn backward(
        &self,
        _isa: Isa,
        _pool: &Pool,
        output_gradient: Map,
        indices: &[u8],
        accumulate: bool,
        input_gradient: MapMut,
    ) {
        self.check(
            input_gradient.shape,
            input_gradient.count,
            output_gradient.shape,
            output_gradient.count,
            indices.len(),
        );
        reference::max_backward(self, output_gradient, indices, accumulate, input_gradient);
    }

    fn windows(&self, len: usize) -> Windows {
        assert!(
            self.kernel <= 16,
            "max pooling: expected a kernel of at most 16, found {}: a window position is one byte",
            self.kernel
        );
        Windows::new(self.kernel, self.stride, self.padding, len)
    }

    fn check(&self, from: Shape, from_count: usize, to: Shape, to_count: usize, indices: usize) {
        check_shapes(from, from_count, to, to_count, |len| self.output_size(len));
        let values = to.batch * to_count * to.height * to.width * LANES;
        assert!(
            indices == values,
            "max pooling: expected one index for each of {values} outputs, found {indices}"
        );
    }
}

/// Mean over square windows without padding; a window that hangs over the border, or a kernel larger
/// than the map, averages the pixels that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AveragePool {
    /// Side of the window, at least 1.
    pub kernel: usize,
    /// Distance between windows, 1..=kernel.
    pub stride: usize,
}

impl AveragePool {
    /// Side of the output for a side of `len` input pixels.
    pub fn output_size(&self, len: usize) -> usize {
        self.windows(len).count()
    }

    /// Writes the means.
    pub fn forward(&self, _isa: Isa, _pool: &Pool, input: Map, output: MapMut) {
        self.check(input.shape, input.count, output.shape, output.count);
        reference::average_forward(self, input, output);
    }

    /// Spreads each output's gradient evenly over its window; overwrites, or with `accumulate` adds to
    /// what is there.
    pub fn backward(
        &self,
        _isa: Isa,
        _pool: &Pool,
        output_gradient: Map,
        accumulate: bool,
        input_gradient: MapMut,
    ) {
        self.check(input_gradient.shape, input_gradient.count, output_gradient.shape, output_gradient.count);
        reference::average_backward(self, output_gradient, accumulate, input_gradient);
    }

    fn windows(&self, len: usize) -> Windows {
        Windows::new(self.kernel, self.stride, 0, len)
    }

    fn check(&self, from: Shape, from_count: usize, to: Shape, to_count: usize) {
        check_shapes(from, from_count, to, to_count, |len| self.output_size(len));
    }
}

/// Panics unless `to` is what pooling makes of `from`.
fn check_shapes(
    from: Shape,
    from_count: usize,
    to: Shape,
    to_count: usize,
    output_size: impl Fn(usize) -> usize,
) {
    let expected = (from.batch, from_count, output_size(from.height), output_size(from.width));
    let found = (to.batch, to_count, to.height, to.width);
    assert!(
        expected == found,
        "pooling of {from:?}: expected an output of (batch, blocks, height, width) {expected:?}, \
         found {found:?}"
    );
}
