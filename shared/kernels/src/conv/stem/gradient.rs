//! The stem's gradient by the weights: taps times output channels, summed over pixels.
//!
//! A task has the taps of some input channels and some output blocks, over all images, so sums do not depend on the number of
//! threads. While a chunk of the output gradient is in the cache, it meets all of the task's channels.

use super::super::pack::MOST_TAPS;
use super::{Image, Planar, Stem};
use crate::conv::grid::{ON_VECTORS, grid};
use crate::conv::padded::widen;
use crate::conv::rows::{Rows, Runs};
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::map::{LANES, Map, blocks};
use crate::pool::{Pool, part};
use crate::simd::{Kernel, Simd, dispatch};
use crate::value::Value;
use std::ops::Range;

/// Pixels of a chunk: their gradients (one block) and input stay in the first-level cache.
const CHUNK_PIXELS: usize = 256;

/// Rows of a chunk of so wide an output.
fn chunk_rows(width: usize) -> usize {
    (CHUNK_PIXELS / width).max(1)
}

/// Scratch that each thread needs: the padded copies of all channels, a chunk of gradients as f32, and partial sums of weights
/// and bias.
pub(super) fn scratch(stem: &Stem, height: usize, width: usize) -> usize {
    let (rows, columns) = (stem.output_size(height), stem.output_size(width));
    if rows * columns == 0 {
        return 0;
    }
    let sums = (stem.input_channels * stem.kernel * stem.kernel + 1) * blocks(stem.output_channels) * LANES;
    let chunk = chunk_rows(columns) * columns * blocks(stem.output_channels) * LANES;
    stem.input_channels * Planar::new(stem, rows, columns).len() + chunk + sums
}

#[expect(clippy::too_many_arguments, reason = "what a convolution takes")]
pub(super) fn run<T: Value>(
    stem: &Stem,
    isa: Isa,
    pool: &Pool,
    image: Image,
    output_gradient: Map<T>,
    weight_gradient: &mut [f32],
    bias_gradient: &mut [f32],
    scratch: &mut [f32],
) {
    if output_gradient.shape.batch * output_gradient.shape.pixels() == 0 {
        weight_gradient.fill(0.0);
        bias_gradient.fill(0.0);
        return;
    }
    let grid = grid([stem.input_channels, output_gradient.count], pool.threads(), usize::MAX, ON_VECTORS);
    let per_thread = self::scratch(stem, image.height, image.width);
    let scratch = Disjoint::new(scratch);
    let weight_gradient = Disjoint::new(weight_gradient);
    let bias_gradient = Disjoint::new(bias_gradient);
    pool.run_on_threads(grid[0] * grid[1], |thread, task| {
        // SAFETY: `thread` is this thread's alone.
        let scratch = unsafe { scratch.part(thread * per_thread, per_thread) };
        let channels = part(task / grid[1], grid[0], stem.input_channels);
        let columns = part(task % grid[1], grid[1], output_gradient.count);
        dispatch(
            isa,
            Task { stem, image, output_gradient, channels, columns, weight_gradient, bias_gradient, scratch },
        );
    });
}

/// Some input channels times some output blocks.
struct Task<'a, T> {
    stem: &'a Stem,
    image: Image<'a>,
    output_gradient: Map<'a, T>,
    channels: Range<usize>,
    columns: Range<usize>,
    weight_gradient: Disjoint<'a, f32>,
    bias_gradient: Disjoint<'a, f32>,
    scratch: &'a mut [f32],
}

