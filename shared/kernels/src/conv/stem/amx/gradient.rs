//! The gradient by the weights: for a row of the kernel, its taps and channels are the rows of a product, the outputs its columns,
//! and the sum runs over the pixels of rows of the output.
//!
//! The work is cut into as many groups of bands of rows for any number of threads, each with sums of its own, which are added in
//! order: results do not depend on the number of threads.

use super::{CHANNELS, PIXELS, products};
use crate::conv::matrix::{pair, words};
use crate::conv::stem::{Image, Stem};
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::map::{LANES, Map, blocks};
use crate::pool::{Pool, part};
use crate::simd::matrix::{COLUMNS, DEPTH, Matrices, Operands, SUMS, TILE_VALUES};
use crate::simd::{Kernel, Simd, dispatch};
use crate::value::Value;
use std::ops::Range;

/// Output rows of a band.
const BAND_ROWS: usize = 8;

/// Sums side by side.
const GROUPS: usize = 16;

/// Floats of the sums of a row of the kernel and a panel.
const PAIR: usize = COLUMNS * SUMS;

/// How the operands lie.
#[derive(Clone, Copy)]
struct Plan {
    /// Rows of products that a row of the kernel takes.
    rows: usize,
    /// Output pixels of a row, in whole products, and how many pixels of the image a tap and its neighbours read for them.
    width: usize,
    reach: usize,
    /// Pixels of a row of the image with zeros around them.
    padded: usize,
    /// Image rows of a band.
    lines: usize,
    blocks: usize,
    /// Products for each panel: those of all rows of the kernel.
    products: usize,
}

impl Plan {
    fn new(stem: &Stem, image_width: usize) -> Plan {
        let products = products(stem);
        let width = stem.output_size(image_width).next_multiple_of(DEPTH);
        let reach = width + products * PIXELS;
        let row = stem.padding + image_width.next_multiple_of(LANES);
        Plan {
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

    /// Floats of scratch of a thread: a row of one channel, and pixels of it whose distance is the stride; both operands; a row of
    /// gradients; steps.
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

    /// Floats of the sums of a group, first those of the bias.
    fn sums(&self) -> usize {
        self.blocks * LANES + self.panels() * self.products * PAIR
    }
}

/// Scratch that all threads together need.
pub(in super::super) fn scratch_len(stem: &Stem, pool: &Pool, height: usize, width: usize) -> usize {
    let (rows, columns) = (stem.output_size(height), stem.output_size(width));
    if rows * columns == 0 {
        return 0;
    }
    let plan = Plan::new(stem, width);
    plan.parts().iter().sum::<usize>() * pool.threads() + GROUPS * plan.sums()
}

#[expect(clippy::too_many_arguments, reason = "what a convolution takes")]
pub(in super::super) fn run<T: Value>(
    stem: &Stem,
    unit: Matrices,
    isa: Isa,
    pool: &Pool,
    image: Image,
    output_gradient: Map<T>,
    weight_gradient: &mut [f32],
    bias_gradient: &mut [f32],
    scratch: &mut [f32],
) {
    let shape = output_gradient.shape;
    if shape.batch * shape.pixels() == 0 {
        weight_gradient.fill(0.0);
        bias_gradient.fill(0.0);
        return;
    }
    let plan = Plan::new(stem, image.width);
    let parts = plan.parts();
    let per_thread = parts.iter().sum::<usize>();
    let (sums, scratch) = scratch.split_at_mut(GROUPS * plan.sums());
    let bands = shape.height.div_ceil(BAND_ROWS);
    let groups = GROUPS.min(shape.batch * bands);
    {
        let (sums, scratch) = (Disjoint::new(sums), Disjoint::new(scratch));
        pool.run_on_threads(groups, |thread, group| {
            // SAFETY: `thread` is this thread's alone.
            let mut scratch = unsafe { scratch.part(thread * per_thread, per_thread) };
            let [padded, every, x, y, copy, steps] = parts.map(|len| {
                let (part, rest) = std::mem::take(&mut scratch).split_at_mut(len);
                scratch = rest;
                part
            });
            // SAFETY: each group has sums of its own.
            let sums = unsafe { sums.part(group * plan.sums(), plan.sums()) };
            let units = part(group, groups, shape.batch * bands);
            let steps = words(steps);
            let task = Task {
                stem,
                unit,
                plan,
                image,
                output_gradient,
                units,
                bands,
                padded,
                every,
                x,
                y,
                copy,
                steps,
                sums,
            };
            dispatch(isa, task);
        });
    }
    let weight_gradient = Disjoint::new(weight_gradient);
    let bias_gradient = Disjoint::new(bias_gradient);
    pool.run(plan.panels() * plan.products, |task| {
        let (panel, product) = (task / plan.products, task % plan.products);
        let outputs = |block: usize| block * LANES..((block + 1) * LANES).min(stem.output_channels);
        for (column, block) in part(panel, plan.panels(), plan.blocks).enumerate() {
            let of_groups = |start: usize, len: usize| {
                let groups = sums.chunks_exact(plan.sums()).take(groups);
                groups.map(move |sums| &sums[start..][..len])
            };
            if product == 0 {
                let outputs = outputs(block);
                // SAFETY: this task alone has this block's bias.
                let to = unsafe { bias_gradient.part(outputs.start, outputs.len()) };
                add_all(of_groups(block * LANES, outputs.len()), to);
            }
            let mut total = [0.0; SUMS];
            let start = plan.blocks * LANES + task * PAIR + column * SUMS;
            add_all(of_groups(start, SUMS), &mut total);
            let (y, first) = (product * DEPTH / plan.rows, product * DEPTH % plan.rows / DEPTH * PIXELS);
            for channel in 0..stem.input_channels {
                for x in first..stem.kernel.min(first + PIXELS) {
                    let row = &total[(channel * PIXELS + x - first) * LANES..][..LANES];
                    for (output, value) in outputs(block).zip(row) {
                        let place =
                            ((output * stem.input_channels + channel) * stem.kernel + y) * stem.kernel + x;
                        // SAFETY: this task alone has these outputs in this product's taps.
                        unsafe { weight_gradient.part(place, 1)[0] = *value };
                    }
                }
            }
        }
    });
}

/// The sums of all, one after the other.
fn add_all<'a>(all: impl Iterator<Item = &'a [f32]>, to: &mut [f32]) {
    to.fill(0.0);
    all.for_each(|sums| to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum));
}

