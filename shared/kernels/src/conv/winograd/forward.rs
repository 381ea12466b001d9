//! Forward and input gradient by minimal filtering.
//!
//! A chunk of tiles is transformed once and stays in the second-level cache while the panels of output blocks pass over
//! it; the transformed weights are read once per chunk. Each output is summed in the same order however the work is
//! cut, so results do not depend on the number of threads.

use super::super::band::{Band, panel};
use super::super::pack::{largest_tile, panel_width};
use super::super::pass::Pass;
use super::tiles::{Chunk, MOST, Pixels, Place, Tiles, Zeros};
use super::transform::{Between, Input, MOST as MOST_POINTS, Output, columns, rows};
use super::{Filter, by_filter, by_points};
use crate::cache::second_level;
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::map::{LANES, Shape};
use crate::pool::{Pool, part};
use crate::simd::{Kernel, Simd, dispatch};
use crate::value::Value;
use std::ops::Range;

/// Panels of a chunk are shared out where there are fewer chunks than this for each thread.
const TASKS_PER_THREAD: usize = 4;

/// The least tiles of a chunk: enough for each byte of the transformed weights to be used 12 times.
const LEAST: usize = 24;

/// Tiles of a chunk of maps of so many blocks: as many as fill half of the second-level cache, as whole register tiles. The
/// transformed weights come from further away, once for every chunk.
fn chunk<T>(filter: Filter, isa: Isa, blocks: usize) -> usize {
    let [pixels, _] = largest_tile(isa);
    let whole = |tiles: usize| tiles / pixels * pixels;
    let tile = filter.products() * blocks * LANES * size_of::<T>();
    whole(second_level() / 2 / tile.max(1)).clamp(LEAST.next_multiple_of(pixels), whole(MOST))
}

/// Values of one point's matrix, of the transformed input (`blocks` of it) or of the products: one line more than
/// needed, lest all values of a pixel fall into one set of the cache.
fn matrix(blocks: usize, tiles: usize) -> usize {
    (blocks * tiles + 1) * LANES
}

/// Floats of scratch that each thread needs: for the transformed input, of `T`, and for the products.
pub(in super::super) fn scratch_of_thread<T: Value>(filter: Filter, isa: Isa, blocks: usize) -> usize {
    let tiles = chunk::<T>(filter, isa, blocks);
    T::floats(filter.products() * matrix(blocks, tiles)) + filter.products() * matrix(panel_width(isa), tiles)
}

/// Runs a pass; `scratch` is [`scratch_of_thread`] for each thread.
pub(in super::super) fn run<T: Value>(
    pass: &Pass<'_, T>,
    filter: Filter,
    isa: Isa,
    pool: &Pool,
    scratch: &mut [f32],
) {
    let Shape { batch, height, width, .. } = pass.input.shape;
    let tiles = Tiles::new(filter, [height, width]);
    let count = tiles.count(batch);
    if count == 0 {
        return;
    }
    let threads = pool.threads();
    let most = chunk::<T>(filter, isa, pass.input.count);
    let least = most / 2;
    // Equal chunks for all threads, or else chunks cut by panels.
    let (chunks, groups) = if count >= threads * least {
        (count.div_ceil(most).next_multiple_of(threads), 1)
    } else {
        let chunks = count.div_ceil(most);
        (chunks, (TASKS_PER_THREAD * threads).div_ceil(chunks).min(pass.panels))
    };
    let per_thread = scratch_of_thread::<T>(filter, isa, pass.input.count);
    let scratch = Disjoint::new(scratch);
    pool.run_on_threads(chunks * groups, |thread, task| {
        let tiles_of_task = part(task / groups, chunks, count);
        let panels = part(task % groups, groups, pass.panels);
        // SAFETY: `thread` is this thread's alone.
        let scratch = unsafe { scratch.part(thread * per_thread, per_thread) };
        let chunk = tiles.chunk(tiles_of_task);
        dispatch(isa, Task { pass, filter, chunk, panels, scratch });
    });
}

/// A chunk of tiles times some panels.
struct Task<'a, T> {
    pass: &'a Pass<'a, T>,
    filter: Filter,
    chunk: Chunk,
    panels: Range<usize>,
    scratch: &'a mut [f32],
}

impl<T: Value> Kernel for Task<'_, T> {
    const HALVES: bool = T::GROUP == 2;
    type Output = ();

    fn scalar(self) {
        unreachable!("the scalar convolution has no tiles")
    }

    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        by_filter!(self.filter, one_chunk(simd, self));
    }
}