impl<T: Value> Kernel for Task<'_, T> {
    const HALVES: bool = T::GROUP == 2;
    type Output = ();

    fn scalar(self) {
        unreachable!("the scalar stem has no tiles")
    }

    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let Task { stem, output_gradient: output, ref channels, ref columns, .. } = self;
        let (height, width) = (output.shape.height, output.shape.width);
        let taps = stem.kernel * stem.kernel;
        let layout = Planar::new(stem, height, width);
        let (copies, rest) = self.scratch.split_at_mut(channels.len() * layout.len());
        let chunk = chunk_rows(width);
        let (widened, rest) = rest.split_at_mut(chunk * width * columns.len() * LANES);
        let (bias, rest) = rest.split_at_mut(columns.len() * LANES);
        // [panel][channel][column of the panel][tap][16]
        let partial = &mut rest[..channels.len() * columns.len() * taps * LANES];
        bias.fill(0.0);
        partial.fill(0.0);
        let mut offsets = [0; MOST_TAPS];
        let offsets = &mut offsets[..taps];
        for (tap, offset) in offsets.iter_mut().enumerate() {
            *offset = tap / stem.kernel * layout.row + tap % stem.kernel;
        }
        for image in 0..output.shape.batch {
            for (channel, copy) in channels.clone().zip(copies.chunks_exact_mut(layout.len())) {
                layout.fill(stem, self.image, image * stem.input_channels + channel, 0, copy);
            }
            for start in (0..height).step_by(chunk) {
                let runs = Runs {
                    count: chunk.min(height - start),
                    pixels: width,
                    input_run: stem.stride * layout.row,
                    input_pixel: stem.stride,
                    output_run: width * LANES,
                    ahead: 0,
                };
                let len = runs.count * width * LANES;
                for (column, widened) in columns.clone().zip(widened.chunks_exact_mut(len)) {
                    let gradient = &output.plane(image, column)[start * width * LANES..][..len];
                    if T::as_floats(gradient).is_none() {
                        widen(simd, gradient, widened);
                    }
                }
                let y = |column: usize| {
                    let gradient =
                        &output.plane(image, columns.start + column)[start * width * LANES..][..len];
                    T::as_floats(gradient).unwrap_or(&widened[column * len..][..len])
                };
                if channels.start == 0 {
                    for (column, bias) in bias.chunks_exact_mut(LANES).enumerate() {
                        let mut sum = simd.read(bias);
                        for pixel in y(column).chunks_exact(LANES) {
                            sum = simd.add(sum, simd.read(pixel));
                        }
                        simd.write(bias, sum);
                    }
                }
                let mut sums = &mut *partial;
                for panel in (0..columns.len()).step_by(S::PANEL) {
                    let wide = S::PANEL.min(columns.len() - panel);
                    for copy in copies.chunks_exact(layout.len()) {
                        let (partial, rest) = sums.split_at_mut(wide * taps * LANES);
                        sums = rest;
                        let x = &copy[start * stem.stride * layout.row..];
                        let y = |column: usize| y(panel + column);
                        // SAFETY: the copy has what all pixels of the output read, and `y` the chunk's gradients.
                        unsafe { Rows(offsets).panel(simd, runs, x, wide, y, true, partial) }
                    }
                }
            }
        }
        let mut sums = &*partial;
        for panel in (0..columns.len()).step_by(S::PANEL) {
            let wide = S::PANEL.min(columns.len() - panel);
            for channel in channels.clone() {
                for column in panel..panel + wide {
                    let (partial, rest) = sums.split_at(taps * LANES);
                    sums = rest;
                    let first = (columns.start + column) * LANES;
                    for lane in 0..LANES.min(stem.output_channels - first) {
                        let start = ((first + lane) * stem.input_channels + channel) * taps;
                        // SAFETY: only this task has this channel and these outputs.
                        let gradient = unsafe { self.weight_gradient.part(start, taps) };
                        for (gradient, sums) in gradient.iter_mut().zip(partial.chunks_exact(LANES)) {
                            *gradient = sums[lane];
                        }
                    }
                }
            }
        }
        if channels.start == 0 {
            for (column, bias) in columns.clone().zip(bias.chunks_exact(LANES)) {
                let count = LANES.min(stem.output_channels - column * LANES);
                // SAFETY: only a task of the first channels writes these outputs.
                let gradient = unsafe { self.bias_gradient.part(column * LANES, count) };
                gradient.copy_from_slice(&bias[..count]);
            }
        }
    }
}
