//! The gradient by the weights by minimal filtering.
//!
//! Chunks of tiles of the input and of the output gradient are transformed, then each point's product over the tiles of
//! the chunk is added to its sums; at the end the sums are transformed to taps. Chunks depend only on the size of
//! the maps and follow each other in order, and each sum belongs to one task: results do not depend on the number of
//! threads.

use super::super::rows::{Rows, Runs};
use super::super::{Channels, Convolution, block_channels, pack::part};
use super::forward::input_tile;
use super::tiles::{Copied, Square, Tiles};
use super::transform::{OutputGradient, POINTS, SIDE, WeightGradient, square};
use super::{by_kernel, outputs_of};
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::map::{LANES, Map};
use crate::pool::Pool;
use crate::simd::{Kernel, Simd, dispatch};
use std::ops::Range;

/// Floats of the transformed tiles of a chunk: 4 MiB, a part of the third-level cache.
const CHUNK: usize = 1 << 20;

/// Tiles of a chunk: with fewer the sums would be read and written too often, more bring nothing.
const TILES: Range<usize> = 64..256;

/// With fewer tiles the sums, four times the weights, cost more than the products save.
const LEAST: usize = 16;

/// Tasks that each thread should get at least, lest one waits for the other.
const TASKS_PER_THREAD: usize = 4;

/// Whether a gradient over `batch` images takes less time than the direct kernel.
pub(in super::super) fn pays(kernel: usize, height: usize, width: usize, batch: usize) -> bool {
    Tiles::new(outputs_of(kernel), height, width).count(batch) >= LEAST
}

/// Sizes in floats.
#[derive(Clone, Copy)]
struct Plan {
    /// Tiles of a chunk.
    tiles: usize,
    /// Between the points of the transformed input, of the transformed output gradient, of the sums.
    input: usize,
    output: usize,
    sums: usize,
}

impl Plan {
    fn new(conv: &Convolution) -> Plan {
        let (inputs, outputs) = (conv.input_blocks(), conv.output_blocks());
        let tiles = CHUNK / (POINTS * LANES * (inputs + outputs));
        let tiles = tiles.clamp(TILES.start, TILES.end);
        // One line more, lest the values of all points fall into one set of the cache.
        let matrix = |blocks: usize| (blocks * tiles + 1) * LANES;
        let sums = conv.inputs() * outputs * LANES + LANES;
        Plan { tiles, input: matrix(inputs), output: matrix(outputs), sums }
    }
}

/// Scratch that all threads together need.
pub(in super::super) fn scratch_len(conv: &Convolution) -> usize {
    let plan = Plan::new(conv);
    POINTS * (plan.input + plan.output + plan.sums) + conv.output_blocks() * LANES
}

