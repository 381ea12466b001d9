//! Weight gradient of the stem on AMX tiles. For a row of the kernel, its taps and channels are the rows of a
//! multiply, the outputs are its columns, and the sum runs over the pixels of output rows.
//!
//! The work is cut into a fixed number of groups of bands of rows, each with sums of its own, which are added
//! in order: results do not depend on the number of threads.

use super::{CHANNELS, PIXELS, products};
use crate::context::{Context, split};
use crate::conv::amx::{pair, words};
use crate::conv::stem::{PlanarImages, Stem};
use crate::disjoint::Disjoint;
use crate::gradients::{ParameterGradients, SharedGradients};
use crate::map::{LANES, Map, blocks};
use crate::pool::{Pool, part};
use crate::simd::amx::{Amx, COLUMNS, DEPTH, Operands, SUMS, TILE_VALUES};
use crate::simd::{Simd, Vectorised, dispatch_tiled};
use crate::value::Value;
use std::ops::Range;

/// Output rows of a band.
const BAND_ROWS: usize = 8;

/// Number of groups, each with sums of its own.
const GROUPS: usize = 16;

/// Floats of the sums of one multiply: a row of the kernel, or a part of it, and a panel.
const PAIR: usize = COLUMNS * SUMS;

/// Layout of the operands.
#[derive(Clone, Copy)]
struct OperandLayout {
    /// Rows of all multiplies of a row of the kernel.
    rows: usize,
    /// Output pixels of a row, in whole multiplies; and the pixels of the image that a tap and its neighbours
    /// read for them.
    width: usize,
    reach: usize,
    /// Pixels of a padded row of the image.
    padded: usize,
    /// Image rows of a band.
    lines: usize,
    blocks: usize,
    /// Multiplies for each panel: those of all rows of the kernel.
    products: usize,
}

impl OperandLayout {
    fn new(stem: &Stem, image_width: usize) -> OperandLayout {
        let products = products(stem);
        let width = stem.output_size(image_width).next_multiple_of(DEPTH);
        let reach = width + products * PIXELS;
        let row = stem.padding + image_width.next_multiple_of(LANES);
        OperandLayout {
            rows: products * DEPTH,
            width,
            reach,
            padded: row.max(reach * stem.stride).next_multiple_of(DEPTH),
            lines: (BAND_ROWS - 1) * stem.stride + stem.kernel,
            blocks: blocks(stem.output_channels),
            products: products * stem.kernel,
        }
    }

    fn panels(&self) -> usize {
        self.blocks.div_ceil(COLUMNS)
    }

    /// Floats of scratch of a thread: a row of one channel, every `stride`-th pixel of it, both operands, a
    /// row of gradients, and the steps' offsets.
    fn parts(&self) -> [usize; 6] {
        [
            self.padded / 2,
            (self.reach / 2).next_multiple_of(LANES),
            self.lines * self.rows * self.width / 2,
            self.blocks * BAND_ROWS * self.width * LANES / 2,
            self.width * LANES / 2,
            (BAND_ROWS * self.width / DEPTH).next_multiple_of(LANES),
        ]
    }

    /// Floats of the sums of a group; the bias sums come first.
    fn sums(&self) -> usize {
        self.blocks * LANES + self.panels() * self.products * PAIR
    }
}

/// Floats of scratch of all threads together.
pub(in super::super) fn scratch_len(stem: &Stem, pool: &Pool, height: usize, width: usize) -> usize {
    let (rows, columns) = (stem.output_size(height), stem.output_size(width));
    if rows * columns == 0 {
        return 0;
    }
    let layout = OperandLayout::new(stem, width);
    layout.parts().iter().sum::<usize>() * pool.threads() + GROUPS * layout.sums()
}

