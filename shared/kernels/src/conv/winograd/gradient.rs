//! The gradient by the weights by minimal filtering.
//!
//! The pairs of input and output blocks are cut into a grid of tasks. Each task transforms chunks of tiles of its blocks
//! of the input and of the output gradient, and adds each point's product over the chunk's tiles to its sums; with the
//! last chunk the sums become taps. Everything between is a thread's own, so that no thread waits for another's
//! stores; the price is that a block is transformed once by every task that has it. Chunks depend only on the size
//! of the layer and follow each other in order, and each sum belongs to one task: results do not depend on the number of
//! threads.

use super::super::grid::grid;
use super::super::rows::{Rows, Runs};
use super::super::{Channels, Convolution};
use super::forward::input_tile;
use super::tiles::{Copied, Square, Tiles};
use super::transform::{OutputGradient, POINTS, SIDE, WeightGradient, square};
use super::{by_kernel, outputs_of};
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::map::{LANES, Map};
use crate::pool::{Pool, part};
use crate::simd::{Kernel, Simd, dispatch};
use crate::value::Value;
use std::ops::Range;

/// Tiles of a chunk: with fewer the sums would be read and written too often, with more the transformed tiles leave the
/// second-level cache.
const TILES: usize = 64;

/// With fewer tiles the sums, four times the weights, cost more than the products save.
const LEAST: usize = 16;

/// The most input blocks whose sums are complete at a time: their channels are the rows of one product.
const GROUP: usize = 3;

/// Whether a gradient over `batch` images takes less time than the direct kernel.
pub(in super::super) fn pays(kernel: usize, height: usize, width: usize, batch: usize) -> bool {
    Tiles::new(outputs_of(kernel), height, width).count(batch) >= LEAST
}

/// How the work is cut.
#[derive(Clone, Copy)]
struct Plan {
    /// Parts that the input and the output blocks are cut into.
    grid: [usize; 2],
    /// Values between the points of the transformed input, of the transformed output gradient.
    input: usize,
    output: usize,
    /// Floats of the sums of all points.
    sums: usize,
}

impl Plan {
    fn new(conv: &Convolution, threads: usize) -> Plan {
        let blocks = [conv.input_blocks(), conv.output_blocks()];
        let grid = grid(blocks, threads, usize::MAX);
        let [inputs, outputs] = [0, 1].map(|side| blocks[side].div_ceil(grid[side]));
        // One line more, lest the values of all points fall into one set of the cache.
        let matrix = |blocks: usize| (blocks * TILES + 1) * LANES;
        let sums = POINTS * inputs * outputs * LANES * LANES;
        Plan { grid, input: matrix(inputs), output: matrix(outputs), sums }
    }

    /// Floats of scratch of a task: for the transformed input and output gradient, of `T`, and the sums.
    fn scratch<T: Value>(&self) -> [usize; 3] {
        [T::floats(POINTS * self.input), T::floats(POINTS * self.output), self.sums]
    }
}

/// Scratch that all threads together need.
pub(in super::super) fn scratch_len<T: Value>(conv: &Convolution, pool: &Pool) -> usize {
    Plan::new(conv, pool.threads()).scratch::<T>().iter().sum::<usize>() * pool.threads()
}

/// Overwrites both gradients with the sums over all images; there is at least one tile.
#[expect(clippy::too_many_arguments, reason = "what a convolution takes")]
pub(in super::super) fn run<T: Value>(
    conv: &Convolution,
    isa: Isa,
    pool: &Pool,
    input: Map<T>,
    output_gradient: Map<T>,
    weight_gradient: &mut [f32],
    bias_gradient: &mut [f32],
    scratch: &mut [f32],
) {
    let plan = Plan::new(conv, pool.threads());
    let channels = [&conv.inputs.blocks[..], &conv.outputs.blocks[..]];
    let tiles = Tiles::new(outputs_of(conv.kernel), input.shape.height, input.shape.width);
    let count = tiles.count(input.shape.batch);
    let weight_gradient = Disjoint::new(weight_gradient);
    let bias_gradient = Disjoint::new(bias_gradient);
    let scratch = Disjoint::new(scratch);
    let lengths = plan.scratch::<T>();
    let per_thread = lengths.iter().sum();
    pool.run_on_threads(plan.grid[0] * plan.grid[1], |thread, task| {
        let place = [task / plan.grid[1], task % plan.grid[1]];
        let [inputs, outputs] = [0, 1].map(|side| part(place[side], plan.grid[side], channels[side].len()));
        // SAFETY: `thread` is this thread's alone.
        let scratch = unsafe { scratch.part(thread * per_thread, per_thread) };
        let (transformed_input, scratch) = scratch.split_at_mut(lengths[0]);
        let (transformed_gradient, sums) = scratch.split_at_mut(lengths[1]);
        let task = Task {
            conv,
            plan,
            tiles,
            count,
            input,
            output_gradient,
            first: [inputs.start, outputs.start],
            inputs: &channels[0][inputs],
            outputs: &channels[1][outputs],
            transformed_input: T::of_mut(transformed_input),
            transformed_gradient: T::of_mut(transformed_gradient),
            sums,
            weight_gradient,
            bias_gradient,
        };
        dispatch(isa, task);
    });
}

