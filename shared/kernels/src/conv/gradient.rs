//! The weight gradient of a direct convolution on vectors.
//!
//! The gradient is a matrix multiply whose rows are the taps and channels of an input block, whose columns
//! are the output channels, and whose sum runs over pixels. A tile of rows times a panel of output blocks
//! stays in registers over a chunk of pixels that fits the first-level cache, and is then added to the task's
//! partial sums. bf16 are multiplied in pairs of neighbouring pixels, which a copy of the chunk interleaves;
//! for kernels larger than 1x1 the copy is widened to f32. Chunks depend only on the size of the maps and are
//! summed in order, and each weight belongs to one task, so results do not depend on the number of threads.

use super::Convolution;
use super::grid::{ON_VECTORS, grid};
use super::pack::MOST_TAPS;
use super::padded::{Shifted, widen};
use super::pairs::BlockPairs;
use super::pass::WeightPass;
use super::rows::{Partial, PixelRuns, Rows};
use crate::context::{Context, split};
use crate::map::{LANES, Map};
use crate::pool::{Pool, part};
use crate::simd::{Simd, Vectorised, dispatch_tiled};
use crate::value::Value;
use std::ops::Range;

/// Groups of pixels in a chunk: one block of its input and output gradient fills most of a small first-level
/// cache (32 KiB).
const CHUNK: usize = 200;

/// The most pairs of blocks of a task, times taps: their sums, 1 KB each, stay in the second-level cache (512
/// KiB).
const PAIRS: usize = 300;

/// The cut of the work into tasks and chunks.
struct Partition {
    /// Images and rows of a chunk; more than one image only if its rows are complete.
    images: usize,
    rows: usize,
    /// Parts that the input blocks and the output blocks are cut into.
    grid: [usize; 2],
    /// Floats of scratch of each thread: for copies of the chunk's input and output gradient, and for partial
    /// sums.
    input: usize,
    output: usize,
    sums: usize,
}

impl Partition {
    fn new<T: Value>(conv: &Convolution, threads: usize) -> Partition {
        let (taps, [height, width]) = (conv.kernel * conv.kernel, conv.size);
        let chunk = if grouped::<T>(conv) { CHUNK * T::GROUP } else { CHUNK };
        let (images, rows) = if height * width <= chunk {
            (chunk / (height * width).max(1), height)
        } else {
            let most = (chunk / width).max(1);
            (1, height.div_ceil(height.div_ceil(most)))
        };
        let blocks = [conv.input_blocks(), conv.output_blocks()];
        let grid = grid(blocks, threads, PAIRS / taps, ON_VECTORS);
        let [inputs, outputs] = [0, 1].map(|side| blocks[side].div_ceil(grid[side]));
        let pixels = rows * width;
        let [input, output] = match (taps, T::GROUP) {
            (1, 1) => [0, 0],
            (1, _) => [1, outputs].map(|blocks| T::floats(blocks * images * in_groups::<T>(pixels))),
            (_, 1) => [images * Shifted::new(rows, width, conv.kernel).len, 0],
            (_, _) => {
                [images * Shifted::new(rows, width, conv.kernel).len, outputs * images * pixels * LANES]
            }
        };
        Partition { images, rows, grid, input, output, sums: (inputs * taps * LANES + 1) * outputs * LANES }
    }

    /// Floats of scratch of each thread.
    fn scratch(&self) -> usize {
        self.input + self.output + self.sums
    }
}

/// Whether values are multiplied in groups of pixels.
fn grouped<T: Value>(conv: &Convolution) -> bool {
    T::GROUP > 1 && conv.kernel == 1
}

/// Values of a block's pixels in whole groups.
fn in_groups<T: Value>(pixels: usize) -> usize {
    pixels.next_multiple_of(T::GROUP) * LANES
}

/// Floats of scratch of all threads together.
pub(super) fn scratch_len<T: Value>(conv: &Convolution, pool: &Pool) -> usize {
    Partition::new::<T>(conv, pool.threads()).scratch() * pool.threads()
}

