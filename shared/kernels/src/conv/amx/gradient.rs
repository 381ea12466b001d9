//! The weight gradient on AMX tiles.
//!
//! The sums of the gradient run over pixels, so pixels are contiguous in the copies: the copy of the input
//! has 32 pixels of each channel side by side, that of the output gradient pairs of pixels for each output
//! channel. A tap is the same row of input pixels, read from a shifted position. The sums of a pair of blocks
//! and a tap stay in tiles over a chunk and are then added to the task's sums. Chunks depend only on the size
//! of the maps and are summed in order, and each weight belongs to one task, so results do not depend on the
//! number of threads.

use super::positions::{Positions, Role, Source, chunk};
use super::{budget, words};
use crate::context::{Context, split};
use crate::conv::Convolution;
use crate::conv::grid::grid;
use crate::conv::pairs::BlockPairs;
use crate::conv::pass::WeightPass;
use crate::map::LANES;
use crate::pool::{Pool, part};
use crate::simd::amx::{Amx, DEPTH, Operands, SUMS, TILE_VALUES, Tiles};
use crate::simd::{Simd, Vectorised, dispatch_tiled};
use crate::value::Value;
use std::ops::Range;

/// Cost of copying a block, in multiplies of a block: the copy is transposed by vectors, which take ten times
/// as long.
const COPY: usize = 5;

/// Floats of the sums of two by two blocks and a tap.
const PAIR: usize = 2 * SUMS;

/// The cut of the work into tasks and chunks.
struct Partition {
    /// Images and rows of a chunk; more than one image only if its rows are complete.
    images: usize,
    rows: usize,
    /// Parts that the pairs of input blocks and of output blocks are cut into.
    grid: [usize; 2],
    /// Pairs of input blocks and of output blocks of a task.
    pairs: [usize; 2],
    taps: usize,
    /// Positions of the largest chunk's inputs and outputs.
    inputs: usize,
    outputs: usize,
}

impl Partition {
    fn new(conv: &Convolution, threads: usize) -> Partition {
        let (kernel, taps, budget) = (conv.kernel, conv.kernel * conv.kernel, budget());
        let blocks = [conv.input_blocks(), conv.output_blocks()];
        let limit = budget / ((blocks[0] + blocks[1]) * LANES * size_of::<u16>());
        let [images, rows] = chunk(limit, kernel, conv.size, usize::MAX);
        let pairs = blocks.map(|blocks| blocks.div_ceil(2));
        let most = budget / (PAIR * taps * size_of::<f32>());
        let grid = grid(pairs, threads, most, [taps, COPY]);
        let positions = Positions::new(images, rows, conv.size[1], kernel);
        Partition {
            images,
            rows,
            grid,
            pairs: [0, 1].map(|side: usize| pairs[side].div_ceil(grid[side])),
            taps,
            inputs: positions.inputs().next_multiple_of(DEPTH),
            outputs: positions.outputs(),
        }
    }

    /// Values from one channel of the input to the next: an odd number of cache lines, so that channels fall
    /// into different sets.
    fn channel(&self) -> usize {
        ((self.inputs / DEPTH) | 1) * DEPTH
    }

    /// Floats of scratch of each thread: a block's pixels before conversion, both operands, the steps'
    /// offsets, and the sums of bias and weights.
    fn parts(&self) -> [usize; 6] {
        let [inputs, outputs] = self.pairs;
        [
            self.inputs.max(self.outputs) * LANES / 2,
            inputs * 2 * LANES * self.channel() / 2,
            outputs * 2 * LANES * self.outputs / 2,
            (self.outputs / DEPTH).next_multiple_of(LANES),
            outputs * 2 * LANES,
            inputs * outputs * self.taps * PAIR,
        ]
    }

    fn scratch(&self) -> usize {
        self.parts().iter().sum()
    }
}

/// Floats of scratch of all threads together.
pub(super) fn scratch_len(conv: &Convolution, pool: &Pool) -> usize {
    if conv.size[0] * conv.size[1] == 0 {
        0
    } else {
        Partition::new(conv, pool.threads()).scratch() * pool.threads()
    }
}

