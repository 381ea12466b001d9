//! Forward pass and input gradient by Winograd's algorithm.
//!
//! A chunk of tiles is transformed once and stays in the second-level cache while the panels of output blocks
//! pass over it; the transformed weights are read once per chunk. Each output is summed in the same order
//! however the work is cut, so results do not depend on the number of threads.

use super::super::band::{Band, panel};
use super::super::pack::{largest_tile, panel_width};
use super::super::pass::Pass;
use super::tiles::{Chunk, MOST, Pixels, TilePosition, Tiles, Zeros};
use super::transform::{Between, Input, MOST as MOST_POINTS, Output, columns, rows};
use super::{Scheme, by_points, by_scheme};
use crate::cache::second_level;
use crate::context::Context;
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::map::{LANES, Shape};
use crate::pool::part;
use crate::simd::{Simd, Vectorised, dispatch_tiled};
use crate::value::Value;
use std::ops::Range;

/// Tasks for each thread, below which panels of a chunk are shared out.
const TASKS_PER_THREAD: usize = 4;

/// The fewest tiles of a chunk: each byte of the transformed weights is then used 12 times.
const LEAST: usize = 24;

/// Tiles of a chunk of maps of `blocks` blocks: as many as fill half of the second-level cache, in whole
/// register tiles. The transformed weights come from beyond it, once for every chunk.
fn chunk<T>(scheme: Scheme, isa: Isa, blocks: usize) -> usize {
    let [pixels, _] = largest_tile(isa);
    let whole = |tiles: usize| tiles / pixels * pixels;
    let tile = scheme.products() * blocks * LANES * size_of::<T>();
    whole(second_level() / 2 / tile.max(1)).clamp(LEAST.next_multiple_of(pixels), whole(MOST))
}

/// Values of one point's matrix, of transformed input (`blocks` blocks) or of products. An additional line
/// keeps all values of a pixel from sharing one set of the cache.
fn matrix(blocks: usize, tiles: usize) -> usize {
    (blocks * tiles + 1) * LANES
}

/// Floats of scratch that each thread needs: for the transformed input of `T`, and for the products.
pub(super) fn scratch_of_thread<T: Value>(scheme: Scheme, isa: Isa, blocks: usize) -> usize {
    let tiles = chunk::<T>(scheme, isa, blocks);
    T::floats(scheme.products() * matrix(blocks, tiles)) + scheme.products() * matrix(panel_width(isa), tiles)
}

/// Runs a pass.
pub(super) fn run<T: Value>(pass: &Pass<'_, T>, scheme: Scheme, context: Context) {
    let Shape { batch, height, width, .. } = pass.input.shape;
    let tiles = Tiles::new(scheme, [height, width]);
    let count = tiles.count(batch);
    if count == 0 {
        return;
    }
    let (isa, threads) = (context.isa, context.pool.threads());
    let most = chunk::<T>(scheme, isa, pass.input.count);
    let least = most / 2;
    // Every thread gets equal chunks if there are enough tiles; else chunks are also cut by panels.
    let (chunks, groups) = if count >= threads * least {
        (count.div_ceil(most).next_multiple_of(threads), 1)
    } else {
        let chunks = count.div_ceil(most);
        (chunks, (TASKS_PER_THREAD * threads).div_ceil(chunks).min(pass.panels))
    };
    let per_thread = scratch_of_thread::<T>(scheme, isa, pass.input.count);
    context.run(chunks * groups, per_thread, |task, scratch| {
        let panels = part(task % groups, groups, pass.panels);
        let chunk = tiles.chunk(part(task / groups, chunks, count));
        dispatch_tiled(isa, Task { pass, scheme, chunk, panels, scratch });
    });
}

/// A chunk of tiles times some panels.
struct Task<'a, T> {
    pass: &'a Pass<'a, T>,
    scheme: Scheme,
    chunk: Chunk,
    panels: Range<usize>,
    scratch: &'a mut [f32],
}

impl<T: Value> Vectorised<T> for Task<'_, T> {
    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        by_scheme!(self.scheme, one_chunk(simd, self));
    }
}