/// Some input blocks times some output blocks, over all tiles.
struct Task<'a, T> {
    conv: &'a Convolution,
    plan: Plan,
    tiles: Tiles,
    count: usize,
    input: Map<'a, T>,
    output_gradient: Map<'a, T>,
    /// The first input block and the first output block.
    first: [usize; 2],
    inputs: &'a [Channels],
    outputs: &'a [Channels],
    transformed_input: &'a mut [T],
    transformed_gradient: &'a mut [T],
    sums: &'a mut [f32],
    weight_gradient: Disjoint<'a, f32>,
    bias_gradient: Disjoint<'a, f32>,
}

impl<T: Value> Kernel for Task<'_, T> {
    const HALVES: bool = T::GROUP == 2;
    type Output = ();

    fn scalar(self) {
        unreachable!("the scalar convolution has no tiles")
    }

    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        by_kernel!(self.conv.kernel, all_chunks(simd, self));
    }
}

#[inline(always)]
fn all_chunks<S: Simd, T: Value, const M: usize, const R: usize>(simd: S, mut task: Task<'_, T>) {
    for start in (0..task.count).step_by(TILES) {
        let chunk = start..(start + TILES).min(task.count);
        task.transform_input(simd, chunk.clone());
        task.transform_gradient::<_, M>(simd, chunk.clone());
        task.products::<_, R>(simd, chunk);
    }
}