/// Overwrites both gradients with the sums over all images.
#[expect(clippy::too_many_arguments, reason = "what a convolution takes")]
pub(in super::super) fn run(
    conv: &Convolution,
    isa: Isa,
    pool: &Pool,
    input: Map,
    output_gradient: Map,
    weight_gradient: &mut [f32],
    bias_gradient: &mut [f32],
    scratch: &mut [f32],
) {
    let plan = Plan::new(conv);
    let outputs = block_channels(&[conv.output_channels]);
    let offsets: Vec<usize> = block_channels(&conv.input_channels)
        .iter()
        .enumerate()
        .flat_map(|(block, channels)| (0..channels.count).map(move |c| block * plan.tiles * LANES + c))
        .collect();
    let tiles = Tiles::new(outputs_of(conv.kernel), input.shape.height, input.shape.width);
    let count = tiles.count(input.shape.batch);
    let (inputs, scratch) = scratch.split_at_mut(POINTS * plan.input);
    let (gradients, scratch) = scratch.split_at_mut(POINTS * plan.output);
    let (sums, scratch) = scratch.split_at_mut(POINTS * plan.sums);
    let bias = &mut scratch[..outputs.len() * LANES];
    bias.fill(0.0);
    for start in (0..count).step_by(plan.tiles) {
        let chunk = start..(start + plan.tiles).min(count);
        let (x, y, biases) = (Disjoint::new(inputs), Disjoint::new(gradients), Disjoint::new(bias));
        pool.run(input.count + outputs.len(), |block| {
            let chunk = chunk.clone();
            match block.checked_sub(outputs.len()) {
                Some(block) => {
                    dispatch(
                        isa,
                        TransformInput { kernel: conv.kernel, plan, tiles, chunk, input, block, to: x },
                    );
                }
                None => {
                    // SAFETY: a block's sums are its task's alone.
                    let bias = unsafe { biases.part(block * LANES, LANES) };
                    let map = output_gradient;
                    dispatch(
                        isa,
                        TransformGradient {
                            kernel: conv.kernel,
                            plan,
                            tiles,
                            chunk,
                            map,
                            block,
                            to: y,
                            bias,
                        },
                    );
                }
            }
        });
        let groups = (TASKS_PER_THREAD * pool.threads()).div_ceil(POINTS).min(outputs.len());
        let (inputs, gradients, sums) = (&*inputs, &*gradients, Disjoint::new(sums));
        pool.run(POINTS * groups, |task| {
            let point = task / groups;
            dispatch(
                isa,
                Products {
                    plan,
                    tiles: chunk.len(),
                    first: start == 0,
                    rows: Rows(&offsets),
                    input: &inputs[point * plan.input..][..plan.input],
                    gradient: &gradients[point * plan.output..][..plan.output],
                    columns: part(task % groups, groups, outputs.len()),
                    sums,
                    point,
                },
            );
        });
    }
    let weight_gradient = Disjoint::new(weight_gradient);
    let sums = &*sums;
    pool.run(outputs.len(), |block| {
        dispatch(isa, Finish { conv, plan, sums, block, channels: outputs[block], weight_gradient });
    });
    for (channels, sums) in outputs.iter().zip(bias.chunks_exact(LANES)) {
        bias_gradient[channels.first..][..channels.count].copy_from_slice(&sums[..channels.count]);
    }
}

/// One block of a chunk's input.
struct TransformInput<'a> {
    kernel: usize,
    plan: Plan,
    tiles: Tiles,
    chunk: Range<usize>,
    input: Map<'a>,
    block: usize,
    to: Disjoint<'a, f32>,
}

impl Kernel for TransformInput<'_> {
    type Output = ();

    fn scalar(self) {
        unreachable!("the scalar convolution has no tiles")
    }

    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let TransformInput { kernel, plan, tiles, chunk, input, block, to } = self;
        for (tile, index) in chunk.enumerate() {
            let place = tiles.place(index);
            let plane = input.plane(place.image, block);
            let start = (block * plan.tiles + tile) * LANES;
            let to = to.pointer(start, (POINTS - 1) * plan.input + LANES);
            // SAFETY: the pointer has the points (asserted), and only this task writes this block's.
            unsafe { input_tile(simd, plane, input.shape, place, kernel / 2, to, plan.input) };
        }
    }
}

/// One block of a chunk's output gradient.
struct TransformGradient<'a> {
    kernel: usize,
    plan: Plan,
    tiles: Tiles,
    chunk: Range<usize>,
    map: Map<'a>,
    block: usize,
    to: Disjoint<'a, f32>,
    bias: &'a mut [f32],
}

impl Kernel for TransformGradient<'_> {
    type Output = ();

    fn scalar(self) {
        unreachable!("the scalar convolution has no tiles")
    }

    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        by_kernel!(self.kernel, transform_gradient(simd, self));
    }
}

