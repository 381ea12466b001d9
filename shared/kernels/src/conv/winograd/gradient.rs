//! Weight gradient by Winograd's algorithm.
//!
//! The pairs of input and output blocks are cut into a grid of tasks. Each task transforms chunks of tiles of
//! its blocks of input and output gradient, and adds each point's product over the chunk's tiles to its sums;
//! after the last chunk the sums are transformed to taps. All data in between is the thread's own, so that no
//! thread waits for another's stores; the price is that a block is transformed once by every task that has
//! it. Chunks depend only on the size of the layer and are summed in order, and each sum belongs to one task,
//! so results do not depend on the number of threads.

use super::super::grid::{ON_VECTORS, grid};
use super::super::pass::WeightPass;
use super::super::rows::{Partial, PixelRuns, Rows};
use super::super::{Channels, Convolution};
use super::forward::input_tile;
use super::tiles::{Chunk, MOST as TILES, Pixels, Tiles, Zeros};
use super::transform::{Between, MOST as MOST_POINTS, ONE, OutputGradient, WeightGradient, columns, rows};
use super::{POINTS, Scheme, by_points, by_scheme};
use crate::context::{Context, split};
use crate::gradients::SharedGradients;
use crate::map::{LANES, Map};
use crate::pool::{Pool, part};
use crate::simd::{Simd, Vectorised, dispatch_tiled};
use crate::value::Value;
use std::ops::Range;

/// The fewest tiles: with fewer the sums, several times as many as weights, cost more than the products save.
const LEAST: usize = 16;

/// The most input blocks whose sums are completed at a time: their channels are the rows of one multiply.
const GROUP: usize = 3;

/// Cost of a point's sums in multiplications: they are written, read and transformed once for any batch.
const POINT: usize = 60;

/// The scheme that takes the least time for a gradient over `batch` images, with at most the points of
/// `scheme`; none if direct convolution takes less.
pub(in super::super) fn fastest(scheme: Scheme, size: [usize; 2], batch: usize) -> Option<Scheme> {
    let schemes = POINTS.into_iter().filter(|points| *points <= scheme.points);
    let schemes = schemes.map(|points| Scheme { points, ..scheme });
    let cost = |scheme: &Scheme| batch * scheme.multiplications(size) + POINT * scheme.products();
    schemes.min_by_key(cost).filter(|scheme| Tiles::new(*scheme, size).count(batch) >= LEAST)
}

/// The cut of the work into tasks.
#[derive(Clone, Copy)]
struct Partition {
    scheme: Scheme,
    /// Parts that the input blocks and the output blocks are cut into.
    grid: [usize; 2],
    /// Values from point to point of the transformed input and of the transformed output gradient.
    input: usize,
    output: usize,
    /// Floats of the sums of all points.
    sums: usize,
}

impl Partition {
    fn new(conv: &Convolution, scheme: Scheme, threads: usize) -> Partition {
        let blocks = [conv.input_blocks(), conv.output_blocks()];
        let grid = grid(blocks, threads, usize::MAX, ON_VECTORS);
        let [inputs, outputs] = [0, 1].map(|side| blocks[side].div_ceil(grid[side]));
        // An additional line keeps the values of all points from sharing one set of the cache.
        let matrix = |blocks: usize| (blocks * TILES + 1) * LANES;
        let sums = scheme.products() * inputs * outputs * LANES * LANES;
        Partition { scheme, grid, input: matrix(inputs), output: matrix(outputs), sums }
    }

    /// Floats of scratch of a task: for transformed input and output gradient, of `T`, and for sums.
    fn scratch<T: Value>(&self) -> [usize; 3] {
        let points = self.scheme.products();
        [T::floats(points * self.input), T::floats(points * self.output), self.sums]
    }
}

/// Floats of scratch of all threads together, for the points of `scheme` or fewer.
pub(in super::super) fn scratch_len<T: Value>(conv: &Convolution, scheme: Scheme, pool: &Pool) -> usize {
    Partition::new(conv, scheme, pool.threads()).scratch::<T>().iter().sum::<usize>() * pool.threads()
}

