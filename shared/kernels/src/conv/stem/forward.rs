//! Forward pass of the stem on vectors: the tiles of direct convolution over a padded planar copy, in which
//! neighbouring outputs are `stride` values apart. In bf16 two adjacent taps are multiplied at a time; a row
//! of an odd kernel has an additional tap with weight zero.

use super::{PaddedChannel, Pass, Stem};
use crate::context::Context;
use crate::conv::band::{Band, panel};
use crate::conv::pack::panel_width;
use crate::isa::Isa;
use crate::map::{LANES, blocks};
use crate::pool::part;
use crate::simd::{Simd, Vectorised, dispatch_tiled};
use crate::value::Value;
use std::ops::Range;

/// Output rows of a task: their input and one block of output stay in the second-level cache.
const BAND_ROWS: usize = 8;

fn bands(height: usize) -> usize {
    height.div_ceil(BAND_ROWS)
}

/// Taps in a row of the kernel, in whole groups.
fn row_of_taps<T: Value>(stem: &Stem) -> usize {
    stem.kernel.next_multiple_of(T::GROUP)
}

/// Taps in all rows and channels.
fn depth<T: Value>(stem: &Stem) -> usize {
    stem.input_channels * stem.kernel * row_of_taps::<T>(stem)
}

/// Values of the packed weights.
pub(super) fn packed_len<T: Value>(stem: &Stem) -> usize {
    blocks(stem.output_channels) * LANES * depth::<T>(stem)
}

/// Packs weights as `[panel][channel][y][group of taps][16 * columns outputs][tap]`.
pub(super) fn pack<T: Value>(stem: &Stem, isa: Isa, weights: &[f32], packed: &mut [T]) {
    packed.fill(T::default());
    let (taps, count) = (stem.taps(), blocks(stem.output_channels));
    let panels = count.div_ceil(panel_width(isa));
    for panel in (0..panels).map(|panel| part(panel, panels, count)) {
        let line = panel.len() * LANES;
        let packed = &mut packed[panel.start * LANES * depth::<T>(stem)..];
        let channels = panel.start * LANES..(panel.end * LANES).min(stem.output_channels);
        let weights = &weights[channels.start * taps..channels.end * taps];
        for (lane, weights) in weights.chunks_exact(taps).enumerate() {
            for (row, weights) in weights.chunks_exact(stem.kernel).enumerate() {
                let packed = &mut packed[row * row_of_taps::<T>(stem) * line..];
                for (x, weight) in weights.iter().enumerate() {
                    packed[(x / T::GROUP * line + lane) * T::GROUP + x % T::GROUP] = T::narrow(*weight);
                }
            }
        }
    }
}

/// Layout of a padded copy of one channel for some output rows: `rows x row` values.
#[derive(Clone, Copy)]
struct Planar {
    row: usize,
    rows: usize,
}

impl Planar {
    fn new<T: Value>(stem: &Stem, output_rows: usize, output_width: usize) -> Planar {
        let reach = |outputs: usize, taps: usize| (outputs - 1) * stem.stride + taps;
        Planar { row: reach(output_width, row_of_taps::<T>(stem)), rows: reach(output_rows, stem.kernel) }
    }

    fn len(&self) -> usize {
        self.row * self.rows
    }

    /// Copies a channel from the input of output row `first` on.
    #[inline(always)]
    fn fill<S: Simd, T: Value>(&self, simd: S, channel: PaddedChannel, first: usize, to: &mut [T]) {
        let stem = channel.stem;
        for (row, to) in to.chunks_exact_mut(self.row).take(self.rows).enumerate() {
            to.fill(T::default());
            let from = channel.row(first * stem.stride + row);
            let (Some(from), Some(to)) = (from, to.get_mut(stem.padding..)) else { continue };
            for (from, to) in from.chunks(LANES).zip(to.chunks_mut(LANES)) {
                if from.len().min(to.len()) == LANES {
                    simd.write(to, simd.read(from));
                } else {
                    to.iter_mut().zip(from).for_each(|(to, value)| *to = T::narrow(*value));
                }
            }
        }
    }
}

/// Floats of scratch that each thread needs.
pub(super) fn scratch<T: Value>(stem: &Stem, height: usize, width: usize) -> usize {
    let (rows, columns) = (stem.output_size(height), stem.output_size(width));
    if rows * columns == 0 {
        return 0;
    }
    T::floats(stem.input_channels * Planar::new::<T>(stem, rows.min(BAND_ROWS), columns).len())
}

/// Runs a pass.
pub(super) fn run<T: Value>(pass: &Pass<'_, T>, context: Context) {
    if pass.is_empty() {
        return;
    }
    let (isa, images, [height, _]) = (context.isa, pass.images, pass.size);
    let (bands, panels) = (bands(height), blocks(pass.stem.output_channels).div_ceil(panel_width(isa)));
    let per_thread = scratch::<T>(pass.stem, images.height, images.width);
    context.run(images.batch * bands, per_thread, |task, scratch| {
        let (image, rows) = (task / bands, part(task % bands, bands, height));
        dispatch_tiled(isa, Task { pass, image, rows, panels, copy: T::of_mut(scratch) });
    });
}

/// A task: some output rows of one image.
struct Task<'a, T> {
    pass: &'a Pass<'a, T>,
    image: usize,
    rows: Range<usize>,
    panels: usize,
    copy: &'a mut [T],
}

impl<T: Value> Vectorised<T> for Task<'_, T> {
    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let Task { pass, image, rows, panels, copy } = self;
        let (stem, [_, width]) = (pass.stem, pass.size);
        let layout = Planar::new::<T>(stem, rows.len(), width);
        for (c, to) in (0..stem.input_channels).zip(copy.chunks_exact_mut(layout.len())) {
            let plane = image * stem.input_channels + c;
            layout.fill(simd, PaddedChannel { stem, images: pass.images, plane }, rows.start, to);
        }
        let band = Band {
            start: copy.as_ptr(),
            plane: layout.len(),
            row: stem.stride * layout.row,
            pixel: stem.stride,
            width,
            taps: [stem.kernel, 1],
            tap: [layout.row, 0],
            depths: &[stem.kernel; 4][..stem.input_channels],
            rows: row_of_taps::<T>(stem),
            flat: false,
            relu: pass.relu,
            accumulate: false,
        };
        assert!(stem.input_channels * layout.len() <= copy.len(), "scratch of the stem");
        let pixels = rows.start * width..rows.end * width;
        for index in 0..panels {
            let columns = part(index, panels, blocks(stem.output_channels));
            let depth = depth::<T>(stem);
            let packed = &pass.packed[columns.start * LANES * depth..][..columns.len() * LANES * depth];
            // SAFETY: this task alone writes these rows of this block.
            let output =
                |column: usize| unsafe { pass.pixels(image, columns.start + column, pixels.clone()) };
            // SAFETY: the copy has, for each channel, what all pixels of the rows read; `packed` is the
            // panel.
            unsafe { panel(simd, &band, packed, pass.bias, columns.clone(), output, |_| None) }
        }
    }
}