#[inline(always)]
fn one_chunk<S: Simd, T: Value, const N: usize, const R: usize>(simd: S, task: Task<'_, T>) {
    let Task { pass, chunk, panels, scratch, .. } = task;
    let (blocks, count) = (pass.input.count, chunk.positions().len());
    let from = matrix(blocks, count);
    let (transformed, products) = scratch.split_at_mut(T::floats(N * N * from));
    let transformed = T::of_mut(transformed);
    let zeros: Zeros<T> = [T::default(); MOST_POINTS * LANES];
    let mut between: Between<S> = [[simd.zero(); MOST_POINTS]; MOST_POINTS];
    for block in 0..blocks {
        for (tile, position) in chunk.positions().iter().enumerate() {
            let pixels = Pixels::new(&pass.input, block, position, R / 2, position.points, &zeros);
            pixels.prefetch_beyond(simd, N + 1 - R);
            let to = &mut transformed[(block * count + tile) * LANES..];
            assert!((N * N - 1) * from + LANES <= to.len(), "a transformed tile");
            let to = to.as_mut_ptr();
            // SAFETY: the last point is asserted.
            unsafe { input_tile::<S, T, T, N, R>(simd, &pixels, position, &mut between, to, from) };
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
            for (tile, position) in chunk.positions().iter().enumerate() {
                let start = (column * count + tile) * LANES;
                // SAFETY: the products are complete and nothing writes them now.
                let from = unsafe { products.part(start, (N * N - 1) * to + LANES) };
                let from = TileProducts { values: from, stride: to };
                output_tile::<S, T, N, R>(simd, pass, position, block, &bias, &mut between, from);
            }
        }
    }
}

/// Transforms a tile of input; the vectors of consecutive points are `stride` values apart.
///
/// # Safety
/// There must be as many pixels as the tile has points; `to` must be valid for writing 16 values at each of
/// all `N * N` points.
#[inline(always)]
pub(super) unsafe fn input_tile<S: Simd, T: Value, O: Value, const N: usize, const R: usize>(
    simd: S,
    tile: &Pixels<T>,
    position: &TilePosition,
    between: &mut Between<S>,
    to: *mut O,
    stride: usize,
) {
    let [height, width] = position.points;
    // SAFETY: there is a pixel for each point.
    let read = |y, x| unsafe { tile.at(simd, y, x) };
    let present = tile.columns.clone();
    by_points!(K = height, N, R, columns::<S, Input<K, N>>(simd, width, present, read, between));
    // SAFETY: the caller's promise.
    let write = |y, x, value| unsafe { simd.store(to.add((y * N + x) * stride), value) };
    by_points!(K = width, N, R, rows::<S, Input<K, N>>(simd, height, between, write));
}

/// The products of a tile: vectors of consecutive points, `stride` values apart.
struct TileProducts<'a> {
    values: &'a [f32],
    stride: usize,
}

/// Transforms a tile of products back and writes the outputs that lie on the map, with bias and ReLU, or
/// accumulated and masked.
#[inline(always)]
fn output_tile<S: Simd, T: Value, const N: usize, const R: usize>(
    simd: S,
    pass: &Pass<'_, T>,
    position: &TilePosition,
    block: usize,
    bias: &[f32; LANES],
    between: &mut Between<S>,
    from: TileProducts,
) {
    let TileProducts { values: from, stride } = from;
    let shape = pass.output_shape;
    let [height, width] = position.inside;
    let line = shape.width * LANES;
    let start = (position.image * shape.blocks + pass.output_blocks.start + block) * shape.plane();
    let start = start + position.y * line + position.x * LANES;
    let reach = ((height - 1) * shape.width + width) * LANES;
    let to = pass.output.pointer(start, reach);
    let bias = simd.read(bias);
    let mask = pass.mask_of(position.image, block, position.y * line + position.x * LANES, reach);
    assert!((N * N - 1) * stride + LANES <= from.len(), "products of a tile");
    // SAFETY: the last point is asserted.
    let read = |y, x| unsafe { simd.load(from.as_ptr().add((y * N + x) * stride)) };
    let [high, wide] = position.points;
    by_points!(K = high, N, R, columns::<S, Output<K, R>>(simd, wide, 0..wide, read, between));
    by_points!(
        K = wide,
        N,
        R,
        rows::<S, Output<K, R>>(simd, height, between, |y, x, value| {
            if x < width {
                // SAFETY: the pixel lies on the map, in a tile and block that only this task has; the mask
                // reaches as far.
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