/// Overwrites both gradients with the sums over all images, where there is at least one tile.
pub(in super::super) fn run<T: Value>(
    conv: &Convolution,
    scheme: Scheme,
    context: Context,
    pass: WeightPass<'_, T>,
) {
    let WeightPass { input, output_gradient, gradients } = pass;
    let partition = Partition::new(conv, scheme, context.pool.threads());
    let channels = [&conv.inputs.blocks[..], &conv.outputs.blocks[..]];
    let tiles = Tiles::new(scheme, conv.size);
    let count = tiles.count(input.shape.batch);
    let (isa, gradients) = (context.isa, gradients.share());
    let (grid, lengths) = (partition.grid, partition.scratch::<T>());
    context.run(grid[0] * grid[1], lengths.iter().sum(), |task, scratch| {
        let place = [task / grid[1], task % grid[1]];
        let [inputs, outputs] = [0, 1].map(|side| part(place[side], grid[side], channels[side].len()));
        let [transformed_input, transformed_gradient, sums] = split(scratch, lengths);
        let task = Task {
            conv,
            partition,
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
            gradients,
        };
        dispatch_tiled(isa, task);
    });
}

/// A task: some input blocks times some output blocks, over all tiles.
struct Task<'a, T> {
    conv: &'a Convolution,
    partition: Partition,
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
    gradients: SharedGradients<'a>,
}

impl<T: Value> Vectorised<T> for Task<'_, T> {
    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        by_scheme!(self.partition.scheme, all_chunks(simd, self));
    }
}

#[inline(always)]
fn all_chunks<S: Simd, T: Value, const N: usize, const R: usize>(simd: S, mut task: Task<'_, T>) {
    let mut scratch =
        TransformScratch { zeros: [T::default(); _], between: [[simd.zero(); MOST_POINTS]; MOST_POINTS] };
    for start in (0..task.count).step_by(TILES) {
        let end = (start + TILES).min(task.count);
        let chunk = task.tiles.chunk(start..end);
        task.transform_input::<_, N, R>(simd, &chunk, &mut scratch);
        task.transform_gradient::<_, N, R>(simd, &chunk, start == 0, &mut scratch);
        task.products::<_, N, R>(simd, &chunk, start == 0, end == task.count);
    }
}

/// Scratch of a tile's transforms.
struct TransformScratch<S: Simd, T> {
    zeros: Zeros<T>,
    between: Between<S>,
}

