//! Weight gradient of the stem on vectors: taps times output channels, summed over pixels.
//!
//! A task has the taps of some input channels and some output blocks over all images, so sums do not depend
//! on the number of threads. While a chunk of the output gradient is in the cache, it is multiplied with all
//! of the task's channels. In bf16 vertically adjacent pixels are multiplied at a time, from two rows of the
//! output.

use super::super::pack::MOST_TAPS;
use super::{Image, Stem};
use crate::conv::grid::{ON_VECTORS, grid};
use crate::conv::rows::{PixelRuns, Rows};
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::map::{LANES, Map, blocks};
use crate::pool::{Pool, part};
use crate::simd::{Simd, Tiled, dispatch_tiled};
use crate::value::Value;
use std::ops::Range;

/// Groups of pixels in a chunk: their gradients (one block) and input stay in the first-level cache.
const CHUNK: usize = 256;

/// Groups of rows in a chunk of an output of this width.
fn chunk_rows(width: usize) -> usize {
    (CHUNK / width).max(1)
}

/// Layout of a padded copy of one channel in groups, `rows x row` of them. A group holds a pixel and the
/// pixel that the next output row reads in its place.
#[derive(Clone, Copy)]
struct Copied {
    row: usize,
    rows: usize,
}

impl Copied {
    fn new<T: Value>(stem: &Stem, output_rows: usize, output_width: usize) -> Copied {
        let reach = |last: usize| last * stem.stride + stem.kernel;
        // A group of output rows needs the input rows of its first row only.
        let last = (output_rows - 1) / T::GROUP * T::GROUP;
        Copied { row: reach(output_width - 1), rows: reach(last) }
    }

    /// Floats of memory: one for each group.
    fn len(&self) -> usize {
        self.row * self.rows
    }

    /// Copies channel `plane`, counted over all images.
    #[inline(always)]
    fn fill<S: Simd, T: Value>(&self, simd: S, stem: &Stem, image: Image, plane: usize, to: &mut [T]) {
        let group = LANES * T::GROUP;
        for (row, to) in to.chunks_exact_mut(self.row * T::GROUP).take(self.rows).enumerate() {
            to.fill(T::default());
            let Some(to) = to.get_mut(stem.padding * T::GROUP..) else { continue };
            let lines = [row, row + stem.stride].map(|row| image.row(stem, plane, row).unwrap_or(&[]));
            for (start, to) in (0..image.width).step_by(LANES).zip(to.chunks_mut(group)) {
                let values = lines.map(|line| match line.get(start..start + LANES) {
                    Some(values) => simd.read(values),
                    None => {
                        let mut values = [0.0; LANES];
                        let left = line.get(start..).unwrap_or(&[]);
                        values.iter_mut().zip(left).for_each(|(to, value)| *to = *value);
                        simd.read(&values)
                    }
                });
                if to.len() == group {
                    simd.write_groups(to, values);
                } else {
                    let mut values_of_group = [T::default(); 2 * LANES];
                    simd.write_groups(&mut values_of_group, values);
                    to.copy_from_slice(&values_of_group[..to.len()]);
                }
            }
        }
    }
}

/// Floats of scratch that each thread needs: for padded copies of all channels, a chunk of gradients in
/// groups, and partial sums of weights and bias.
pub(super) fn scratch<T: Value>(stem: &Stem, height: usize, width: usize) -> usize {
    let (rows, columns) = (stem.output_size(height), stem.output_size(width));
    if rows * columns == 0 {
        return 0;
    }
    let blocks = blocks(stem.output_channels);
    let sums = (stem.input_channels * stem.kernel * stem.kernel + 1) * blocks * LANES;
    let copies = stem.input_channels * Copied::new::<T>(stem, rows, columns).len();
    copies + chunk_len::<T>(columns, blocks) + sums
}

/// Floats of a chunk of gradients in groups; gradients of f32 are read in place.
fn chunk_len<T: Value>(width: usize, blocks: usize) -> usize {
    if T::GROUP == 1 { 0 } else { chunk_rows(width) * width * blocks * LANES }
}