/// Some bands.
struct Task<'a, T> {
    stem: &'a Stem,
    unit: Matrices,
    plan: Plan,
    image: Image<'a>,
    output_gradient: Map<'a, T>,
    /// Bands, counted over all images.
    units: Range<usize>,
    bands: usize,
    padded: &'a mut [f32],
    every: &'a mut [f32],
    x: &'a mut [f32],
    y: &'a mut [f32],
    copy: &'a mut [f32],
    steps: &'a mut [u32],
    sums: &'a mut [f32],
}

impl<T: Value> Kernel for Task<'_, T> {
    const HALVES: bool = T::GROUP == 2;
    type Output = ();

    fn scalar(self) {
        unreachable!("the scalar stem has no tiles")
    }

    #[inline(always)]
    fn vectors<S: Simd>(mut self, simd: S) {
        let (plan, stem) = (self.plan, self.stem);
        let ready = self.unit.ready();
        let (height, bands) = (self.output_gradient.shape.height, self.bands);
        let (bias, _) = self.sums.split_at_mut(plan.blocks * LANES);
        bias.fill(0.0);
        let line = plan.rows * plan.width;
        let per_row = plan.width / DEPTH;
        for (step, offset) in self.steps.iter_mut().enumerate() {
            *offset =
                ((step / per_row * stem.stride * line + step % per_row * DEPTH) * size_of::<T>()) as u32;
        }
        let first = self.units.start;
        for unit in self.units.clone() {
            let (image, rows) = (unit / bands, part(unit % bands, bands, height));
            self.copy_image(simd, image, rows.clone());
            self.copy_gradient(simd, image, rows.clone());
            let steps = &self.steps[..rows.len() * per_row];
            let (_, sums) = self.sums.split_at_mut(plan.blocks * LANES);
            let mut sums = sums.chunks_exact_mut(PAIR);
            let tile = BAND_ROWS * plan.width * LANES;
            for panel in (0..plan.panels()).map(|panel| part(panel, plan.panels(), plan.blocks)) {
                for product in 0..plan.products {
                    let x = &T::of(self.x)
                        [product * DEPTH / plan.rows * line + product * DEPTH % plan.rows * plan.width..];
                    let operands = Operands {
                        a: x.as_ptr().cast(),
                        a_row: plan.width,
                        a_tile: LANES * plan.width,
                        b: T::of(self.y)[panel.start * tile..].as_ptr().cast(),
                        b_tile: tile,
                        b_step: TILE_VALUES,
                    };
                    let sums = sums.next().expect("sums for each panel and product");
                    // SAFETY: the copy of the image has 32 rows for each product in each of the lines that these rows of the
                    // output read, that of the gradient pairs of all their pixels for each block.
                    unsafe { ready.multiply(panel.len(), operands, steps, sums, unit > first) }
                }
            }
        }
    }
}

