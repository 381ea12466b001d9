//! Direct convolution on vectors: forward and input gradient.
//!
//! For each image, band of rows and panel of output blocks, a tile of pixels keeps its sums in registers over
//! all input channels and taps. A band's input stays in the second-level cache while the panels pass over it;
//! kernels larger than 1x1 read a zero-padded copy of it. Each output value is summed by one tile, in the
//! same order however the work is cut, so results do not depend on the number of threads.

use super::band::{Band, panel};
use super::method::Method;
use super::pack::{WeightMatrix, pack};
use super::padded::Padded;
use super::pass::{Pass, WeightPass};
use super::{Algorithm, Convolution, gradient};
use crate::context::Context;
use crate::isa::Isa;
use crate::map::{LANES, Shape};
use crate::pool::{Pool, part};
use crate::simd::{Simd, Vectorised, dispatch_tiled};
use crate::value::Value;
use std::ops::Range;

/// The most input values of a band: half of a small second-level cache (512 KiB); the rest is for a panel.
const BAND: usize = 48 * 1024;

/// The fewest tasks for each thread, so that threads finish at about the same time.
const TASKS_PER_THREAD: usize = 4;

/// Rows of a band: as many as keep its input within [`BAND`].
fn band_rows(blocks: usize, kernel: usize, height: usize, width: usize) -> usize {
    let pad = kernel / 2;
    let row = blocks.max(1) * (width + 2 * pad).max(1) * LANES;
    // Halos are copied again for each band, so a band has a few rows however large they are.
    let most = (BAND / row).saturating_sub(2 * pad).clamp(4, height.max(4));
    height.div_ceil(height.div_ceil(most).max(1))
}

/// Floats of scratch that each thread needs for maps of `T`.
fn scratch_of_thread<T: Value>(blocks: usize, kernel: usize, [height, width]: [usize; 2]) -> usize {
    if kernel == 1 {
        return 0;
    }
    let rows = band_rows(blocks, kernel, height, width);
    T::floats(blocks * Padded::new(rows, width, kernel / 2).plane)
}

/// Direct convolution on vectors.
pub(super) struct Direct;

impl<T: Value> Method<T> for Direct {
    fn algorithm(&self) -> Option<Algorithm> {
        Some(Algorithm::Direct)
    }

    fn name(&self, _kernel: usize) -> String {
        "direct".to_owned()
    }

    fn applies(&self, _kernel: usize) -> bool {
        true
    }

    fn serves(&self, algorithm: Algorithm, _isa: Isa) -> bool {
        algorithm == Algorithm::Direct
    }

    fn multiplications(&self, kernel: usize, [height, width]: [usize; 2]) -> usize {
        kernel * kernel * height * width
    }

    fn weights(&self, kernel: usize) -> usize {
        kernel * kernel
    }

    fn pass_scratch(&self, conv: &Convolution, _isa: Isa, blocks: usize) -> usize {
        scratch_of_thread::<T>(blocks, conv.kernel, conv.size)
    }

    fn gradient_scratch(&self, conv: &Convolution, pool: &Pool) -> usize {
        gradient::scratch_len::<T>(conv, pool)
    }

    fn pack(&self, matrix: &WeightMatrix<'_>, isa: Isa, pool: &Pool, packed: &mut [T]) {
        pack(matrix, isa, pool, packed);
    }

    fn run(&self, passes: &[Pass<'_, T>], context: Context) {
        run(passes, context);
    }

    fn weight_gradient(&self, conv: &Convolution, context: Context, pass: WeightPass<'_, T>) {
        gradient::run(conv, context, pass);
    }
}

/// Runs passes over maps of one size, one after the other for each band.
fn run<T: Value>(passes: &[Pass<'_, T>], context: Context) {
    let Shape { batch, height, width, .. } = passes[0].input.shape;
    if batch * height * width == 0 {
        return;
    }
    let most = |of: fn(&Pass<T>) -> usize| passes.iter().map(of).max().unwrap_or(0);
    let (blocks, kernel, panels) =
        (most(|pass| pass.input.count), most(|pass| pass.kernel), most(|pass| pass.panels));
    let bands = height.div_ceil(band_rows(blocks, kernel, height, width));
    let (isa, threads) = (context.isa, context.pool.threads());
    let groups = (TASKS_PER_THREAD * threads).div_ceil(batch * bands).min(panels);
    let per_thread = scratch_of_thread::<T>(blocks, kernel, [height, width]);
    context.run(batch * bands * groups, per_thread, |task, scratch| {
        let (image, band, group) = (task / groups / bands, task / groups % bands, task % groups);
        let rows = part(band, bands, height);
        let scratch = T::of_mut(scratch);
        for pass in passes {
            let panels = part(group, groups, pass.panels);
            dispatch_tiled(isa, Task { pass, image, rows: rows.clone(), panels, scratch });
        }
    });
}

/// A band of an image times some panels.
struct Task<'a, T> {
    pass: &'a Pass<'a, T>,
    image: usize,
    rows: Range<usize>,
    panels: Range<usize>,
    scratch: &'a mut [T],
}

impl<T: Value> Vectorised<T> for Task<'_, T> {
    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let Task { pass, image, rows, panels, scratch } = self;
        let (input, shape, width) = (&pass.input, pass.output_shape, pass.input.shape.width);
        let pad = pass.kernel / 2;
        let (source, layout) = if pass.kernel == 1 {
            let layout = Padded { row: width * LANES, plane: input.shape.plane() };
            let start = input.offset(image, 0) + rows.start * layout.row;
            (&input.data[start..], layout)
        } else {
            let layout = Padded::new(rows.len(), width, pad);
            for (block, to) in (0..input.count).zip(scratch.chunks_exact_mut(layout.plane)) {
                layout.fill(input, image, block, rows.clone(), pad, to);
            }
            (&*scratch, layout)
        };
        if input.count > 0 {
            let last_row = rows.len() + 2 * pad;
            assert!(
                (input.count - 1) * layout.plane + last_row * layout.row <= source.len(),
                "input of a band"
            );
        }
        let band = Band {
            start: source.as_ptr(),
            plane: layout.plane,
            row: layout.row,
            width,
            pixel: LANES,
            taps: [pass.kernel; 2],
            tap: [layout.row, LANES],
            depths: pass.depths,
            rows: LANES,
            flat: pass.kernel == 1,
            relu: pass.relu,
            accumulate: pass.accumulate,
        };
        let per_block = input.count * pass.kernel * pass.kernel * LANES * LANES;
        let (start, len) = (rows.start * width * LANES, rows.len() * width * LANES);
        for index in panels {
            let columns = part(index, pass.panels, pass.output_blocks.len());
            let packed = &pass.packed[columns.start * per_block..][..columns.len() * per_block];
            let first = pass.output_blocks.start + columns.start;
            let output = |column: usize| {
                let offset = (image * shape.blocks + first + column) * shape.plane() + start;
                // SAFETY: this task alone writes these rows of this block.
                unsafe { pass.output.part(offset, len) }
            };
            let mask = |column: usize| pass.mask_of(image, columns.start + column, start, len);
            // SAFETY: the input has all planes with the band's rows and their surroundings, as asserted.
            unsafe { panel(simd, &band, packed, pass.bias, columns.clone(), output, mask) }
        }
    }
}