/// Overwrites both gradients with the sums over all images, of which there is at least one.
pub(in super::super) fn run<T: Value>(
    stem: &Stem,
    amx: Amx,
    context: Context,
    images: PlanarImages,
    output_gradient: Map<T>,
    gradients: ParameterGradients,
) {
    let shape = output_gradient.shape;
    let layout = OperandLayout::new(stem, images.width);
    let bands = shape.height.div_ceil(BAND_ROWS);
    let groups = GROUPS.min(shape.batch * bands);
    let Context { isa, pool, scratch } = context;
    let (sums, scratch) = scratch.split_at_mut(GROUPS * layout.sums());
    let of_groups = Disjoint::new(&mut *sums);
    let parts = layout.parts();
    Context { isa, pool, scratch }.run(groups, parts.iter().sum(), |group, scratch| {
        let [padded, every, x, y, copy, steps] = split(scratch, parts);
        let task = Task {
            stem,
            amx,
            layout,
            images,
            output_gradient,
            bands_of_task: part(group, groups, shape.batch * bands),
            bands,
            padded,
            every,
            x,
            y,
            copy,
            steps: words(steps),
            // SAFETY: each group has sums of its own.
            sums: unsafe { of_groups.part(group * layout.sums(), layout.sums()) },
        };
        dispatch_tiled(isa, task);
    });
    let sums = &sums[..groups * layout.sums()];
    let gradients = gradients.share();
    pool.run(layout.panels() * layout.products, |task| add_groups(stem, layout, sums, task, gradients));
}

/// Adds the sums of all groups for one multiply of one panel, counted by `task`, and writes them in canonical
/// order.
fn add_groups(stem: &Stem, layout: OperandLayout, sums: &[f32], task: usize, gradients: SharedGradients) {
    let (panel, product) = (task / layout.products, task % layout.products);
    let outputs = |block: usize| block * LANES..((block + 1) * LANES).min(stem.output_channels);
    let of_groups = |start: usize, len: usize| {
        let groups = sums.chunks_exact(layout.sums());
        groups.map(move |sums| &sums[start..][..len])
    };
    // The row of the kernel and its first tap that the multiply computes.
    let (row, rest) = (product * DEPTH / layout.rows, product * DEPTH % layout.rows);
    let first = rest / DEPTH * PIXELS;
    for (column, block) in part(panel, layout.panels(), layout.blocks).enumerate() {
        if product == 0 {
            let outputs = outputs(block);
            // SAFETY: this task alone has this block's bias.
            let to = unsafe { gradients.bias.part(outputs.start, outputs.len()) };
            add_all(of_groups(block * LANES, outputs.len()), to);
        }
        let mut total = [0.0; SUMS];
        let start = layout.blocks * LANES + task * PAIR + column * SUMS;
        add_all(of_groups(start, SUMS), &mut total);
        for channel in 0..stem.input_channels {
            for tap in first..stem.kernel.min(first + PIXELS) {
                let of_tap = &total[(channel * PIXELS + tap - first) * LANES..][..LANES];
                for (output, value) in outputs(block).zip(of_tap) {
                    let kernel = output * stem.input_channels + channel;
                    let weight = (kernel * stem.kernel + row) * stem.kernel + tap;
                    // SAFETY: this task alone has these outputs in this multiply's taps.
                    unsafe { gradients.weights.part(weight, 1)[0] = *value };
                }
            }
        }
    }
}

/// Adds up all sums in order.
fn add_all<'a>(all: impl Iterator<Item = &'a [f32]>, to: &mut [f32]) {
    to.fill(0.0);
    all.for_each(|sums| to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum));
}

/// A task: some bands of output rows.
struct Task<'a, T> {
    stem: &'a Stem,
    amx: Amx,
    layout: OperandLayout,
    images: PlanarImages<'a>,
    output_gradient: Map<'a, T>,
    /// Bands of the task, counted over all images.
    bands_of_task: Range<usize>,
    bands: usize,
    padded: &'a mut [f32],
    every: &'a mut [f32],
    x: &'a mut [f32],
    y: &'a mut [f32],
    copy: &'a mut [f32],
    steps: &'a mut [u32],
    sums: &'a mut [f32],
}