impl<T: Value> Task<'_, T> {
    #[inline(always)]
    fn transform_input<S: Simd, const N: usize, const R: usize>(
        &mut self,
        simd: S,
        chunk: &Chunk,
        scratch: &mut TransformScratch<S, T>,
    ) {
        for block in 0..self.inputs.len() {
            let (map, index) = (&self.input, self.first[0] + block);
            for (tile, position) in chunk.positions().iter().enumerate() {
                let pixels = Pixels::new(map, index, position, R / 2, position.points, &scratch.zeros);
                pixels.prefetch_beyond(simd, N + 1 - R);
                let to = &mut self.transformed_input[(block * TILES + tile) * LANES..];
                assert!((N * N - 1) * self.partition.input + LANES <= to.len(), "a transformed tile");
                let (to, stride) = (to.as_mut_ptr(), self.partition.input);
                // SAFETY: the last point is asserted.
                unsafe {
                    input_tile::<S, T, T, N, R>(simd, &pixels, position, &mut scratch.between, to, stride)
                };
            }
            let tiles = &mut self.transformed_input[block * TILES * LANES..];
            group_tiles::<S, T, N>(simd, tiles, chunk, self.partition.input);
        }
    }

    /// Transforms tiles of output gradients. Tasks of the first input blocks also add them to the bias
    /// gradient: the value of a tile at the point 1 is the sum of its pixels.
    #[inline(always)]
    fn transform_gradient<S: Simd, const N: usize, const R: usize>(
        &mut self,
        simd: S,
        chunk: &Chunk,
        first: bool,
        scratch: &mut TransformScratch<S, T>,
    ) {
        for (block, channels) in self.outputs.iter().enumerate() {
            let (map, index) = (&self.output_gradient, self.first[1] + block);
            let mut sum = simd.zero();
            for (tile, position) in chunk.positions().iter().enumerate() {
                let size = position.points.map(|points| points + 1 - R);
                let from = Pixels::new(map, index, position, 0, size, &scratch.zeros);
                from.prefetch_beyond(simd, N + 1 - R);
                // SAFETY: there are as many pixels.
                let read = |y, x| unsafe { from.at(simd, y, x) };
                let to = &mut self.transformed_gradient[(block * TILES + tile) * LANES..];
                assert!((N * N - 1) * self.partition.output + LANES <= to.len(), "a transformed tile");
                let to = to.as_mut_ptr();
                let between = &mut scratch.between;
                let ([high, wide], width, present) = (position.points, from.width, from.columns.clone());
                by_points!(
                    K = high,
                    N,
                    R,
                    columns::<S, OutputGradient<K, R>>(simd, width, present, read, between)
                );
                let write = |y, x, value| {
                    if [y, x] == [ONE; 2] {
                        sum = simd.add(sum, value);
                    }
                    // SAFETY: the last point is asserted.
                    unsafe { simd.store(to.add((y * N + x) * self.partition.output), value) }
                };
                by_points!(K = wide, N, R, rows::<S, OutputGradient<K, R>>(simd, high, between, write));
            }
            let tiles = &mut self.transformed_gradient[block * TILES * LANES..];
            group_tiles::<S, T, N>(simd, tiles, chunk, self.partition.output);
            if self.first[0] == 0 {
                let mut sums = [0.0; LANES];
                simd.write(&mut sums, sum);
                // SAFETY: among the tasks of the first input blocks only this one has these channels.
                let bias = unsafe { self.gradients.bias.part(channels.first, channels.count) };
                if first {
                    bias.fill(0.0);
                }
                bias.iter_mut().zip(sums).for_each(|(bias, sum)| *bias += sum);
            }
        }
    }

    /// Adds the chunk's products to the sums, `[panel of output blocks][group of input blocks][point][output
    /// block][row][16]`. All chunks but the last go from point to point, so that a point's tiles and sums
    /// stay in the second-level cache for all panels and groups. The last chunk goes over all points of a
    /// panel and a group, whose sums are transformed to taps while they are in the cache.
    #[inline(always)]
    fn products<S: Simd, const N: usize, const R: usize>(
        &mut self,
        simd: S,
        chunk: &Chunk,
        first: bool,
        last: bool,
    ) {
        let pixel = LANES * T::GROUP;
        let Partition { input, output, .. } = self.partition;
        // A group has as many blocks as fill whole tiles of rows.
        let blocks_of_group = if LANES.is_multiple_of(S::ROWS) { 1 } else { GROUP };
        let panels = self.outputs.len().div_ceil(S::PANEL);
        let groups = self.inputs.len().div_ceil(blocks_of_group);
        let all_rows: usize = self.inputs.iter().map(|channels| channels.count).sum();
        let mut rows = GroupRows { group: usize::MAX, before: 0, count: 0, offsets: [0; GROUP * LANES] };
        for index in 0..panels * groups * N * N {
            let (panel, group, point) = match last {
                true => (index / (N * N) / groups, index / (N * N) % groups, index % (N * N)),
                false => (index % panels, index / panels % groups, index / panels / groups),
            };
            let blocks = group * blocks_of_group..((group + 1) * blocks_of_group).min(self.inputs.len());
            if group != rows.group {
                rows = GroupRows::new::<T>(group, self.inputs, blocks.clone());
            }
            let columns = panel * S::PANEL..((panel + 1) * S::PANEL).min(self.outputs.len());
            let place = N * N * (columns.start * all_rows + columns.len() * rows.before) * LANES;
            let each = columns.len() * rows.count * LANES;
            let sums = &mut self.sums[place + point * each..][..each];
            let tiles = whole_groups::<T>(chunk.with(point / N, point % N));
            let pixels = tiles.len() / T::GROUP;
            let start = tiles.start * LANES;
            let x = &self.transformed_input[point * input..][..input][start..];
            let offsets = &rows.offsets[..rows.count];
            assert!(
                offsets[rows.count - 1] + pixels.saturating_sub(1) * pixel + T::GROUP <= x.len(),
                "channels of a chunk"
            );
            let gradient = &self.transformed_gradient[point * output..][..output];
            let y = |column: usize| &gradient[(columns.start + column) * TILES * LANES + start..];
            if !last {
                // The sums of the next point lie elsewhere, which the hardware does not prefetch.
                for line in sums.chunks(LANES) {
                    simd.prefetch(line.as_ptr());
                }
            }
            let runs =
                PixelRuns { count: 1, pixels, input_run: 0, input_pixel: pixel, output_run: 0, ahead: 0 };
            // SAFETY: that the last row has all tiles is asserted, and no row lies behind it.
            unsafe {
                Rows(offsets).panel(simd, runs, x, columns.len(), y, Partial { sums, accumulate: !first })
            }
            if last && point + 1 == N * N {
                self.taps::<_, N, R>(simd, columns, blocks, place);
            }
        }
    }

    /// Transforms the complete sums of a panel and a group, which start at `first`, to taps.
    #[inline(always)]
    fn taps<S: Simd, const N: usize, const R: usize>(
        &self,
        simd: S,
        outputs: Range<usize>,
        blocks: Range<usize>,
        first: usize,
    ) {
        let inputs = self.conv.input_count();
        let channels = &self.inputs[blocks];
        let count: usize = channels.iter().map(|channels| channels.count).sum();
        let point = outputs.len() * count * LANES;
        let mut taps = [[0.0; LANES]; MOST_POINTS * MOST_POINTS];
        let mut between: Between<S> = [[simd.zero(); MOST_POINTS]; MOST_POINTS];
        for (column, outputs) in self.outputs[outputs].iter().enumerate() {
            let input_channels =
                channels.iter().flat_map(|channels| channels.first..channels.first + channels.count);
            for (row, input) in input_channels.enumerate() {
                let from = &self.sums[first + (column * count + row) * LANES..];
                let read = |y, x| simd.read(&from[(y * N + x) * point..]);
                columns::<S, WeightGradient<N, R>>(simd, N, 0..N, read, &mut between);
                let write = |y: usize, x: usize, value| simd.write(&mut taps[y * R + x][..], value);
                rows::<S, WeightGradient<N, R>>(simd, R, &between, write);
                for lane in 0..outputs.count {
                    let start = ((outputs.first + lane) * inputs + input) * R * R;
                    // SAFETY: only this task has these input and output channels.
                    let to = unsafe { self.gradients.weights.part(start, R * R) };
                    for (to, tap) in to.iter_mut().zip(&taps) {
                        *to = tap[lane];
                    }
                }
            }
        }
    }
}

