//! Forward pass and input gradient on AMX tiles.
//!
//! A copy of the chunk has the channels of two blocks of a pixel side by side: 32 values, the depth of a tile
//! multiply. It stays in the second-level cache while the panels of weights pass over it, and the sums of 32
//! pixels stay in tiles over all channels and taps. Each output is summed in the same order however the work
//! is cut, so results do not depend on the number of threads.

use super::positions::{Positions, Role, Source, chunk, zeros};
use super::{budget, words};
use crate::context::Context;
use crate::conv::pass::Pass;
use crate::map::{LANES, Shape};
use crate::pool::part;
use crate::simd::amx::{Amx, COLUMNS, DEPTH, Operands, ROWS, SUMS, TILE_VALUES};
use crate::simd::{Simd, Vectorised, dispatch_tiled};
use crate::value::Value;
use std::ops::Range;

/// The fewest chunks for each thread, so that threads finish at about the same time.
const TASKS_PER_THREAD: usize = 2;

/// The cut of the maps into chunks.
struct Partition {
    /// Images of a chunk, and rows: all of them if there is more than one image.
    images: usize,
    rows: usize,
    kernel: usize,
    /// Pairs of blocks that are copied.
    pairs: usize,
}

impl Partition {
    /// The chunks whose copies, of `blocks` blocks, take half of the second-level cache, and which are enough
    /// for the threads.
    fn new(blocks: usize, kernel: usize, shape: Shape, threads: usize) -> Partition {
        let pairs = blocks.div_ceil(2).max(1);
        let limit = budget() / (pairs * DEPTH * size_of::<u16>());
        let most = shape.batch.div_ceil(TASKS_PER_THREAD * threads);
        let [images, rows] = chunk(limit, kernel, [shape.height, shape.width], most);
        Partition { images, rows, kernel, pairs }
    }

    /// Floats of scratch for the copy, in whole cache lines.
    fn copy(&self, width: usize) -> usize {
        self.pairs * Positions::new(self.images, self.rows, width, self.kernel).inputs() * DEPTH / 2
    }

    /// Floats of scratch for the offsets of all steps of a multiply.
    fn steps(&self) -> usize {
        (self.pairs * self.kernel * self.kernel).next_multiple_of(LANES)
    }

    fn scratch(&self, width: usize) -> usize {
        self.copy(width) + self.steps() + COLUMNS * SUMS
    }
}

/// Floats of scratch that each thread needs, for any number of images.
pub(super) fn scratch_of_thread(blocks: usize, kernel: usize, [height, width]: [usize; 2]) -> usize {
    // More threads mean fewer images in a chunk. The batch is not known yet, so a very large one is assumed,
    // whose chunks are the largest.
    let shape = Shape { batch: usize::MAX / 2, blocks, height, width };
    if height * width == 0 { 0 } else { Partition::new(blocks, kernel, shape, 1).scratch(width) }
}