/// Overwrites both gradients with the sums over all images, of which there is at least one.
pub(super) fn run<T: Value>(conv: &Convolution, amx: Amx, context: Context, pass: WeightPass<'_, T>) {
    let WeightPass { input, output_gradient, gradients } = pass;
    let partition = Partition::new(conv, context.pool.threads());
    let (isa, gradients) = (context.isa, gradients.share());
    let blocks = |index, parts, count: usize| {
        let pairs = part(index, parts, count.div_ceil(2));
        2 * pairs.start..(2 * pairs.end).min(count)
    };
    let grid = partition.grid;
    context.run(grid[0] * grid[1], partition.scratch(), |task, scratch| {
        let [copy, x, y, steps, bias, sums] = split(scratch, partition.parts());
        let pairs = BlockPairs {
            conv,
            input,
            output_gradient,
            input_blocks: blocks(task / grid[1], grid[0], conv.input_blocks()),
            output_blocks: blocks(task % grid[1], grid[1], conv.output_blocks()),
            gradients,
        };
        let task = Task { pairs, amx, partition: &partition, copy, x, y, steps: words(steps), bias, sums };
        dispatch_tiled(isa, task);
    });
}

/// A task with its memory.
struct Task<'a, T> {
    pairs: BlockPairs<'a, T>,
    amx: Amx,
    partition: &'a Partition,
    copy: &'a mut [f32],
    x: &'a mut [f32],
    y: &'a mut [f32],
    steps: &'a mut [u32],
    bias: &'a mut [f32],
    sums: &'a mut [f32],
}

impl<T: Value> Vectorised<T> for Task<'_, T> {
    #[inline(always)]
    fn vectors<S: Simd>(mut self, simd: S) {
        let tiles = self.amx.configure();
        self.bias.fill(0.0);
        if self.pairs.input_blocks.len() % 2 == 1 {
            // The last multiply has a second block, which stays zero.
            let block = LANES * self.partition.channel() / 2;
            self.x[self.pairs.input_blocks.len() * block..][..block].fill(0.0);
        }
        let steps = self.steps.iter_mut().enumerate();
        steps.for_each(|(step, offset)| *offset = (step * DEPTH * size_of::<T>()) as u32);
        let (batch, height) = (self.pairs.input.shape.batch, self.pairs.input.shape.height);
        for first in (0..batch).step_by(self.partition.images) {
            let images = first..(first + self.partition.images).min(batch);
            for start in (0..height).step_by(self.partition.rows) {
                let rows = start..(start + self.partition.rows).min(height);
                self.chunk(simd, &tiles, images.clone(), rows);
            }
        }
        self.unpack(simd);
    }
}

