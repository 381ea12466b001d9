//! Weight gradient of the stem on vectors: taps times output channels, summed over pixels.
//!
//! A task has the taps of some input channels and some output blocks over all images, so sums do not depend
//! on the number of threads. While a chunk of the output gradient is in the cache, it is multiplied with all
//! of the task's channels. In bf16 vertically adjacent pixels are multiplied at a time, from two rows of the
//! output.

use super::super::pack::MOST_TAPS;
use super::{PaddedChannel, PlanarImages, Stem};
use crate::context::{Context, split};
use crate::conv::grid::{ON_VECTORS, grid};
use crate::conv::rows::{Partial, PixelRuns, Rows};
use crate::gradients::{ParameterGradients, SharedGradients};
use crate::map::{LANES, Map, blocks};
use crate::pool::part;
use crate::simd::{Simd, Vectorised, dispatch_tiled};
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

    /// Copies a channel.
    #[inline(always)]
    fn fill<S: Simd, T: Value>(&self, simd: S, channel: PaddedChannel, to: &mut [T]) {
        let PaddedChannel { stem, images, .. } = channel;
        let group = LANES * T::GROUP;
        for (row, to) in to.chunks_exact_mut(self.row * T::GROUP).take(self.rows).enumerate() {
            to.fill(T::default());
            let Some(to) = to.get_mut(stem.padding * T::GROUP..) else { continue };
            let lines = [row, row + stem.stride].map(|row| channel.row(row).unwrap_or(&[]));
            for (start, to) in (0..images.width).step_by(LANES).zip(to.chunks_mut(group)) {
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

/// Overwrites both gradients with the sums over all images, of which there is at least one.
pub(super) fn run<T: Value>(
    stem: &Stem,
    context: Context,
    images: PlanarImages,
    output_gradient: Map<T>,
    gradients: ParameterGradients,
) {
    let shape = output_gradient.shape;
    let (isa, threads, gradients) = (context.isa, context.pool.threads(), gradients.share());
    let grid = grid([stem.input_channels, output_gradient.count], threads, usize::MAX, ON_VECTORS);
    let layout = Copied::new::<T>(stem, shape.height, shape.width);
    let per_thread = scratch::<T>(stem, images.height, images.width);
    context.run(grid[0] * grid[1], per_thread, |task, scratch| {
        let channels = part(task / grid[1], grid[0], stem.input_channels);
        let columns = part(task % grid[1], grid[1], output_gradient.count);
        let lengths = [
            channels.len() * layout.len(),
            chunk_len::<T>(shape.width, columns.len()),
            columns.len() * LANES,
            channels.len() * columns.len() * stem.kernel * stem.kernel * LANES,
        ];
        let [copies, grouped, bias, sums] = split(scratch, lengths);
        let task = Task {
            stem,
            images,
            output_gradient,
            layout,
            channels,
            columns,
            gradients,
            copies: T::of_mut(copies),
            grouped: T::of_mut(grouped),
            bias,
            sums,
        };
        dispatch_tiled(isa, task);
    });
}

/// A task: some input channels times some output blocks.
struct Task<'a, T> {
    stem: &'a Stem,
    images: PlanarImages<'a>,
    output_gradient: Map<'a, T>,
    layout: Copied,
    channels: Range<usize>,
    columns: Range<usize>,
    gradients: SharedGradients<'a>,
    /// Padded copies of the channels of an image.
    copies: &'a mut [T],
    /// A chunk of the output gradient in groups; empty for f32.
    grouped: &'a mut [T],
    /// Sums of the bias, `[column][16]`.
    bias: &'a mut [f32],
    /// Sums of the weights, `[panel][channel][column of the panel][tap][16]`.
    sums: &'a mut [f32],
}

impl<T: Value> Vectorised<T> for Task<'_, T> {
    #[inline(always)]
    fn vectors<S: Simd>(mut self, simd: S) {
        let (stem, layout, shape) = (self.stem, self.layout, self.output_gradient.shape);
        let mut offsets = [0; MOST_TAPS];
        let offsets = &mut offsets[..stem.kernel * stem.kernel];
        for (tap, offset) in offsets.iter_mut().enumerate() {
            *offset = (tap / stem.kernel * layout.row + tap % stem.kernel) * T::GROUP;
        }
        self.bias.fill(0.0);
        self.sums.fill(0.0);
        let chunk = chunk_rows(shape.width) * T::GROUP;
        for image in 0..shape.batch {
            let copies = self.copies.chunks_exact_mut(layout.len() * T::GROUP);
            for (channel, to) in self.channels.clone().zip(copies) {
                let plane = image * stem.input_channels + channel;
                layout.fill(simd, PaddedChannel { stem, images: self.images, plane }, to);
            }
            for start in (0..shape.height).step_by(chunk) {
                let rows = start..(start + chunk).min(shape.height);
                if self.channels.start == 0 {
                    self.add_to_bias(simd, image, &rows);
                }
                self.add_to_weights(simd, image, &rows, offsets);
            }
        }
        self.unpack(S::PANEL);
    }
}

impl<'a, T: Value> Task<'a, T> {
    /// Rows of a block's output gradient.
    #[inline(always)]
    fn rows_of(&self, image: usize, block: usize, rows: &Range<usize>) -> &'a [T] {
        let line = self.output_gradient.shape.width * LANES;
        &self.output_gradient.plane(image, block)[rows.start * line..rows.end * line]
    }

    /// Adds a chunk of rows of an image to the sums of the bias.
    #[inline(always)]
    fn add_to_bias<S: Simd>(&mut self, simd: S, image: usize, rows: &Range<usize>) {
        for (index, column) in self.columns.clone().enumerate() {
            let pixels = self.rows_of(image, column, rows);
            let bias = &mut self.bias[index * LANES..][..LANES];
            let mut sum = simd.read(bias);
            for pixel in pixels.chunks_exact(LANES) {
                sum = simd.add(sum, simd.read(pixel));
            }
            simd.write(bias, sum);
        }
    }

    /// Multiplies a chunk of rows of an image with the copies, and adds the products to the sums of the
    /// weights.
    #[inline(always)]
    fn add_to_weights<S: Simd>(&mut self, simd: S, image: usize, rows: &Range<usize>, offsets: &[usize]) {
        let (stem, layout, width) = (self.stem, self.layout, self.output_gradient.shape.width);
        let (line, row) = (width * LANES, layout.row * T::GROUP);
        let runs = PixelRuns {
            count: rows.len().div_ceil(T::GROUP),
            pixels: width,
            input_run: T::GROUP * stem.stride * row,
            input_pixel: stem.stride * T::GROUP,
            output_run: line * T::GROUP,
            ahead: 0,
        };
        let len = runs.count * runs.output_run;
        if T::GROUP > 1 {
            for (index, column) in self.columns.clone().enumerate() {
                let from = self.rows_of(image, column, rows);
                group_rows(simd, from, line, &mut self.grouped[index * len..][..len]);
            }
        }
        let Task { output_gradient, ref columns, ref grouped, .. } = *self;
        let y = |column: usize| match T::GROUP {
            1 => {
                let plane = output_gradient.plane(image, columns.start + column);
                &plane[rows.start * line..rows.end * line]
            }
            _ => &grouped[column * len..][..len],
        };
        let mut sums = &mut *self.sums;
        for panel in (0..columns.len()).step_by(S::PANEL) {
            let wide = S::PANEL.min(columns.len() - panel);
            for copy in self.copies.chunks_exact(layout.len() * T::GROUP) {
                let (of_panel, rest) = sums.split_at_mut(wide * offsets.len() * LANES);
                sums = rest;
                let x = &copy[rows.start * stem.stride * row..];
                let y = |column: usize| y(panel + column);
                let partial = Partial { sums: of_panel, accumulate: true };
                // SAFETY: the copy has what all pixels of the output read, and `y` the chunk's gradients.
                unsafe { Rows(offsets).panel(simd, runs, x, wide, y, partial) }
            }
        }
    }

    /// Writes the sums in canonical order; panels have up to `panel_width` columns.
    #[inline(always)]
    fn unpack(&self, panel_width: usize) {
        let (stem, taps) = (self.stem, self.stem.kernel * self.stem.kernel);
        let mut sums = self.sums.chunks_exact(taps * LANES);
        for panel in (0..self.columns.len()).step_by(panel_width) {
            let wide = panel_width.min(self.columns.len() - panel);
            for channel in self.channels.clone() {
                for (column, sums) in (panel..panel + wide).zip(&mut sums) {
                    let first = (self.columns.start + column) * LANES;
                    for lane in 0..LANES.min(stem.output_channels - first) {
                        let start = ((first + lane) * stem.input_channels + channel) * taps;
                        // SAFETY: only this task has this channel and these outputs.
                        let gradient = unsafe { self.gradients.weights.part(start, taps) };
                        for (gradient, sums) in gradient.iter_mut().zip(sums.chunks_exact(LANES)) {
                            *gradient = sums[lane];
                        }
                    }
                }
            }
        }
        if self.channels.start == 0 {
            for (column, bias) in self.columns.clone().zip(self.bias.chunks_exact(LANES)) {
                let count = LANES.min(stem.output_channels - column * LANES);
                // SAFETY: only a task of the first channels writes these outputs.
                let gradient = unsafe { self.gradients.bias.part(column * LANES, count) };
                gradient.copy_from_slice(&bias[..count]);
            }
        }
    }
}