#[inline(always)]
fn one_chunk<S: Simd, T: Value, const N: usize, const R: usize>(simd: S, task: Task<'_, T>) {
    let Task { pass, chunk, panels, scratch, .. } = task;
    let (blocks, count) = (pass.input.count, chunk.places().len());
    let from = matrix(blocks, count);
    let (transformed, products) = scratch.split_at_mut(T::floats(N * N * from));
    let transformed = T::of_mut(transformed);
    let zeros: Zeros<T> = [T::default(); MOST_POINTS * LANES];
    let mut between: Between<S> = [[simd.zero(); MOST_POINTS]; MOST_POINTS];
    for block in 0..blocks {
        for (tile, place) in chunk.places().iter().enumerate() {
            let pixels = Pixels::new(&pass.input, block, place, R / 2, place.points, &zeros);
            pixels.ask_beyond(simd, N + 1 - R);
            let to = &mut transformed[(block * count + tile) * LANES..];
            assert!((N * N - 1) * from + LANES <= to.len(), "a transformed tile");
            let to = to.as_mut_ptr();
            // SAFETY: the last point is asserted.
            unsafe { input_tile::<S, T, T, N, R>(simd, &pixels, place, &mut between, to, from) };
        }
    }
    let line = count * LANES;
    let to = matrix(S::PANEL, count);
    let products = Disjoint::new(&mut products[..N * N * to]);
    for index in panels {
        let columns = part(index, pass.panels, pass.output_blocks.len());
        let per_point = blocks * columns.len() * LANES * LANES;
        let packed = &pass.packed[N * N * blocks * columns.start * LANES * LANES..];
        for (point, packed) in packed.chunks_exact(per_point).take(N * N).enumerate() {
            let tiles = chunk.with(point / N, point % N);
            if tiles.is_empty() {
                continue;
            }
            let first = tiles.start * LANES;
            let band = Band {
                start: transformed[point * from..][..blocks * line][first..].as_ptr(),
                plane: line,
                row: line,
                width: tiles.len(),
                pixel: LANES,
                taps: [1; 2],
                tap: [0; 2],
                depths: pass.depths,
                rows: LANES,
                flat: true,
                relu: false,
                accumulate: false,
            };
            let products = |column| {
                let start = point * to + column * line + first;
                // SAFETY: one column's products of one point; nothing else uses them now.
                unsafe { products.part(start, tiles.len() * LANES) }
            };
            // SAFETY: the slice has a vector for each block and tile.
            unsafe { panel(simd, &band, packed, &[], 0..columns.len(), products, |_| None) }
        }
        for (column, block) in columns.enumerate() {
            let bias = pass.bias_of(block);
            for (tile, place) in chunk.places().iter().enumerate() {
                let start = (column * count + tile) * LANES;
                // SAFETY: the products are complete and nothing writes them now.
                let from = unsafe { products.part(start, (N * N - 1) * to + LANES) };
                output_tile::<S, T, N, R>(simd, pass, place, block, &bias, &mut between, from, to);
            }
        }
    }
}

/// Transforms a tile of input; each point's vector is `stride` values from the last one's.
///
/// # Safety
/// The pixels must be as many as the tile has points; `to` must be valid for writing 16 values at each of all `N * N` points.
#[inline(always)]
pub(super) unsafe fn input_tile<S: Simd, T: Value, O: Value, const N: usize, const R: usize>(
    simd: S,
    tile: &Pixels<T>,
    place: &Place,
    between: &mut Between<S>,
    to: *mut O,
    stride: usize,
) {
    let [height, width] = place.points;
    // SAFETY: there is a pixel for each point.
    let read = |y, x| unsafe { tile.at(simd, y, x) };
    let present = tile.columns.clone();
    by_points!(K = height, N, R, columns::<S, Input<K, N>>(simd, width, present, read, between));
    // SAFETY: the caller's promise.
    let write = |y, x, value| unsafe { simd.store(to.add((y * N + x) * stride), value) };
    by_points!(K = width, N, R, rows::<S, Input<K, N>>(simd, height, between, write));
}

/// Transforms a tile of products back and writes what of it lies on the map, with bias and ReLU, or added and masked.
#[expect(clippy::too_many_arguments, reason = "where a tile comes from and goes to")]
#[inline(always)]
fn output_tile<S: Simd, T: Value, const N: usize, const R: usize>(
    simd: S,
    pass: &Pass<'_, T>,
    place: &Place,
    block: usize,
    bias: &[f32; LANES],
    between: &mut Between<S>,
    from: &[f32],
    stride: usize,
) {
    let shape = pass.output_shape;
    let [height, width] = place.inside;
    let line = shape.width * LANES;
    let start = (place.image * shape.blocks + pass.output_blocks.start + block) * shape.plane();
    let start = start + place.y * line + place.x * LANES;
    let reach = ((height - 1) * shape.width + width) * LANES;
    let to = pass.output.pointer(start, reach);
    let bias = simd.read(bias);
    let mask = pass.mask_of(place.image, block, place.y * line + place.x * LANES, reach);
    assert!((N * N - 1) * stride + LANES <= from.len(), "products of a tile");
    // SAFETY: the last point is asserted.
    let read = |y, x| unsafe { simd.load(from.as_ptr().add((y * N + x) * stride)) };
    let [high, wide] = place.points;
    by_points!(K = high, N, R, columns::<S, Output<K, R>>(simd, wide, 0..wide, read, between));
    by_points!(
        K = wide,
        N,
        R,
        rows::<S, Output<K, R>>(simd, height, between, |y, x, value| {
            if x < width {
                // SAFETY: the pixel lies on the map, and in a tile and block that only this task has; the mask reaches as far.
                unsafe {
                    let pixel = y * line + x * LANES;
                    let to = to.add(pixel);
                    let old = if pass.accumulate { simd.load(to) } else { bias };
                    let mut value = simd.add(old, value);
                    if pass.relu {
                        value = simd.max(value, simd.zero());
                    }
                    if let Some(mask) = mask {
                        let mask = simd.load(mask.as_ptr().add(pixel));
                        value = simd.select_greater(mask, simd.zero(), value, simd.zero());
                    }
                    simd.store(to, value);
                }
            }
        })
    );
}
