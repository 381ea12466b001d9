//! The gradient by the weights.
//!
//! The rows of the product are the taps and channels of an input block, its columns the output channels, and the sum
//! runs over pixels: a tile of rows times a panel of output blocks stays in registers over a chunk of pixels that fits the
//! first-level cache, and is then added to the task's partial sums. Chunks depend only on the size of the maps and follow
//! each other in order, and each weight belongs to one task: results do not depend on the number of threads.

use super::grid::grid;
use super::pack::{MOST_TAPS, part};
use super::padded::Shifted;
use super::rows::{Rows, Runs};
use super::{Channels, Convolution};
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::map::{LANES, Map};
use crate::pool::Pool;
use crate::simd::{Kernel, Simd, dispatch};
use std::ops::Range;

/// Pixels of a chunk: one block of its input and output gradient fill most of a small first-level cache (32 KiB).
const CHUNK: usize = 200;

/// The most pairs of blocks of a task, times taps: their sums, a KB each, stay in the second-level cache (512 KiB).
const PAIRS: usize = 300;

/// How the work is cut.
struct Plan {
    /// Images and rows of a chunk; more than one image only if their rows are complete.
    images: usize,
    rows: usize,
    /// Parts that the input and the output blocks are cut into.
    grid: [usize; 2],
    /// Floats of scratch of each thread: padded copy, partial sums.
    copy: usize,
    sums: usize,
}

impl Plan {
    fn new(conv: &Convolution, threads: usize, height: usize, width: usize) -> Plan {
        let taps = conv.kernel * conv.kernel;
        let (images, rows) = if height * width <= CHUNK {
            (CHUNK / (height * width).max(1), height)
        } else {
            let most = (CHUNK / width).max(1);
            (1, height.div_ceil(height.div_ceil(most)))
        };
        let blocks = [conv.input_blocks(), conv.output_blocks()];
        let grid = grid(blocks, threads, PAIRS / taps);
        let [inputs, outputs] = [0, 1].map(|side| blocks[side].div_ceil(grid[side]));
        Plan {
            images,
            rows,
            grid,
            copy: if taps == 1 { 0 } else { images * Shifted::new(rows, width, conv.kernel).len },
            sums: (inputs * taps * LANES + 1) * outputs * LANES,
        }
    }
}

/// Scratch that all threads together need.
pub(super) fn scratch_len(conv: &Convolution, pool: &Pool, height: usize, width: usize) -> usize {
    let plan = Plan::new(conv, pool.threads(), height, width);
    (plan.copy + plan.sums) * pool.threads()
}

/// Overwrites both gradients with the sums over all images.
#[expect(clippy::too_many_arguments, reason = "what a convolution takes")]
pub(super) fn run(
    conv: &Convolution,
    isa: Isa,
    pool: &Pool,
    input: Map,
    output_gradient: Map,
    weight_gradient: &mut [f32],
    bias_gradient: &mut [f32],
    scratch: &mut [f32],
) {
    if input.shape.batch * input.shape.pixels() == 0 {
        weight_gradient.fill(0.0);
        bias_gradient.fill(0.0);
        return;
    }
    let plan = Plan::new(conv, pool.threads(), input.shape.height, input.shape.width);
    let (inputs, outputs) = (&conv.inputs.blocks[..], &conv.outputs.blocks[..]);
    let weight_gradient = Disjoint::new(weight_gradient);
    let bias_gradient = Disjoint::new(bias_gradient);
    let scratch = Disjoint::new(scratch);
    pool.run_on_threads(plan.grid[0] * plan.grid[1], |thread, task| {
        let place = [task / plan.grid[1], task % plan.grid[1]];
        let per_thread = plan.copy + plan.sums;
        // SAFETY: `thread` is this thread's alone.
        let scratch = unsafe { scratch.part(thread * per_thread, per_thread) };
        let (copy, sums) = scratch.split_at_mut(plan.copy);
        let input_blocks = part(place[0], plan.grid[0], inputs.len());
        let task = Task {
            conv,
            plan: &plan,
            input,
            output_gradient,
            inputs,
            outputs,
            input_blocks,
            output_blocks: part(place[1], plan.grid[1], outputs.len()),
            weight_gradient,
            bias_gradient,
            copy,
            sums,
        };
        dispatch(isa, task);
    });
}

/// Some input blocks times some output blocks, over all images.
struct Task<'a> {
    conv: &'a Convolution,
    plan: &'a Plan,
    input: Map<'a>,
    output_gradient: Map<'a>,
    inputs: &'a [Channels],
    outputs: &'a [Channels],
    input_blocks: Range<usize>,
    output_blocks: Range<usize>,
    weight_gradient: Disjoint<'a, f32>,
    bias_gradient: Disjoint<'a, f32>,
    copy: &'a mut [f32],
    sums: &'a mut [f32],
}