impl<T: Value> Task<'_, T> {
    #[inline(always)]
    fn transform_input<S: Simd>(&mut self, simd: S, chunk: Range<usize>) {
        let pad = self.conv.kernel / 2;
        let mut copy: Copied<T> = [T::default(); POINTS * LANES];
        for block in 0..self.inputs.len() {
            for (tile, index) in chunk.clone().enumerate() {
                let place = self.tiles.place(index);
                let plane = self.input.plane(place.image, self.first[0] + block);
                let to = &mut self.transformed_input[(block * TILES + tile) * LANES..];
                assert!((POINTS - 1) * self.plan.input + LANES <= to.len(), "a transformed tile");
                let tile = Square::new::<SIDE>(plane, self.input.shape, place, pad, &mut copy);
                // SAFETY: the last point is asserted.
                unsafe { input_tile(simd, tile, to.as_mut_ptr(), self.plan.input) };
            }
            let tiles = &mut self.transformed_input[block * TILES * LANES..];
            group_tiles(simd, tiles, chunk.len(), self.plan.input);
        }
    }

    /// Transforms tiles of `M` output gradients a side; the tasks of the first input blocks also add them to the bias's.
    #[inline(always)]
    fn transform_gradient<S: Simd, const M: usize>(&mut self, simd: S, chunk: Range<usize>) {
        let map = &self.output_gradient;
        let mut copy: Copied<T> = [T::default(); POINTS * LANES];
        for (block, channels) in self.outputs.iter().enumerate() {
            let mut sum = simd.zero();
            for (tile, index) in chunk.clone().enumerate() {
                let place = self.tiles.place(index);
                let plane = map.plane(place.image, self.first[1] + block);
                let from = Square::new::<M>(plane, map.shape, place, 0, &mut copy);
                for y in 0..M {
                    for x in 0..M {
                        // SAFETY: below the side.
                        sum = simd.add(sum, unsafe { from.at(simd, y, x) });
                    }
                }
                let to = &mut self.transformed_gradient[(block * TILES + tile) * LANES..];
                assert!((POINTS - 1) * self.plan.output + LANES <= to.len(), "a transformed tile");
                let to = to.as_mut_ptr();
                square::<_, OutputGradient, M, SIDE>(
                    simd,
                    // SAFETY: below the side.
                    |y, x| unsafe { from.at(simd, y, x) },
                    // SAFETY: the last point is asserted.
                    |y, x, value| unsafe { simd.store(to.add((y * SIDE + x) * self.plan.output), value) },
                );
            }
            let tiles = &mut self.transformed_gradient[block * TILES * LANES..];
            group_tiles(simd, tiles, chunk.len(), self.plan.output);
            if self.first[0] == 0 {
                let mut sums = [0.0; LANES];
                simd.write(&mut sums, sum);
                // SAFETY: among the tasks of the first input blocks only this one has these channels.
                let bias = unsafe { self.bias_gradient.part(channels.first, channels.count) };
                if chunk.start == 0 {
                    bias.fill(0.0);
                }
                bias.iter_mut().zip(sums).for_each(|(bias, sum)| *bias += sum);
            }
        }
    }

    /// Adds the chunk's products to the sums: `[panel of output blocks][group of input blocks][point][output block][row]
    /// [16]`. The sums of a panel and a group stay in the second-level cache over all points, and become taps there when
    /// the chunk is the last.
    #[inline(always)]
    fn products<S: Simd, const R: usize>(&mut self, simd: S, chunk: Range<usize>) {
        let groups = chunk.len().div_ceil(T::GROUP);
        let input_pixel = LANES * T::GROUP;
        let runs = Runs { count: 1, pixels: groups, input_run: 0, input_pixel, output_run: 0, ahead: 0 };
        let Plan { input, output, .. } = self.plan;
        // As many blocks as fill whole tiles of rows.
        let group = if LANES.is_multiple_of(S::ROWS) { 1 } else { GROUP };
        let mut done = 0;
        for panel in (0..self.outputs.len()).step_by(S::PANEL) {
            let columns = S::PANEL.min(self.outputs.len() - panel);
            for start in (0..self.inputs.len()).step_by(group) {
                let blocks = start..(start + group).min(self.inputs.len());
                let mut offsets = [0; GROUP * LANES];
                let mut rows = 0;
                for block in blocks.clone() {
                    for channel in 0..self.inputs[block].count {
                        offsets[rows] = block * TILES * LANES + channel * T::GROUP;
                        rows += 1;
                    }
                }
                let each = columns * rows * LANES;
                for point in 0..POINTS {
                    let x = &self.transformed_input[point * input..][..input];
                    assert!(
                        offsets[rows - 1] + (groups - 1) * input_pixel + T::GROUP <= x.len(),
                        "channels of a chunk"
                    );
                    let gradient = &self.transformed_gradient[point * output..][..output];
                    let y = |column: usize| &gradient[(panel + column) * TILES * LANES..];
                    let sums = &mut self.sums[done + point * each..][..each];
                    // SAFETY: that the last row has all tiles is asserted, and no row lies behind it.
                    unsafe { Rows(&offsets[..rows]).panel(simd, runs, x, columns, y, chunk.start > 0, sums) }
                }
                if chunk.end == self.count {
                    self.taps::<_, R>(simd, panel..panel + columns, blocks, done);
                }
                done += POINTS * each;
            }
        }
    }

    /// Transforms the complete sums of a panel and a group, which start at `first`, to taps.
    #[inline(always)]
    fn taps<S: Simd, const R: usize>(
        &self,
        simd: S,
        columns: Range<usize>,
        blocks: Range<usize>,
        first: usize,
    ) {
        let inputs = self.conv.input_count();
        let channels = &self.inputs[blocks];
        let rows: usize = channels.iter().map(|channels| channels.count).sum();
        let point = columns.len() * rows * LANES;
        let mut taps = [[0.0; LANES]; POINTS];
        for (column, outputs) in self.outputs[columns].iter().enumerate() {
            let input_channels =
                channels.iter().flat_map(|channels| channels.first..channels.first + channels.count);
            for (row, input) in input_channels.enumerate() {
                let from = &self.sums[first + (column * rows + row) * LANES..];
                square::<_, WeightGradient, SIDE, R>(
                    simd,
                    |y, x| simd.read(&from[(y * SIDE + x) * point..]),
                    |y, x, value| simd.write(&mut taps[y * R + x], value),
                );
                for lane in 0..outputs.count {
                    let start = ((outputs.first + lane) * inputs + input) * R * R;
                    // SAFETY: only this task has these input and output channels.
                    let to = unsafe { self.weight_gradient.part(start, R * R) };
                    for (to, tap) in to.iter_mut().zip(&taps) {
                        *to = tap[lane];
                    }
                }
            }
        }
    }
}

/// Groups the tiles of a block, whose points are `stride` values apart, as they are multiplied; where the last group is not full,
/// zeros fill it.
#[inline(always)]
fn group_tiles<S: Simd, T: Value>(simd: S, tiles: &mut [T], count: usize, stride: usize) {
    if T::GROUP == 1 {
        return;
    }
    let len = count.next_multiple_of(T::GROUP) * LANES;
    for point in tiles.chunks_mut(stride).take(POINTS) {
        let tiles = &mut point[..len];
        tiles[count * LANES..].fill(T::default());
        for group in tiles.chunks_exact_mut(T::GROUP * LANES) {
            let group = group.as_mut_ptr();
            // SAFETY: the chunk is as long as a group of vectors.
            unsafe { T::group(simd, group, group) };
        }
    }
}