/// Overwrites both gradients with the sums over all images, of which there is at least one.
pub(super) fn run<T: Value>(conv: &Convolution, context: Context, pass: WeightPass<'_, T>) {
    let WeightPass { input, output_gradient, gradients } = pass;
    let partition = Partition::new::<T>(conv, context.pool.threads());
    let (isa, gradients) = (context.isa, gradients.share());
    let grid = partition.grid;
    context.run(grid[0] * grid[1], partition.scratch(), |task, scratch| {
        let place = [task / grid[1], task % grid[1]];
        let [input_copy, output_copy, sums] =
            split(scratch, [partition.input, partition.output, partition.sums]);
        let pairs = BlockPairs {
            conv,
            input,
            output_gradient,
            input_blocks: part(place[0], grid[0], conv.input_blocks()),
            output_blocks: part(place[1], grid[1], conv.output_blocks()),
            gradients,
        };
        dispatch_tiled(isa, Task { pairs, partition: &partition, input_copy, output_copy, sums });
    });
}

/// A task with its memory.
struct Task<'a, T> {
    pairs: BlockPairs<'a, T>,
    partition: &'a Partition,
    input_copy: &'a mut [f32],
    output_copy: &'a mut [f32],
    sums: &'a mut [f32],
}

impl<T: Value> Vectorised<T> for Task<'_, T> {
    #[inline(always)]
    fn vectors<S: Simd>(mut self, simd: S) {
        self.sums[..self.pairs.output_blocks.len() * LANES].fill(0.0);
        let (batch, height) = (self.pairs.input.shape.batch, self.pairs.input.shape.height);
        for first in (0..batch).step_by(self.partition.images) {
            let images = first..(first + self.partition.images).min(batch);
            for start in (0..height).step_by(self.partition.rows) {
                self.chunk(simd, images.clone(), start..(start + self.partition.rows).min(height));
            }
        }
        self.unpack(simd);
    }
}

