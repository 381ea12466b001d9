//! Forward pass of the stem on AMX tiles: 32 adjacent outputs are the rows of a multiply, `stride` pixels
//! apart in a copy of the image.

use super::{CHANNELS, PIXELS, products};
use crate::context::Context;
use crate::conv::amx::{finish, words};
use crate::conv::stem::{Pass, PlanarImages, Stem};
use crate::map::{LANES, blocks};
use crate::pool::part;
use crate::simd::amx::{Amx, COLUMNS, Operands, ROWS, SUMS, TILE_VALUES};
use crate::simd::{Simd, Vectorised, dispatch_tiled};
use crate::value::Value;
use std::ops::Range;

/// Output rows of a task: a copy of their input stays close to the first-level cache.
const BAND_ROWS: usize = 8;

/// Layout of a copy for some output rows, `[row][pixel][4 channels]` of bf16: two floats of memory for each
/// pixel.
#[derive(Clone, Copy)]
struct Copied {
    rows: usize,
    /// Pixels of a row, enough for whole multiplies of outputs and whole vectors of the image.
    row: usize,
}

impl Copied {
    fn new(stem: &Stem, output_rows: usize, output_width: usize, width: usize) -> Copied {
        let last = output_width.next_multiple_of(ROWS) - 1;
        let reach = last * stem.stride + products(stem) * PIXELS;
        Copied {
            rows: (output_rows - 1) * stem.stride + stem.kernel,
            row: reach.max(stem.padding + width.next_multiple_of(LANES)),
        }
    }

    /// Floats of memory.
    fn len(&self) -> usize {
        self.rows * self.row * CHANNELS / 2
    }

    /// Copies the input of the output rows from `first` on.
    #[inline(always)]
    fn fill<S: Simd>(
        &self,
        simd: S,
        stem: &Stem,
        images: PlanarImages,
        index: usize,
        first: usize,
        to: &mut [f32],
    ) {
        let (plane, channels) = (images.height * images.width, stem.input_channels);
        let planes = &images.values[index * channels * plane..][..channels * plane];
        for (row, to) in to.chunks_exact_mut(self.row * CHANNELS / 2).take(self.rows).enumerate() {
            to.fill(0.0);
            let y = (first * stem.stride + row).checked_sub(stem.padding).filter(|y| *y < images.height);
            let Some(y) = y else { continue };
            let to = &mut to[stem.padding * CHANNELS / 2..];
            for (start, to) in (0..images.width).step_by(LANES).zip(to.chunks_exact_mut(2 * LANES)) {
                let count = LANES.min(images.width - start);
                let mut values = [[0.0; LANES]; CHANNELS];
                for (values, plane) in values.iter_mut().zip(planes.chunks_exact(plane)) {
                    values[..count].copy_from_slice(&plane[y * images.width + start..][..count]);
                }
                let [a, b, c, d] = values.map(|values| simd.read(&values));
                let (mut lower, mut upper) = ([0.0; LANES], [0.0; LANES]);
                simd.write(&mut lower, simd.pair(a, b));
                simd.write(&mut upper, simd.pair(c, d));
                for pixel in 0..LANES {
                    to[2 * pixel] = lower[pixel];
                    to[2 * pixel + 1] = upper[pixel];
                }
            }
        }
    }
}

/// Steps of a multiply, rounded up to whole cache lines.
fn steps(stem: &Stem) -> usize {
    (stem.kernel * products(stem)).next_multiple_of(LANES)
}

/// Floats of scratch that each thread needs.
pub(in super::super) fn scratch_of_thread(stem: &Stem, height: usize, width: usize) -> usize {
    let (rows, columns) = (stem.output_size(height), stem.output_size(width));
    if rows * columns == 0 {
        return 0;
    }
    let copied = Copied::new(stem, rows.min(BAND_ROWS), columns, width);
    copied.len().next_multiple_of(LANES) + steps(stem) + COLUMNS * SUMS
}

/// Runs a forward pass on AMX tiles.
pub(in super::super) fn run<T: Value>(pass: &Pass<'_, T>, amx: Amx, context: Context) {
    if pass.is_empty() {
        return;
    }
    let (isa, images, [height, _]) = (context.isa, pass.images, pass.size);
    let bands = height.div_ceil(BAND_ROWS);
    let per_thread = scratch_of_thread(pass.stem, images.height, images.width);
    context.run(images.batch * bands, per_thread, |task, scratch| {
        let (image, rows) = (task / bands, part(task % bands, bands, height));
        dispatch_tiled(isa, Task { pass, amx, image, rows, scratch });
    });
}

/// A task: some output rows of one image.
struct Task<'a, T> {
    pass: &'a Pass<'a, T>,
    amx: Amx,
    image: usize,
    rows: Range<usize>,
    scratch: &'a mut [f32],
}

impl<T: Value> Vectorised<T> for Task<'_, T> {
    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let Task { pass, amx, image, rows, scratch } = self;
        let (stem, [_, width]) = (pass.stem, pass.size);
        let copied = Copied::new(stem, rows.len(), width, pass.images.width);
        let (copy, rest) = scratch.split_at_mut(copied.len().next_multiple_of(LANES));
        let (offsets, sums) = rest.split_at_mut(steps(stem));
        copied.fill(simd, stem, pass.images, image, rows.start, copy);
        let copy = T::of(copy);
        let line = copied.row * CHANNELS;
        let offsets = &mut words(offsets)[..stem.kernel * products(stem)];
        for (step, offset) in offsets.iter_mut().enumerate() {
            let (y, x) = (step / products(stem), step % products(stem));
            *offset = ((y * line + x * PIXELS * CHANNELS) * size_of::<T>()) as u32;
        }
        let tiles = amx.configure();
        let count = blocks(stem.output_channels);
        let panels = count.div_ceil(COLUMNS);
        for panel in 0..panels {
            let columns = part(panel, panels, count);
            let packed = &pass.packed[columns.start * offsets.len() * TILE_VALUES..];
            assert!(
                packed.len() >= columns.len() * offsets.len() * TILE_VALUES,
                "packed weights of the stem"
            );
            let bias = [0, 1].map(|column| {
                let mut values = [0.0; LANES];
                let channels = pass.bias.iter().skip((columns.start + column) * LANES);
                values.iter_mut().zip(channels).for_each(|(to, value)| *to = *value);
                simd.read(&values)
            });
            for y in 0..rows.len() {
                for x in (0..width).step_by(ROWS) {
                    let operands = Operands {
                        a: copy[y * stem.stride * line + x * stem.stride * CHANNELS..].as_ptr().cast(),
                        a_row: stem.stride * CHANNELS,
                        a_tile: ROWS / 2 * stem.stride * CHANNELS,
                        b: packed.as_ptr().cast(),
                        b_tile: TILE_VALUES,
                        b_step: columns.len() * TILE_VALUES,
                    };
                    // SAFETY: each row of the copy has the inputs of 32 outputs from any of these on; the
                    // packed weights have a tile for each column in each step, as asserted.
                    unsafe { tiles.multiply(columns.len(), operands, offsets, sums, false) }
                    let first = (rows.start + y) * width + x;
                    let pixels = first..first + ROWS.min(width - x);
                    let len = pixels.len() * LANES;
                    for (column, sums) in (0..columns.len()).zip(sums.chunks_exact(SUMS)) {
                        let block = columns.start + column;
                        // SAFETY: this task alone writes these rows of this block.
                        let output = unsafe { pass.pixels(image, block, pixels.clone()) };
                        finish(simd, &sums[..len], bias[column], false, pass.relu, None, output);
                    }
                }
            }
        }
    }
}