#[inline(always)]
fn transform_gradient<const M: usize, const R: usize>(simd: impl Simd, task: TransformGradient<'_>) {
    let TransformGradient { plan, tiles, chunk, map, block, to, bias, .. } = task;
    let mut copy: Copied = [0.0; POINTS * LANES];
    let mut sum = simd.read(bias);
    for (tile, index) in chunk.enumerate() {
        let place = tiles.place(index);
        let from = Square::new::<M>(map.plane(place.image, block), map.shape, place, 0, &mut copy);
        for y in 0..M {
            for x in 0..M {
                // SAFETY: below the side.
                sum = simd.add(sum, unsafe { from.at(simd, y, x) });
            }
        }
        let to = to.pointer((block * plan.tiles + tile) * LANES, (POINTS - 1) * plan.output + LANES);
        square::<_, OutputGradient, M, SIDE>(
            simd,
            // SAFETY: below the side.
            |y, x| unsafe { from.at(simd, y, x) },
            // SAFETY: the pointer has the points (asserted), and only this task writes this block's.
            |y, x, value| unsafe { simd.store(to.add((y * SIDE + x) * plan.output), value) },
        );
    }
    simd.write(bias, sum);
}

/// One point's product over the tiles of a chunk, for some output blocks.
struct Products<'a> {
    plan: Plan,
    tiles: usize,
    /// Nothing was added before.
    first: bool,
    /// Where the channels lie in the transformed input.
    rows: Rows<'a>,
    input: &'a [f32],
    gradient: &'a [f32],
    columns: Range<usize>,
    sums: Disjoint<'a, f32>,
    point: usize,
}

impl Kernel for Products<'_> {
    type Output = ();

    fn scalar(self) {
        unreachable!("the scalar convolution has no tiles")
    }

    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let Products { plan, tiles, first, rows, input, gradient, columns, sums, point } = self;
        let runs = Runs { count: 1, pixels: tiles, input_run: 0, input_pixel: LANES, output_run: 0 };
        let each = rows.0.len() * LANES;
        assert!(rows.0.iter().all(|row| row + (tiles - 1) * LANES < input.len()), "channels of a chunk");
        for start in columns.clone().step_by(S::PANEL) {
            let width = S::PANEL.min(columns.end - start);
            // SAFETY: these output blocks of this point are this task's alone.
            let sums = unsafe { sums.part(point * plan.sums + start * each, width * each) };
            if first {
                sums.fill(0.0);
            }
            let gradient = |column: usize| &gradient[(start + column) * plan.tiles * LANES..];
            // SAFETY: that each row has all tiles is asserted above.
            unsafe { rows.panel(simd, runs, input, width, gradient, sums) }
        }
    }
}

/// The taps of one block of output channels.
struct Finish<'a> {
    conv: &'a Convolution,
    plan: Plan,
    sums: &'a [f32],
    block: usize,
    channels: Channels,
    weight_gradient: Disjoint<'a, f32>,
}

impl Kernel for Finish<'_> {
    type Output = ();

    fn scalar(self) {
        unreachable!("the scalar convolution has no tiles")
    }

    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        by_kernel!(self.conv.kernel, finish(simd, self));
    }
}

#[inline(always)]
fn finish<const M: usize, const R: usize>(simd: impl Simd, task: Finish<'_>) {
    let Finish { conv, plan, sums, block, channels, weight_gradient } = task;
    let inputs = conv.inputs();
    let mut taps = [[0.0; LANES]; POINTS];
    for input in 0..inputs {
        let from = &sums[(block * inputs + input) * LANES..];
        square::<_, WeightGradient, SIDE, R>(
            simd,
            |y, x| simd.read(&from[(y * SIDE + x) * plan.sums..]),
            |y, x, value| simd.write(&mut taps[y * R + x], value),
        );
        for lane in 0..channels.count {
            let start = ((channels.first + lane) * inputs + input) * R * R;
            // SAFETY: only this task has these output channels.
            let to = unsafe { weight_gradient.part(start, R * R) };
            for (to, tap) in to.iter_mut().zip(&taps) {
                *to = tap[lane];
            }
        }
    }
}