/// Runs passes over maps of one size, one after the other for each chunk.
pub(super) fn run<T: Value>(passes: &[Pass<'_, T>], amx: Amx, context: Context) {
    let shape = passes[0].input.shape;
    if shape.batch * shape.pixels() == 0 {
        return;
    }
    let (isa, threads) = (context.isa, context.pool.threads());
    let most = |of: fn(&Pass<T>) -> usize| passes.iter().map(of).max().unwrap_or(0);
    let (blocks, kernel) = (most(|pass| pass.input.count), most(|pass| pass.kernel));
    let mut partition = Partition::new(blocks, kernel, shape, threads);
    let chunks = shape.batch.div_ceil(partition.images);
    let mut bands = shape.height.div_ceil(partition.rows);
    // Where there are fewer chunks than threads, the smaller of weights and map is cut; each thread reads all
    // of the other.
    let share = threads.div_ceil(chunks * bands);
    let weights = passes.iter().map(|pass| pass.packed.len()).sum::<usize>();
    let groups = if T::floats(weights) > partition.copy(shape.width) { share } else { 1 };
    if groups < share && partition.images == 1 {
        bands = (bands * share).min(shape.height);
        partition.rows = shape.height.div_ceil(bands);
    }
    let groups = groups.min(all_panels(passes));
    context.run(chunks * bands * groups, partition.scratch(shape.width), |task, scratch| {
        let (chunk, band, group) = (task / groups / bands, task / groups % bands, task % groups);
        let task = Task {
            passes,
            amx,
            partition: &partition,
            images: part(chunk, chunks, shape.batch),
            rows: part(band, bands, shape.height),
            group,
            groups,
            scratch,
        };
        dispatch_tiled(isa, task);
    });
}

fn panels_of<T>(pass: &Pass<'_, T>) -> usize {
    pass.output_blocks.len().div_ceil(COLUMNS)
}

/// Whether passes add to the output of the first, so that one task must run all of them.
fn share_output<T>(passes: &[Pass<'_, T>]) -> bool {
    passes.iter().skip(1).any(|pass| pass.accumulate)
}

/// Number of panels of all passes together, or of the largest pass if they share their output.
fn all_panels<T>(passes: &[Pass<'_, T>]) -> usize {
    let panels = passes.iter().map(panels_of);
    if share_output(passes) { panels.max().unwrap_or(0) } else { panels.sum() }
}

/// A chunk times some panels.
struct Task<'a, T> {
    passes: &'a [Pass<'a, T>],
    amx: Amx,
    partition: &'a Partition,
    images: Range<usize>,
    rows: Range<usize>,
    group: usize,
    groups: usize,
    scratch: &'a mut [f32],
}

impl<T: Value> Vectorised<T> for Task<'_, T> {
    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let Task { passes, amx, partition, images, rows, group, groups, scratch } = self;
        let width = passes[0].input.shape.width;
        let (copy, rest) = scratch.split_at_mut(partition.copy(width));
        let (steps, sums) = rest.split_at_mut(partition.steps());
        let (copy, steps) = (T::of_mut(copy), words(steps));
        let tiles = amx.configure();
        let task_panels = part(group, groups, all_panels(passes));
        let mut first_panel = 0;
        for (index, pass) in passes.iter().enumerate() {
            let positions = Positions::new(images.len(), rows.len(), width, pass.kernel);
            let (plane, pairs) = (positions.inputs() * DEPTH, pass.input.count.div_ceil(2));
            if index == 0 || !pass.reads_as(&passes[index - 1]) {
                for block in 0..2 * pairs {
                    let (to, half) = (&mut copy[block / 2 * plane..][..plane], block % 2 * LANES);
                    let place = |position: usize| position * DEPTH + half;
                    if block < pass.input.count {
                        let (image, row) = (images.start, rows.start);
                        let source = Source { map: &pass.input, block, image, row };
                        positions.fill(Role::Inputs, source, positions.inputs(), to, place);
                    } else {
                        zeros(to, place, 0..positions.inputs());
                    }
                }
            }
            let taps = (0..pass.kernel).flat_map(|y| (0..pass.kernel).map(move |x| (y, x)));
            let places = (0..pairs).flat_map(|pair| {
                taps.clone().map(move |(y, x)| (pair * plane + positions.tap(y, x) * DEPTH) * size_of::<T>())
            });
            let steps = &mut steps[..pairs * pass.kernel * pass.kernel];
            steps.iter_mut().zip(places).for_each(|(step, place)| *step = place as u32);
            let panels = panels_of(pass);
            let own = first_panel..first_panel + panels;
            if !share_output(passes) {
                first_panel = own.end;
            }
            for panel in task_panels.start.max(own.start)..task_panels.end.min(own.end) {
                let panel = panel - own.start;
                let columns = part(panel, panels, pass.output_blocks.len());
                let packed = &pass.packed[columns.start * steps.len() * TILE_VALUES..];
                assert!(packed.len() >= columns.len() * steps.len() * TILE_VALUES, "packed weights");
                let bias = [0, 1].map(|column| simd.read(&pass.bias_of(columns.start + column)));
                for position in (0..positions.outputs()).step_by(ROWS) {
                    let operands = Operands {
                        a: copy[position * DEPTH..].as_ptr().cast(),
                        a_row: DEPTH,
                        a_tile: ROWS / 2 * DEPTH,
                        b: packed.as_ptr().cast(),
                        b_tile: TILE_VALUES,
                        b_step: columns.len() * TILE_VALUES,
                    };
                    // SAFETY: the copy has the inputs of these outputs in all planes, the packed weights have
                    // a tile for each column in each step, as asserted.
                    unsafe { tiles.multiply(columns.len(), operands, steps, sums, false) }
                    for run in positions.runs(position..position + ROWS) {
                        let pixel = [images.start + run.image, rows.start + run.y, run.x];
                        for (column, block) in columns.clone().enumerate() {
                            let from = column * SUMS + (run.position - position) * LANES;
                            let sums = &sums[from..][..run.len * LANES];
                            write(simd, pass, block, pixel, bias[column], sums);
                        }
                    }
                }
            }
        }
    }
}

/// Writes the sums of adjacent pixels to the output.
#[inline(always)]
fn write<S: Simd, T: Value>(
    simd: S,
    pass: &Pass<'_, T>,
    block: usize,
    [image, y, x]: [usize; 3],
    bias: S::Vector,
    sums: &[f32],
) {
    let shape = pass.output_shape;
    let from = (y * shape.width + x) * LANES;
    let plane = image * shape.blocks + pass.output_blocks.start + block;
    // SAFETY: a task alone writes these pixels of this block.
    let output = unsafe { pass.output.part(plane * shape.plane() + from, sums.len()) };
    let mask = pass.mask_of(image, block, from, sums.len());
    finish(simd, sums, bias, pass.accumulate, pass.relu, mask, output);
}

/// Finishes sums: adds the bias, adds the output if `accumulate`, applies ReLU, and zeroes where the mask is
/// not positive.
#[inline(always)]
pub(in crate::conv) fn finish<S: Simd, T: Value>(
    simd: S,
    sums: &[f32],
    bias: S::Vector,
    accumulate: bool,
    relu: bool,
    mask: Option<&[T]>,
    output: &mut [T],
) {
    for (pixel, (sums, output)) in sums.chunks_exact(LANES).zip(output.chunks_exact_mut(LANES)).enumerate() {
        let mut value = simd.add(simd.read(sums), bias);
        if accumulate {
            value = simd.add(value, simd.read(output));
        }
        if relu {
            value = simd.max(value, simd.zero());
        }
        if let Some(mask) = mask {
            let mask = simd.read(&mask[pixel * LANES..]);
            value = simd.select_greater(mask, simd.zero(), value, simd.zero());
        }
        simd.write(output, value);
    }
}