impl<T: Value> Task<'_, T> {
    /// What these rows of the output read, `[line][product][4 channels][8 taps][pixel]`.
    #[inline(always)]
    fn copy_image<S: Simd>(&mut self, simd: S, index: usize, rows: Range<usize>) {
        let (plan, stem, image) = (self.plan, self.stem, self.image);
        let lines = (rows.len() - 1) * stem.stride + stem.kernel;
        let x = T::of_mut(self.x).chunks_exact_mut(plan.rows * plan.width);
        let (padded, every) = (T::of_mut(self.padded), T::of_mut(self.every));
        padded.fill(T::default());
        for (row, x) in x.take(lines).enumerate() {
            let y = (rows.start * stem.stride + row).checked_sub(stem.padding).filter(|y| *y < image.height);
            let Some(y) = y else {
                x.fill(T::default());
                continue;
            };
            let places = |channel: usize, tap: usize| tap / PIXELS * DEPTH + channel * PIXELS + tap % PIXELS;
            for channel in 0..stem.input_channels {
                let plane = index * stem.input_channels + channel;
                let from = &image.input[(plane * image.height + y) * image.width..][..image.width];
                let to = padded[stem.padding..].chunks_exact_mut(LANES);
                for (from, to) in from.chunks(LANES).zip(to) {
                    let mut values = [0.0; LANES];
                    values[..from.len()].copy_from_slice(from);
                    simd.write(to, simd.read(&values));
                }
                // Pixels whose distance is the stride lie side by side for the taps that read them.
                for residue in 0..stem.stride.min(plan.rows / CHANNELS) {
                    let from = padded[residue..].iter().step_by(stem.stride);
                    every[..plan.reach].iter_mut().zip(from).for_each(|(to, value)| *to = *value);
                    for tap in (residue..plan.rows / CHANNELS).step_by(stem.stride) {
                        let to = &mut x[places(channel, tap) * plan.width..][..plan.width];
                        to.copy_from_slice(&every[tap / stem.stride..][..plan.width]);
                    }
                }
            }
            for channel in stem.input_channels..CHANNELS {
                for tap in 0..plan.rows / CHANNELS {
                    x[places(channel, tap) * plan.width..][..plan.width].fill(T::default());
                }
            }
        }
    }

    /// Pairs of pixels of these rows of the gradient, and what they add to the bias.
    #[inline(always)]
    fn copy_gradient<S: Simd>(&mut self, simd: S, image: usize, rows: Range<usize>) {
        let (plan, gradient) = (self.plan, &self.output_gradient);
        let line = gradient.shape.width * LANES;
        let to = self.y.chunks_exact_mut(BAND_ROWS * plan.width * LANES / 2);
        for ((block, to), bias) in (0..plan.blocks).zip(to).zip(self.sums.chunks_exact_mut(LANES)) {
            let plane = gradient.plane(image, block);
            for (y, to) in rows.clone().zip(to.chunks_exact_mut(plan.width * LANES / 2)) {
                let copy = T::of_mut(self.copy);
                copy[..line].copy_from_slice(&plane[y * line..][..line]);
                copy[line..].fill(T::default());
                pair(simd, self.copy, to, bias);
            }
        }
    }
}