/// The rows of a group of input blocks: the channels of the blocks.
struct GroupRows {
    group: usize,
    /// Rows of all groups before this one.
    before: usize,
    count: usize,
    /// Offset of the first tile of each row.
    offsets: [usize; GROUP * LANES],
}

impl GroupRows {
    fn new<T: Value>(group: usize, inputs: &[Channels], blocks: Range<usize>) -> GroupRows {
        let before = inputs[..blocks.start].iter().map(|channels| channels.count).sum();
        let mut rows = GroupRows { group, before, count: 0, offsets: [0; GROUP * LANES] };
        for block in blocks {
            for channel in 0..inputs[block].count {
                rows.offsets[rows.count] = block * TILES * LANES + channel * T::GROUP;
                rows.count += 1;
            }
        }
        rows
    }
}

/// The tiles that a point has, extended to whole groups.
fn whole_groups<T: Value>(tiles: Range<usize>) -> Range<usize> {
    tiles.start / T::GROUP * T::GROUP..tiles.end.next_multiple_of(T::GROUP)
}

/// Groups the tiles of a block, whose points are `stride` values apart, as they are multiplied. Tiles of a
/// group that lack the point become zero.
#[inline(always)]
fn group_tiles<S: Simd, T: Value, const N: usize>(simd: S, tiles: &mut [T], chunk: &Chunk, stride: usize) {
    if T::GROUP == 1 {
        return;
    }
    for (point, values) in tiles.chunks_mut(stride).take(N * N).enumerate() {
        let own = chunk.with(point / N, point % N);
        let tiles = whole_groups::<T>(own.clone());
        values[tiles.start * LANES..own.start * LANES].fill(T::default());
        values[own.end * LANES..tiles.end * LANES].fill(T::default());
        for group in values[tiles.start * LANES..tiles.end * LANES].chunks_exact_mut(T::GROUP * LANES) {
            let group = group.as_mut_ptr();
            // SAFETY: the chunk is as long as a group of vectors.
            unsafe { T::group(simd, group, group) };
        }
    }
}