impl<T: Value> Task<'_, T> {
    /// Adds the contribution of a chunk to the sums.
    #[inline(always)]
    fn chunk<S: Simd>(&mut self, simd: S, tiles: &Tiles, images: Range<usize>, rows: Range<usize>) {
        let kernel = self.pairs.conv.kernel;
        let positions = Positions::new(images.len(), rows.len(), self.pairs.input.shape.width, kernel);
        let (inputs, outputs) = (positions.inputs().next_multiple_of(DEPTH), positions.outputs());
        let (first, start) = (images.start, rows.start);
        let place = |position: usize| position * LANES;
        let (channel, tile) = (self.partition.channel(), self.partition.outputs * LANES);
        for (block, x) in self.pairs.input_blocks.clone().zip(self.x.chunks_exact_mut(channel * LANES / 2)) {
            let copy = T::of_mut(self.copy);
            let source = Source { map: &self.pairs.input, block, image: first, row: start };
            positions.fill(Role::Inputs, source, inputs, copy, place);
            turn(simd, &self.copy[..inputs * LANES / 2], x, channel / 2);
        }
        let bias = self.bias.chunks_exact_mut(LANES);
        for ((block, y), bias) in
            self.pairs.output_blocks.clone().zip(self.y.chunks_exact_mut(tile / 2)).zip(bias)
        {
            let copy = T::of_mut(self.copy);
            let source = Source { map: &self.pairs.output_gradient, block, image: first, row: start };
            positions.fill(Role::Outputs, source, outputs, copy, place);
            pair(simd, &self.copy[..outputs * LANES / 2], y, bias);
        }
        let accumulate = first + start > 0;
        let steps = &self.steps[..outputs / DEPTH];
        let mut sums = self.sums.chunks_exact_mut(PAIR);
        for x in self.x.chunks_exact(channel * LANES).take(self.pairs.input_blocks.len().div_ceil(2)) {
            for block in (0..self.pairs.output_blocks.len()).step_by(2) {
                let y = &self.y[block * tile / 2..];
                let columns = (self.pairs.output_blocks.len() - block).min(2);
                for tap in 0..kernel * kernel {
                    let x = &T::of(x)[positions.tap(tap / kernel, tap % kernel)..];
                    let operands = Operands {
                        a: x.as_ptr().cast(),
                        a_row: channel,
                        a_tile: channel * LANES,
                        b: y.as_ptr().cast(),
                        b_tile: tile,
                        b_step: TILE_VALUES,
                    };
                    let sums = sums.next().expect("sums for each pair of blocks and tap");
                    // SAFETY: each of the 32 channels has a value for each input, and so for the outputs at
                    // this tap; each output block has pairs of all outputs.
                    unsafe { tiles.multiply(columns, operands, steps, sums, accumulate) }
                }
            }
        }
    }

    /// Writes the sums, `[pair of input blocks][pair of output blocks][tap][output block][32 inputs][16
    /// outputs]`, in canonical order.
    #[inline(always)]
    fn unpack<S: Simd>(&self, simd: S) {
        let (conv, taps) = (self.pairs.conv, self.partition.taps);
        let outputs = self.pairs.outputs();
        self.pairs.write_bias(self.bias);
        let pairs = outputs.len().div_ceil(2);
        for (i, input) in self.pairs.inputs().iter().enumerate() {
            for (o, output) in outputs.iter().enumerate() {
                for tap in 0..taps {
                    let pair = (i / 2 * pairs + o / 2) * taps + tap;
                    let sums = &self.sums[pair * PAIR + o % 2 * SUMS + i % 2 * LANES * LANES..];
                    let turned = simd.transpose(std::array::from_fn(|row| simd.read(&sums[row * LANES..])));
                    for (lane, inputs) in turned.into_iter().enumerate().take(output.count) {
                        let start = ((output.first + lane) * conv.input_count() + input.first) * taps;
                        // SAFETY: only this task has these input and output channels.
                        let gradient =
                            unsafe { self.pairs.gradients.weights.part(start, input.count * taps) };
                        if taps == 1 && input.count == LANES {
                            simd.write(gradient, inputs);
                        } else {
                            let mut values = [0.0; LANES];
                            simd.write(&mut values, inputs);
                            let gradient = gradient.iter_mut().skip(tap).step_by(taps);
                            gradient.zip(values).for_each(|(to, value)| *to = value);
                        }
                    }
                }
            }
        }
    }
}

/// Transposes pixels of 16 channels to channels of pixels; a channel is `line` floats from the next.
#[inline(always)]
fn turn<S: Simd>(simd: S, pixels: &[f32], channels: &mut [f32], line: usize) {
    for (index, pixels) in pixels.chunks_exact(DEPTH * LANES / 2).enumerate() {
        let pairs = std::array::from_fn(|pair| simd.interleave(simd.read(&pixels[pair * LANES..])));
        for (channel, values) in simd.transpose(pairs).into_iter().enumerate() {
            simd.write(&mut channels[channel * line + index * LANES..], values);
        }
    }
}

/// Interleaves pixels of 16 channels to pairs of pixels for each channel, and adds them to the bias sums.
#[inline(always)]
pub(in crate::conv) fn pair<S: Simd>(simd: S, pixels: &[f32], pairs: &mut [f32], bias: &mut [f32]) {
    let mut sums = [simd.read(bias), simd.zero()];
    for (pixels, to) in pixels.chunks_exact(LANES).zip(pairs.chunks_exact_mut(LANES)) {
        let pair = simd.interleave(simd.read(pixels));
        sums = [simd.add(sums[0], simd.low(pair)), simd.add(sums[1], simd.high(pair))];
        simd.write(to, pair);
    }
    simd.write(bias, simd.add(sums[0], sums[1]));
}