impl<T: Value> Vectorised<T> for Task<'_, T> {
    #[inline(always)]
    fn vectors<S: Simd>(mut self, simd: S) {
        let (layout, stem) = (self.layout, self.stem);
        let tiles = self.amx.configure();
        let (height, bands) = (self.output_gradient.shape.height, self.bands);
        let (bias, _) = self.sums.split_at_mut(layout.blocks * LANES);
        bias.fill(0.0);
        let line = layout.rows * layout.width;
        let per_row = layout.width / DEPTH;
        for (step, offset) in self.steps.iter_mut().enumerate() {
            *offset =
                ((step / per_row * stem.stride * line + step % per_row * DEPTH) * size_of::<T>()) as u32;
        }
        let first = self.bands_of_task.start;
        for band in self.bands_of_task.clone() {
            let (image, rows) = (band / bands, part(band % bands, bands, height));
            self.copy_image(simd, image, rows.clone());
            self.copy_gradient(simd, image, rows.clone());
            let steps = &self.steps[..rows.len() * per_row];
            let (_, sums) = self.sums.split_at_mut(layout.blocks * LANES);
            let mut sums = sums.chunks_exact_mut(PAIR);
            let tile = BAND_ROWS * layout.width * LANES;
            for panel in (0..layout.panels()).map(|panel| part(panel, layout.panels(), layout.blocks)) {
                for product in 0..layout.products {
                    let x = &T::of(self.x)[product * DEPTH / layout.rows * line
                        + product * DEPTH % layout.rows * layout.width..];
                    let operands = Operands {
                        a: x.as_ptr().cast(),
                        a_row: layout.width,
                        a_tile: LANES * layout.width,
                        b: T::of(self.y)[panel.start * tile..].as_ptr().cast(),
                        b_tile: tile,
                        b_step: TILE_VALUES,
                    };
                    let sums = sums.next().expect("sums for each panel and product");
                    // SAFETY: the copy of the image has 32 rows for each multiply in each of the lines that
                    // these rows of the output read; that of the gradient has pairs of all their pixels for
                    // each block.
                    unsafe { tiles.multiply(panel.len(), operands, steps, sums, band > first) }
                }
            }
        }
    }
}

impl<T: Value> Task<'_, T> {
    /// Copies the input of these output rows, `[line][multiply][4 channels][8 taps][pixel]`.
    #[inline(always)]
    fn copy_image<S: Simd>(&mut self, simd: S, index: usize, rows: Range<usize>) {
        let (layout, stem, images) = (self.layout, self.stem, self.images);
        let lines = (rows.len() - 1) * stem.stride + stem.kernel;
        let x = T::of_mut(self.x).chunks_exact_mut(layout.rows * layout.width);
        let (padded, every) = (T::of_mut(self.padded), T::of_mut(self.every));
        padded.fill(T::default());
        for (row, x) in x.take(lines).enumerate() {
            let y = (rows.start * stem.stride + row).checked_sub(stem.padding).filter(|y| *y < images.height);
            let Some(y) = y else {
                x.fill(T::default());
                continue;
            };
            let places = |channel: usize, tap: usize| tap / PIXELS * DEPTH + channel * PIXELS + tap % PIXELS;
            for channel in 0..stem.input_channels {
                let plane = index * stem.input_channels + channel;
                let from = &images.values[(plane * images.height + y) * images.width..][..images.width];
                let to = padded[stem.padding..].chunks_exact_mut(LANES);
                for (from, to) in from.chunks(LANES).zip(to) {
                    let mut values = [0.0; LANES];
                    values[..from.len()].copy_from_slice(from);
                    simd.write(to, simd.read(&values));
                }
                // Every `stride`-th pixel is contiguous for the taps that read it.
                for residue in 0..stem.stride.min(layout.rows / CHANNELS) {
                    let from = padded[residue..].iter().step_by(stem.stride);
                    every[..layout.reach].iter_mut().zip(from).for_each(|(to, value)| *to = *value);
                    for tap in (residue..layout.rows / CHANNELS).step_by(stem.stride) {
                        let to = &mut x[places(channel, tap) * layout.width..][..layout.width];
                        to.copy_from_slice(&every[tap / stem.stride..][..layout.width]);
                    }
                }
            }
            for channel in stem.input_channels..CHANNELS {
                for tap in 0..layout.rows / CHANNELS {
                    x[places(channel, tap) * layout.width..][..layout.width].fill(T::default());
                }
            }
        }
    }

    /// Copies pairs of pixels of these rows of the gradient, and adds them to the bias sums.
    #[inline(always)]
    fn copy_gradient<S: Simd>(&mut self, simd: S, image: usize, rows: Range<usize>) {
        let (layout, gradient) = (self.layout, &self.output_gradient);
        let line = gradient.shape.width * LANES;
        let to = self.y.chunks_exact_mut(BAND_ROWS * layout.width * LANES / 2);
        for ((block, to), bias) in (0..layout.blocks).zip(to).zip(self.sums.chunks_exact_mut(LANES)) {
            let plane = gradient.plane(image, block);
            for (y, to) in rows.clone().zip(to.chunks_exact_mut(layout.width * LANES / 2)) {
                let copy = T::of_mut(self.copy);
                copy[..line].copy_from_slice(&plane[y * line..][..line]);
                copy[line..].fill(T::default());
                pair(simd, self.copy, to, bias);
            }
        }
    }
}