impl<T: Value> Task<'_, T> {
    /// Adds the contribution of a chunk to the partial sums.
    #[inline(always)]
    fn chunk<S: Simd>(&mut self, simd: S, images: Range<usize>, rows: Range<usize>) {
        if self.pairs.input_blocks.start == 0 {
            self.add_to_bias(simd, images.clone(), rows.clone());
        }
        if grouped::<T>(self.pairs.conv) {
            self.chunk_of_groups(simd, images, rows);
        } else {
            self.chunk_of_floats(simd, images, rows);
        }
    }

    #[inline(always)]
    fn add_to_bias<S: Simd>(&mut self, simd: S, images: Range<usize>, rows: Range<usize>) {
        let (output, line) = (&self.pairs.output_gradient, self.pairs.input.shape.width * LANES);
        let bias_sums = &mut self.sums[..self.pairs.output_blocks.len() * LANES];
        for (block, bias) in self.pairs.output_blocks.clone().zip(bias_sums.chunks_exact_mut(LANES)) {
            // There are several sums, since each addition waits for the previous one into the same sum.
            let mut sums = [simd.read(bias), simd.zero(), simd.zero(), simd.zero()];
            for image in images.clone() {
                let pixels = &output.plane(image, block)[rows.start * line..rows.end * line];
                for pixels in pixels.chunks(sums.len() * LANES) {
                    for (sum, pixel) in sums.iter_mut().zip(pixels.chunks_exact(LANES)) {
                        *sum = simd.add(*sum, simd.read(pixel));
                    }
                }
            }
            let [a, b, c, d] = sums;
            simd.write(bias, simd.add(simd.add(a, b), simd.add(c, d)));
        }
    }

    /// The contribution of a chunk to a 1x1 kernel's gradient, in groups of pixels.
    #[inline(always)]
    fn chunk_of_groups<S: Simd>(&mut self, simd: S, images: Range<usize>, rows: Range<usize>) {
        let per_block = images.len() * in_groups::<T>(rows.len() * self.pairs.input.shape.width);
        let ys = T::of_mut(self.output_copy);
        for (block, to) in self.pairs.output_blocks.clone().zip(ys.chunks_exact_mut(per_block)) {
            copy_in_groups(simd, &self.pairs.output_gradient, block, images.clone(), rows.clone(), to);
        }
        let (pixels, input_pixel) = (per_block / LANES / T::GROUP, LANES * T::GROUP);
        let runs = PixelRuns { count: 1, pixels, input_run: 0, input_pixel, output_run: 0, ahead: 0 };
        let accumulate = images.start + rows.start > 0;
        // The source of the next block's copy (its first image) is prefetched by hand: the hardware is too
        // late.
        let start = rows.start * self.pairs.input.shape.width * LANES;
        let next = |block: usize| {
            self.pairs.input.data.as_ptr().wrapping_add(self.pairs.input.offset(images.start, block) + start)
        };
        let sums = &mut self.sums[self.pairs.output_blocks.len() * LANES..];
        let mut sums = Partial { sums, accumulate };
        for block in self.pairs.input_blocks.clone() {
            let x = &mut T::of_mut(self.input_copy)[..per_block];
            copy_in_groups(simd, &self.pairs.input, block, images.clone(), rows.clone(), x);
            let mut offsets = [0; LANES];
            offsets.iter_mut().enumerate().for_each(|(channel, offset)| *offset = channel * T::GROUP);
            let offsets = Rows(&offsets[..self.pairs.conv.inputs.blocks[block].count]);
            let y = |column: usize| &ys[column * per_block..];
            let runs = PixelRuns { ahead: distance(x, next(block + 1)), ..runs };
            // SAFETY: the copy has a group for each channel and each group of pixels of the chunk.
            sums = unsafe { products(simd, offsets, runs, x, self.pairs.output_blocks.len(), y, sums) };
        }
    }

    /// The contribution of a chunk to any kernel's gradient in f32, read from the maps directly where they
    /// are f32 and need no copy.
    #[inline(always)]
    fn chunk_of_floats<S: Simd>(&mut self, simd: S, images: Range<usize>, rows: Range<usize>) {
        let (kernel, width) = (self.pairs.conv.kernel, self.pairs.input.shape.width);
        let (start, pixels) = (rows.start * width * LANES, rows.len() * width);
        let (input, output) = (&self.pairs.input, &self.pairs.output_gradient);
        let (input_floats, output_floats) = (T::as_floats(input.data), T::as_floats(output.data));
        let per_block = images.len() * pixels * LANES;
        if output_floats.is_none() {
            let ys = self.output_copy.chunks_exact_mut(per_block);
            for (block, to) in self.pairs.output_blocks.clone().zip(ys) {
                for (image, to) in images.clone().zip(to.chunks_exact_mut(pixels * LANES)) {
                    widen(simd, &output.plane(image, block)[start..][..pixels * LANES], to);
                }
            }
        }
        let y = |column: usize| match output_floats {
            Some(data) => {
                &data[output.offset(images.start, self.pairs.output_blocks.start + column) + start..]
            }
            None => &self.output_copy[column * per_block..],
        };
        let shifted = Shifted::new(self.partition.rows, width, kernel);
        let runs = PixelRuns {
            count: images.len(),
            pixels,
            input_run: if kernel == 1 { input.shape.blocks * input.shape.plane() } else { shifted.len },
            input_pixel: LANES,
            output_run: match output_floats {
                Some(_) => output.shape.blocks * output.shape.plane(),
                None => pixels * LANES,
            },
            ahead: if kernel == 1 { input.shape.plane() } else { 0 },
        };
        let accumulate = images.start + rows.start > 0;
        let sums = &mut self.sums[self.pairs.output_blocks.len() * LANES..];
        let mut sums = Partial { sums, accumulate };
        for block in self.pairs.input_blocks.clone() {
            let x = match input_floats {
                Some(data) if kernel == 1 => &data[input.offset(images.start, block) + start..],
                _ => {
                    for (image, to) in images.clone().zip(self.input_copy.chunks_exact_mut(shifted.len)) {
                        let plane = input.plane(image, block);
                        shifted.fill(simd, plane, input.shape, rows.clone(), kernel, to);
                    }
                    &*self.input_copy
                }
            };
            // Offsets of the multiply's rows in the shifted copies.
            let mut offsets = [0; MOST_TAPS * LANES];
            let channels = self.pairs.conv.inputs.blocks[block].count;
            let offsets = &mut offsets[..kernel * kernel * channels];
            for (tap, offsets) in offsets.chunks_exact_mut(channels).enumerate() {
                let start = shifted.tap(tap, kernel);
                offsets.iter_mut().zip(start..).for_each(|(offset, value)| *offset = value);
            }
            let reach =
                (runs.count - 1) * runs.input_run + shifted.tap(kernel * kernel - 1, kernel) + pixels * LANES;
            assert!(reach <= x.len(), "input of a chunk");
            let offsets = Rows(offsets);
            // SAFETY: that `x` has the last pixel of the last tap is asserted above.
            sums = unsafe { products(simd, offsets, runs, x, self.pairs.output_blocks.len(), y, sums) };
        }
    }

    /// Writes the partial sums, `[input block][output block][tap][input][16 outputs]`, in canonical order.
    #[inline(always)]
    fn unpack<S: Simd>(&self, simd: S) {
        let (conv, taps) = (self.pairs.conv, self.pairs.conv.kernel * self.pairs.conv.kernel);
        let (bias_sums, mut sums) = self.sums.split_at(self.pairs.output_blocks.len() * LANES);
        self.pairs.write_bias(bias_sums);
        for input in self.pairs.inputs() {
            for output in self.pairs.outputs() {
                let (partial, rest) = sums.split_at(taps * input.count * LANES);
                sums = rest;
                if taps == 1 && input.count == LANES {
                    let rows = std::array::from_fn(|i| simd.read(&partial[i * LANES..]));
                    for (o, row) in simd.transpose(rows).into_iter().enumerate().take(output.count) {
                        let start = (output.first + o) * conv.input_count() + input.first;
                        // SAFETY: only this task has these input and output channels.
                        simd.write(unsafe { self.pairs.gradients.weights.part(start, LANES) }, row);
                    }
                    continue;
                }
                for o in 0..output.count {
                    let start = ((output.first + o) * conv.input_count() + input.first) * taps;
                    // SAFETY: only this task has these input and output channels.
                    let gradient = unsafe { self.pairs.gradients.weights.part(start, input.count * taps) };
                    for (i, gradient) in gradient.chunks_exact_mut(taps).enumerate() {
                        for (tap, gradient) in gradient.iter_mut().enumerate() {
                            *gradient = partial[(tap * input.count + i) * LANES + o];
                        }
                    }
                }
            }
        }
    }
}