impl Kernel for Task<'_> {
    type Output = ();

    fn scalar(self) {
        unreachable!("the scalar convolution has no tiles")
    }

    #[inline(always)]
    fn vectors<S: Simd>(mut self, simd: S) {
        self.sums[..self.output_blocks.len() * LANES].fill(0.0);
        let (batch, height) = (self.input.shape.batch, self.input.shape.height);
        for first in (0..batch).step_by(self.plan.images) {
            let images = first..(first + self.plan.images).min(batch);
            for start in (0..height).step_by(self.plan.rows) {
                self.chunk(simd, images.clone(), start..(start + self.plan.rows).min(height));
            }
        }
        self.unpack();
    }
}

impl Task<'_> {
    /// Adds a chunk's products to the partial sums.
    #[inline(always)]
    fn chunk<S: Simd>(&mut self, simd: S, images: Range<usize>, rows: Range<usize>) {
        let (kernel, width) = (self.conv.kernel, self.input.shape.width);
        let output = &self.output_gradient;
        let pixels = rows.len() * width;
        let accumulate = images.start + rows.start > 0;
        let shifted = Shifted::new(self.plan.rows, width, kernel);
        let runs = Runs {
            count: images.len(),
            pixels,
            input_run: if kernel == 1 {
                self.input.shape.blocks * self.input.shape.plane()
            } else {
                shifted.len
            },
            input_pixel: LANES,
            output_run: output.shape.blocks * output.shape.plane(),
            ahead: if kernel == 1 { self.input.shape.plane() } else { 0 },
        };
        let (bias_sums, mut sums) = self.sums.split_at_mut(self.output_blocks.len() * LANES);
        if self.input_blocks.start == 0 {
            for (column, bias) in bias_sums.chunks_exact_mut(LANES).enumerate() {
                let mut sum = simd.read(bias);
                for image in images.clone() {
                    let plane = output.plane(image, self.output_blocks.start + column);
                    for pixel in plane[rows.start * width * LANES..][..pixels * LANES].chunks_exact(LANES) {
                        sum = simd.add(sum, simd.read(pixel));
                    }
                }
                simd.write(bias, sum);
            }
        }
        for block in self.input_blocks.clone() {
            let x = if kernel == 1 {
                &self.input.data[self.input.offset(images.start, block) + rows.start * width * LANES..]
            } else {
                for (image, to) in images.clone().zip(self.copy.chunks_exact_mut(shifted.len)) {
                    shifted.fill(&self.input, image, block, rows.clone(), kernel, to);
                }
                &*self.copy
            };
            // Where the rows of the product lie in the shifted copies.
            let mut offsets = [0; MOST_TAPS * LANES];
            let channels = self.inputs[block].count;
            let offsets = &mut offsets[..kernel * kernel * channels];
            for (tap, offsets) in offsets.chunks_exact_mut(channels).enumerate() {
                let start = shifted.tap(tap, kernel);
                offsets.iter_mut().zip(start..).for_each(|(offset, value)| *offset = value);
            }
            let reach =
                (runs.count - 1) * runs.input_run + shifted.tap(kernel * kernel - 1, kernel) + pixels * LANES;
            assert!(reach <= x.len(), "input of a chunk");
            let blocks = self.output_blocks.clone();
            for panel in blocks.clone().step_by(S::PANEL) {
                let columns = S::PANEL.min(blocks.end - panel);
                let (partial, rest) = sums.split_at_mut(columns * offsets.len() * LANES);
                sums = rest;
                let y = |column: usize| {
                    &output.data[output.offset(images.start, panel + column) + rows.start * width * LANES..]
                };
                // SAFETY: that `x` has the last pixel of the last tap is asserted above.
                unsafe { Rows(offsets).panel(simd, runs, x, columns, y, accumulate, partial) }
            }
        }
    }

    /// Partial sums, `[input block][output block][tap][input][16 outputs]`, to canonical order.
    fn unpack(&self) {
        let (conv, taps) = (self.conv, self.conv.kernel * self.conv.kernel);
        let (bias_sums, mut sums) = self.sums.split_at(self.output_blocks.len() * LANES);
        let outputs = &self.outputs[self.output_blocks.clone()];
        if self.input_blocks.start == 0 {
            for (output, sums) in outputs.iter().zip(bias_sums.chunks_exact(LANES)) {
                // SAFETY: only the task of the first input blocks writes these output channels.
                let gradient = unsafe { self.bias_gradient.part(output.first, output.count) };
                gradient.copy_from_slice(&sums[..output.count]);
            }
        }
        for input in &self.inputs[self.input_blocks.clone()] {
            for output in outputs {
                let (partial, rest) = sums.split_at(taps * input.count * LANES);
                sums = rest;
                for o in 0..output.count {
                    let start = ((output.first + o) * conv.input_count() + input.first) * taps;
                    // SAFETY: only this task has these input and output channels.
                    let gradient = unsafe { self.weight_gradient.part(start, input.count * taps) };
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
