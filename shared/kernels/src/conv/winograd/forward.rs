//! Forward and input gradient by minimal filtering.
//!
//! A chunk of tiles is transformed once and stays in the second-level cache while the panels of output blocks pass over
//! it; the transformed weights are read once per chunk. Each output is summed in the same order however the work is
//! cut, so results do not depend on the number of threads.

use super::super::band::{Band, panel};
use super::super::pack::{largest_tile, panel_width};
use super::super::pass::Pass;
use super::tiles::{Copied, MOST, Place, Square, Tiles};
use super::transform::{Input, Output, POINTS, SIDE, square};
use super::{by_kernel, outputs_of};
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
fn chunk<T>(isa: Isa, blocks: usize) -> usize {
    let [pixels, _] = largest_tile(isa);
    let whole = |tiles: usize| tiles / pixels * pixels;
    let tile = POINTS * blocks * LANES * size_of::<T>();
    whole(second_level() / 2 / tile.max(1)).clamp(LEAST.next_multiple_of(pixels), whole(MOST))
}

/// Values of one point's matrix, of the transformed input (`blocks` of it) or of the products: one line more than
/// needed, lest the 36 values of a pixel fall into one set of the cache.
fn matrix(blocks: usize, tiles: usize) -> usize {
    (blocks * tiles + 1) * LANES
}

/// Floats of scratch that each thread needs: for the transformed input, of `T`, and for the products.
pub(in super::super) fn scratch_of_thread<T: Value>(isa: Isa, blocks: usize) -> usize {
    let tiles = chunk::<T>(isa, blocks);
    T::floats(POINTS * matrix(blocks, tiles)) + POINTS * matrix(panel_width(isa), tiles)
}

/// Runs a pass; `scratch` is [`scratch_of_thread`] for each thread.
pub(in super::super) fn run<T: Value>(pass: &Pass<'_, T>, isa: Isa, pool: &Pool, scratch: &mut [f32]) {
    let Shape { batch, height, width, .. } = pass.input.shape;
    let tiles = Tiles::new(outputs_of(pass.kernel), height, width);
    let count = tiles.count(batch);
    if count == 0 {
        return;
    }
    let threads = pool.threads();
    let most = chunk::<T>(isa, pass.input.count);
    let least = most / 2;
    // Equal chunks for all threads, or else chunks cut by panels.
    let (chunks, groups) = if count >= threads * least {
        (count.div_ceil(most).next_multiple_of(threads), 1)
    } else {
        let chunks = count.div_ceil(most);
        (chunks, (TASKS_PER_THREAD * threads).div_ceil(chunks).min(pass.panels))
    };
    let per_thread = scratch_of_thread::<T>(isa, pass.input.count);
    let scratch = Disjoint::new(scratch);
    pool.run_on_threads(chunks * groups, |thread, task| {
        let tiles_of_task = part(task / groups, chunks, count);
        let panels = part(task % groups, groups, pass.panels);
        // SAFETY: `thread` is this thread's alone.
        let scratch = unsafe { scratch.part(thread * per_thread, per_thread) };
        let (places, count) = tiles.places(tiles_of_task);
        dispatch(isa, Task { pass, tiles, places: &places[..count], panels, scratch });
    });
}