/// Multiplies the rows of an input block with all `outputs` output blocks of a task; returns the sums behind
/// theirs.
///
/// # Safety
/// See [`Rows::panel`].
#[inline(always)]
unsafe fn products<'s, 'y, S: Simd, P: Value>(
    simd: S,
    rows: Rows<'_>,
    runs: PixelRuns,
    x: &[P],
    outputs: usize,
    y: impl Fn(usize) -> &'y [P],
    partial: Partial<'s>,
) -> Partial<'s> {
    let Partial { mut sums, accumulate } = partial;
    for panel in (0..outputs).step_by(S::PANEL) {
        let columns = S::PANEL.min(outputs - panel);
        let (of_panel, rest) = sums.split_at_mut(columns * rows.0.len() * LANES);
        sums = rest;
        let of_panel = Partial { sums: of_panel, accumulate };
        // SAFETY: the caller's promise.
        unsafe { rows.panel(simd, runs, x, columns, |column| y(panel + column), of_panel) }
    }
    Partial { sums, accumulate }
}

/// Distance in values, modulo 2^64, from the start of a copy to any address: where to prefetch.
fn distance<T>(from: &[T], to: *const T) -> usize {
    (to as isize).wrapping_sub(from.as_ptr() as isize).wrapping_div(size_of::<T>() as isize) as usize
}

/// Copies the rows of a block of all these images, one image behind the other, and groups their pixels; zeros
/// fill up the last group of an image.
#[inline(always)]
fn copy_in_groups<S: Simd, T: Value>(
    simd: S,
    map: &Map<T>,
    block: usize,
    images: Range<usize>,
    rows: Range<usize>,
    to: &mut [T],
) {
    let line = map.shape.width * LANES;
    let group = T::GROUP * LANES;
    let len = in_groups::<T>(rows.len() * map.shape.width);
    for (image, to) in images.zip(to.chunks_exact_mut(len)) {
        let from = map.plane(image, block)[rows.start * line..rows.end * line].chunks(group);
        for (from, to) in from.zip(to.chunks_exact_mut(group)) {
            let mut whole = [T::default(); 2 * LANES];
            let from = if from.len() == group {
                from
            } else {
                whole[..from.len()].copy_from_slice(from);
                &whole
            };
            // SAFETY: both are as long as a group of vectors.
            unsafe { T::group(simd, from.as_ptr(), to.as_mut_ptr()) }
        }
    }
}