/// Copies rows of gradients of `line` values in groups of two rows; the last row may lack the other.
#[inline(always)]
fn group_rows<S: Simd, T: Value>(simd: S, rows: &[T], line: usize, to: &mut [T]) {
    let group = line * T::GROUP;
    for (rows, to) in rows.chunks(group).zip(to.chunks_exact_mut(group)) {
        let (first, other) = rows.split_at(line);
        let mut others = other.chunks_exact(LANES);
        for (pixel, to) in first.chunks_exact(LANES).zip(to.chunks_exact_mut(LANES * T::GROUP)) {
            let other = others.next().map_or(simd.zero(), |pixel| simd.read(pixel));
            simd.write_groups(to, [simd.read(pixel), other]);
        }
    }
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
    let per_thread = self::scratch::<T>(stem, image.height, image.width);
    let scratch = Disjoint::new(scratch);
    let weight_gradient = Disjoint::new(weight_gradient);
    let bias_gradient = Disjoint::new(bias_gradient);
    pool.run_on_threads(grid[0] * grid[1], |thread, task| {
        // SAFETY: `thread` is this thread's alone.
        let scratch = unsafe { scratch.part(thread * per_thread, per_thread) };
        let channels = part(task / grid[1], grid[0], stem.input_channels);
        let columns = part(task % grid[1], grid[1], output_gradient.count);
        dispatch_tiled(
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

impl<T: Value> Tiled for Task<'_, T> {
    const USES_BF16: bool = T::GROUP == 2;

    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let Task { stem, output_gradient: output, ref channels, ref columns, .. } = self;
        let (height, width) = (output.shape.height, output.shape.width);
        let taps = stem.kernel * stem.kernel;
        let layout = Copied::new::<T>(stem, height, width);
        let (copies, rest) = self.scratch.split_at_mut(channels.len() * layout.len());
        let copies = T::of_mut(copies);
        let chunk = chunk_rows(width) * T::GROUP;
        let (grouped, rest) = rest.split_at_mut(chunk_len::<T>(width, columns.len()));
        let grouped = T::of_mut(grouped);
        let (bias, rest) = rest.split_at_mut(columns.len() * LANES);
        // [panel][channel][column of the panel][tap][16]
        let partial = &mut rest[..channels.len() * columns.len() * taps * LANES];
        bias.fill(0.0);
        partial.fill(0.0);
        let mut offsets = [0; MOST_TAPS];
        let offsets = &mut offsets[..taps];
        for (tap, offset) in offsets.iter_mut().enumerate() {
            *offset = (tap / stem.kernel * layout.row + tap % stem.kernel) * T::GROUP;
        }
        let copy = layout.len() * T::GROUP;
        let line = width * LANES;
        for image in 0..output.shape.batch {
            for (channel, to) in channels.clone().zip(copies.chunks_exact_mut(copy)) {
                layout.fill(simd, stem, self.image, image * stem.input_channels + channel, to);
            }
            for start in (0..height).step_by(chunk) {
                let rows = start..(start + chunk).min(height);
                let of_chunk =
                    |column: usize| &output.plane(image, column)[rows.start * line..rows.end * line];
                if channels.start == 0 {
                    for (column, bias) in columns.clone().zip(bias.chunks_exact_mut(LANES)) {
                        let mut sum = simd.read(bias);
                        for pixel in of_chunk(column).chunks_exact(LANES) {
                            sum = simd.add(sum, simd.read(pixel));
                        }
                        simd.write(bias, sum);
                    }
                }
                let runs = PixelRuns {
                    count: rows.len().div_ceil(T::GROUP),
                    pixels: width,
                    input_run: T::GROUP * stem.stride * layout.row * T::GROUP,
                    input_pixel: stem.stride * T::GROUP,
                    output_run: line * T::GROUP,
                    ahead: 0,
                };
                let len = runs.count * runs.output_run;
                if T::GROUP > 1 {
                    for (column, to) in columns.clone().zip(grouped.chunks_exact_mut(len)) {
                        group_rows(simd, of_chunk(column), line, to);
                    }
                }
                let y = |column: usize| match T::GROUP {
                    1 => of_chunk(columns.start + column),
                    _ => &grouped[column * len..][..len],
                };
                let mut sums = &mut *partial;
                for panel in (0..columns.len()).step_by(S::PANEL) {
                    let wide = S::PANEL.min(columns.len() - panel);
                    for copy in copies.chunks_exact(copy) {
                        let (partial, rest) = sums.split_at_mut(wide * taps * LANES);
                        sums = rest;
                        let x = &copy[start * stem.stride * layout.row * T::GROUP..];
                        let y = |column: usize| y(panel + column);
                        // SAFETY: the copy has what all pixels of the output read, and `y` the chunk's
                        // gradients.
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
