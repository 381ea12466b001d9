//! Max and average pooling with the rounding and clipping that GoogLeNet was trained with.
//!
//! Along a side of `len` pixels there are `ceil((len + 2 padding - kernel) / stride) + 1` windows. By this
//! rule of Caffe's no pixel is left out, so the last window may extend past the border. With padding, a last
//! window that would start behind the map and its left padding is dropped. Windows are clipped to the map:
//! padding takes no part in a maximum or in the divisor of an average.

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

/// Index for windows without a winner.
const NO_WINNER: u8 = u8::MAX;

/// The windows along one side of a map.
#[derive(Clone, Copy, Debug)]
struct Windows {
    kernel: usize,
    stride: usize,
    padding: usize,
    /// Pixels along the side.
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

    /// The positions in a window that lie on the map.
    #[inline(always)]
    fn taps(&self, window: usize) -> Range<usize> {
        let start = window * self.stride;
        let first = self.padding.saturating_sub(start);
        first..self.kernel.min(self.len + self.padding - start)
    }

    /// The pixel at position `tap` of a window.
    #[inline(always)]
    fn input(&self, window: usize, tap: usize) -> usize {
        window * self.stride + tap - self.padding
    }

    /// For each pixel, the windows that cover it.
    #[inline(always)]
    fn covering(self) -> impl Iterator<Item = Range<usize>> {
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

    /// The position of a pixel in a window.
    #[inline(always)]
    fn tap(&self, window: usize, pixel: usize) -> usize {
        pixel + self.padding - window * self.stride
    }
}

/// Checks that `to` is the output shape of pooling `from`, both given with their number of blocks; panics if
/// not.
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
