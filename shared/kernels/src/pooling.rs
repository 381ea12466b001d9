//! Max and average pooling with the rounding and the clipping that GoogLeNet was trained with.
//!
//! Along one side of `len` pixels there are `ceil((len + 2 padding - kernel) / stride) + 1` windows
//! (Caffe's rule: nothing of the map is left out, so the last window may hang over the border). With
//! padding, a last window that would start behind the map and its left padding is dropped. Windows are
//! clipped to the map: padding never takes part in a maximum, nor in the divisor of an average.

mod average;
mod max;
mod reference;
#[cfg(test)]
mod tests;

pub use average::AveragePool;
pub(crate) use average::Entries as AverageEntries;
pub(crate) use max::Entries as MaxEntries;
pub use max::MaxPool;

use crate::map::Shape;
use std::ops::Range;

/// The windows of one side of a map.
#[derive(Clone, Copy, Debug)]
struct Windows {
    kernel: usize,
    stride: usize,
    padding: usize,
    /// Pixels of the side.
    len: usize,
    /// Number of windows.
    count: usize,
}

impl Windows {
    fn new(kernel: usize, stride: usize, padding: usize, len: usize) -> Self {
        assert!(
            1 <= stride && stride <= kernel && padding < kernel,
            "pooling: expected 1 <= stride <= kernel and padding < kernel, so that no window is empty, \
             found kernel {kernel}, stride {stride}, padding {padding}"
        );
        let steps = (len + 2 * padding).saturating_sub(kernel).div_ceil(stride);
        let dropped = padding > 0 && steps * stride >= len + padding;
        let count = if len == 0 { 0 } else { steps + usize::from(!dropped) };
        Windows { kernel, stride, padding, len, count }
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

    /// For every pixel the windows that it lies in.
    #[inline(always)]
    fn over(self) -> impl Iterator<Item = Range<usize>> {
        let (mut first, mut end) = (0, 0);
        (0..self.len).map(move |pixel| {
            let padded = pixel + self.padding;
            while first * self.stride + self.kernel <= padded {
                first += 1;
            }
            while end < self.count && end * self.stride <= padded {
                end += 1;
            }
            first..end
        })
    }

    /// The position of `pixel` inside `window`.
    #[inline(always)]
    fn tap(&self, window: usize, pixel: usize) -> usize {
        pixel + self.padding - window * self.stride
    }
}

/// Panics unless `to` is what pooling makes of `from`; both with their number of blocks.
fn check_shapes(
    (from, from_blocks): (Shape, usize),
    (to, to_blocks): (Shape, usize),
    output_size: impl Fn(usize) -> usize,
) {
    let expected = (from.batch, from_blocks, output_size(from.height), output_size(from.width));
    let found = (to.batch, to_blocks, to.height, to.width);
    assert!(
        expected == found,
        "pooling of {from:?}: expected an output of (batch, blocks, height, width) {expected:?}, \
         found {found:?}"
    );
}