/// A chunk of tiles times some panels.
struct Task<'a, T> {
    pass: &'a Pass<'a, T>,
    tiles: Tiles,
    places: &'a [Place],
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
        let Task { pass, tiles, places, panels, scratch } = self;
        let (blocks, count) = (pass.input.count, places.len());
        let from = matrix(blocks, count);
        let (transformed, products) = scratch.split_at_mut(T::floats(POINTS * from));
        let transformed = T::of_mut(transformed);
        let mut copy: Copied<T> = [T::default(); POINTS * LANES];
        for block in 0..blocks {
            for (tile, place) in places.iter().enumerate() {
                let to = &mut transformed[(block * count + tile) * LANES..];
                assert!((POINTS - 1) * from + LANES <= to.len(), "a transformed tile");
                let plane = pass.input.plane(place.image, block);
                let tile = Square::new::<SIDE>(plane, pass.input.shape, *place, pass.kernel / 2, &mut copy);
                // SAFETY: the last point is asserted.
                unsafe { input_tile(simd, tile, to.as_mut_ptr(), from) };
            }
        }
        let line = count * LANES;
        let to = matrix(S::PANEL, count);
        let products = Disjoint::new(&mut products[..POINTS * to]);
        for index in panels {
            let columns = part(index, pass.panels, pass.output_blocks.len());
            let per_point = blocks * columns.len() * LANES * LANES;
            let packed = &pass.packed[POINTS * blocks * columns.start * LANES * LANES..];
            for (point, packed) in packed.chunks_exact(per_point).take(POINTS).enumerate() {
                let band = Band {
                    start: transformed[point * from..][..blocks * line].as_ptr(),
                    plane: line,
                    row: line,
                    width: count,
                    pixel: LANES,
                    taps: [1; 2],
                    tap: [0; 2],
                    depths: pass.depths,
                    rows: LANES,
                    flat: true,
                    relu: false,
                    accumulate: false,
                };
                // SAFETY: one column's products of one point; nothing else uses them now.
                let products = |column| unsafe { products.part(point * to + column * line, line) };
                // SAFETY: the slice has a vector for each block and tile.
                unsafe { panel(simd, &band, packed, &[], 0..columns.len(), products, |_| None) }
            }
            for (column, block) in columns.enumerate() {
                let bias = pass.bias_of(block);
                for (tile, place) in places.iter().enumerate() {
                    let start = (column * count + tile) * LANES;
                    // SAFETY: the products are complete and nothing writes them now.
                    let from = unsafe { products.part(start, (POINTS - 1) * to + LANES) };
                    by_kernel!(pass.kernel, output_tile(simd, pass, tiles, *place, block, &bias, from, to));
                }
            }
        }
    }
}

/// Transforms a tile of input; each point's vector is `stride` values from the last one's.
///
/// # Safety
/// The tile must have a side of [`SIDE`] pixels; `to` must be valid for writing 16 values at each point.
#[inline(always)]
pub(super) unsafe fn input_tile<S: Simd, T: Value, O: Value>(
    simd: S,
    tile: Square<T>,
    to: *mut O,
    stride: usize,
) {
    square::<S, Input, SIDE, SIDE>(
        simd,
        // SAFETY: below the side.
        |y, x| unsafe { tile.at(simd, y, x) },
        // SAFETY: the caller's promise.
        |y, x, value| unsafe { simd.store(to.add((y * SIDE + x) * stride), value) },
    );
}

/// Transforms a tile of products back and writes what of it lies on the map, with bias and ReLU, or added and masked.
#[expect(clippy::too_many_arguments, reason = "where a tile comes from and goes to")]
#[inline(always)]
fn output_tile<S: Simd, T: Value, const M: usize, const R: usize>(
    simd: S,
    pass: &Pass<'_, T>,
    tiles: Tiles,
    place: Place,
    block: usize,
    bias: &[f32; LANES],
    from: &[f32],
    stride: usize,
) {
    let shape = pass.output_shape;
    let [height, width] = tiles.inside(place);
    let line = shape.width * LANES;
    let start = (place.image * shape.blocks + pass.output_blocks.start + block) * shape.plane();
    let start = start + place.y * line + place.x * LANES;
    let reach = ((height - 1) * shape.width + width) * LANES;
    let to = pass.output.pointer(start, reach);
    let bias = simd.read(bias);
    let mask = pass.mask_of(place.image, block, place.y * line + place.x * LANES, reach);
    assert!((POINTS - 1) * stride + LANES <= from.len(), "products of a tile");
    square::<_, Output, SIDE, M>(
        simd,
        // SAFETY: the last point is asserted.
        |y, x| unsafe { simd.load(from.as_ptr().add((y * SIDE + x) * stride)) },
        |y, x, value| {
            if y < height && x < width {
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
        },
    );
}
