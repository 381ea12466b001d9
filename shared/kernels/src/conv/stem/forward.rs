//! The stem forward: the tiles of the direct kernel over a padded planar copy, neighbouring pixels `stride` floats apart.

use super::{Image, Planar, Stem};
use crate::conv::band::{Band, panel};
use crate::conv::pack::panel_width;
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::map::{LANES, MapMut, Shape};
use crate::pool::{Pool, part};
use crate::simd::{Kernel, Simd, dispatch};
use crate::value::Value;
use std::ops::Range;

/// Output rows of a task: their input and one block of output stay in the second-level cache.
const BAND_ROWS: usize = 8;

fn bands(height: usize) -> usize {
    height.div_ceil(BAND_ROWS)
}

/// Scratch that each thread needs.
pub(super) fn scratch(stem: &Stem, height: usize, width: usize) -> usize {
    let (rows, columns) = (stem.output_size(height), stem.output_size(width));
    if rows * columns == 0 {
        return 0;
    }
    stem.input_channels * Planar::new(stem, rows.min(BAND_ROWS), columns).len()
}

#[expect(clippy::too_many_arguments, reason = "what a convolution takes")]
pub(super) fn run<T: Value>(
    stem: &Stem,
    isa: Isa,
    pool: &Pool,
    image: Image,
    packed: &[f32],
    bias: &[f32],
    relu: bool,
    output: MapMut<T>,
    scratch: &mut [f32],
) {
    let shape = output.shape;
    if shape.batch * shape.pixels() == 0 {
        return;
    }
    let bands = bands(shape.height);
    let per_thread = self::scratch(stem, image.height, image.width);
    let scratch = Disjoint::new(scratch);
    let (first, count) = (output.first, output.count);
    let output = Disjoint::new(output.data);
    pool.run_on_threads(shape.batch * bands, |thread, task| {
        // SAFETY: `thread` is this thread's alone.
        let copy = unsafe { scratch.part(thread * per_thread, per_thread) };
        let rows = part(task % bands, bands, shape.height);
        let panels = count.div_ceil(panel_width(isa));
        let index = task / bands;
        dispatch(
            isa,
            Task { stem, image, index, rows, packed, panels, bias, relu, output, shape, first, count, copy },
        );
    });
}

/// Some rows of one image.
struct Task<'a, T> {
    stem: &'a Stem,
    image: Image<'a>,
    index: usize,
    rows: Range<usize>,
    packed: &'a [f32],
    panels: usize,
    bias: &'a [f32],
    relu: bool,
    output: Disjoint<'a, T>,
    shape: Shape,
    first: usize,
    count: usize,
    copy: &'a mut [f32],
}

impl<T: Value> Kernel for Task<'_, T> {
    const HALVES: bool = T::GROUP == 2;
    type Output = ();

    fn scalar(self) {
        unreachable!("the scalar stem has no tiles")
    }

    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let Task { stem, shape, rows, .. } = self;
        let layout = Planar::new(stem, rows.len(), shape.width);
        for (c, to) in (0..stem.input_channels).zip(self.copy.chunks_exact_mut(layout.len())) {
            layout.fill(stem, self.image, self.index * stem.input_channels + c, rows.start, to);
        }
        let band = Band {
            start: self.copy.as_ptr(),
            plane: layout.len(),
            row: stem.stride * layout.row,
            pixel: stem.stride,
            width: shape.width,
            taps: [stem.kernel, 1],
            tap: [layout.row, 0],
            depths: &[stem.kernel; 4][..stem.input_channels],
            rows: stem.kernel,
            flat: false,
            relu: self.relu,
            accumulate: false,
        };
        assert!(stem.input_channels * layout.len() <= self.copy.len(), "scratch of the stem");
        for index in 0..self.panels {
            let columns = part(index, self.panels, self.count);
            let packed =
                &self.packed[columns.start * LANES * stem.taps()..][..columns.len() * LANES * stem.taps()];
            let output = |column: usize| {
                let block = self.index * shape.blocks + self.first + columns.start + column;
                let offset = block * shape.plane() + rows.start * shape.width * LANES;
                // SAFETY: this task alone writes these rows of this block.
                unsafe { self.output.part(offset, rows.len() * shape.width * LANES) }
            };
            // SAFETY: the copy has, for each channel, what all pixels of the rows read; `packed` is the panel.
            unsafe { panel(simd, &band, packed, self.bias, columns.clone(), output, |_| None) }
        }
    }
}
