//! The direct kernel: forward and input gradient.
//!
//! For each image, band of rows and panel of output blocks, a tile of pixels keeps its sums in registers over all input
//! channels and taps. A band's input stays in the second-level cache while the panels pass over it; kernels larger
//! than 1x1 read a zero-padded copy of it. Each output value is summed by one tile in the same order however the work
//! is cut, so results do not depend on the number of threads.

use super::pack::part;
use super::padded::Padded;
use super::tile::{Sums, multiply};
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::map::{LANES, Map, Shape};
use crate::pool::Pool;
use crate::simd::{Kernel, Simd, dispatch};
use std::ops::Range;

/// Floats of input that a band may have: half of a small second-level cache (512 KiB), the rest is for a panel.
const BAND: usize = 48 * 1024;

/// Tasks that each thread should get at least, lest one waits for the other.
const TASKS_PER_THREAD: usize = 4;

/// One convolution with stride 1 over packed weights.
pub(super) struct Direct<'a> {
    pub(super) kernel: usize,
    pub(super) input: Map<'a>,
    pub(super) packed: &'a [f32],
    /// Panels that `packed` is cut into.
    pub(super) panels: usize,
    /// Added to every output channel; channels past its end get nothing.
    pub(super) bias: &'a [f32],
    pub(super) relu: bool,
    /// Adds to the output.
    pub(super) accumulate: bool,
    pub(super) output: Disjoint<'a, f32>,
    pub(super) output_shape: Shape,
    /// First block and number of blocks in the output.
    pub(super) output_blocks: Range<usize>,
}

/// Rows of a band: as many as keep its input within [`BAND`].
fn band_rows(blocks: usize, kernel: usize, height: usize, width: usize) -> usize {
    let pad = kernel / 2;
    let row = blocks.max(1) * (width + 2 * pad).max(1) * LANES;
    // Halos are copied again for each band, so a band has a few rows whatever they take.
    let most = (BAND / row).saturating_sub(2 * pad).clamp(4, height.max(4));
    height.div_ceil(height.div_ceil(most).max(1))
}

/// Scratch that each thread needs.
pub(super) fn scratch_of_thread(blocks: usize, kernel: usize, height: usize, width: usize) -> usize {
    if kernel == 1 {
        return 0;
    }
    blocks * Padded::new(band_rows(blocks, kernel, height, width), width, kernel / 2).plane
}

impl Direct<'_> {
    pub(super) fn run(&self, isa: Isa, pool: &Pool, scratch: &mut [f32]) {
        let Shape { batch, height, width, .. } = self.input.shape;
        if batch * height * width == 0 {
            return;
        }
        let rows = band_rows(self.input.count, self.kernel, height, width);
        let bands = height.div_ceil(rows);
        let groups = (TASKS_PER_THREAD * pool.threads()).div_ceil(batch * bands).min(self.panels);
        let per_thread = scratch_of_thread(self.input.count, self.kernel, height, width);
        let scratch = Disjoint::new(scratch);
        pool.run_on_threads(batch * bands * groups, |thread, task| {
            let (image, band, group) = (task / groups / bands, task / groups % bands, task % groups);
            let rows = part(band, bands, height);
            let panels = part(group, groups, self.panels);
            // SAFETY: `thread` is this thread's alone.
            let scratch = unsafe { scratch.part(thread * per_thread, per_thread) };
            dispatch(isa, Task { conv: self, image, rows, panels, scratch });
        });
    }
}

/// A band of an image times some panels.
struct Task<'a> {
    conv: &'a Direct<'a>,
    image: usize,
    rows: Range<usize>,
    panels: Range<usize>,
    scratch: &'a mut [f32],
}

/// Where a band's input lies, and where its pixels are in it.
struct Band {
    start: *const f32,
    /// Floats from one block, row of the input to the next.
    plane: usize,
    row: usize,
    /// Pixels of a row.
    width: usize,
    /// Input blocks.
    blocks: usize,
    kernel: usize,
    relu: bool,
    accumulate: bool,
}

impl Kernel for Task<'_> {
    type Output = ();

    fn scalar(self) {
        unreachable!("the scalar convolution has no tiles")
    }

    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let Task { conv, image, rows, panels, scratch } = self;
        let (input, shape, width) = (&conv.input, conv.output_shape, conv.input.shape.width);
        let pad = conv.kernel / 2;
        let (source, layout) = if conv.kernel == 1 {
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
            blocks: input.count,
            kernel: conv.kernel,
            relu: conv.relu,
            accumulate: conv.accumulate,
        };
        let per_block = input.count * conv.kernel * conv.kernel * LANES * LANES;
        for panel in panels {
            let columns = part(panel, conv.panels, conv.output_blocks.len());
            let packed = &conv.packed[columns.start * per_block..][..columns.len() * per_block];
            let mut bias = [0.0; 4 * LANES];
            let known = conv.bias.get(columns.start * LANES..).unwrap_or(&[]);
            let known = &known[..known.len().min(columns.len() * LANES)];
            bias[..known.len()].copy_from_slice(known);
            let first = conv.output_blocks.start + columns.start;
            let output = |column: usize| {
                let offset =
                    (image * shape.blocks + first + column) * shape.plane() + rows.start * width * LANES;
                // SAFETY: this task alone writes these rows of this block.
                unsafe { conv.output.part(offset, rows.len() * width * LANES) }.as_mut_ptr()
            };
            let (pixels, w, bias) = (rows.len() * width, packed.as_ptr(), bias.as_ptr());
            // SAFETY: of the input, `blocks` planes of the band's rows and halo were asserted; `packed` has the
            // panel's weights, `bias` 64 floats, and each output pointer the band's pixels.
            unsafe {
                match columns.len() {
                    1 => panel_of(simd, &band, w, bias, [output(0)], pixels),
                    2 if const { S::PANEL >= 2 } => {
                        panel_of(simd, &band, w, bias, [output(0), output(1)], pixels)
                    }
                    3 if const { S::PANEL >= 3 } => {
                        panel_of(simd, &band, w, bias, [output(0), output(1), output(2)], pixels)
                    }
                    other => unreachable!("a panel of {other} blocks"),
                }
            }
        }
    }
}

/// All pixels of a band times one panel.
///
/// # Safety
/// As [`tile`], for all `pixels` pixels.
#[inline(always)]
unsafe fn panel_of<S: Simd, const COLUMNS: usize>(
    simd: S,
    band: &Band,
    w: *const f32,
    bias: *const f32,
    output: [*mut f32; COLUMNS],
    pixels: usize,
) {
    // Without padding the pixels of a band are one long row.
    let span = if S::SCATTERED || band.kernel == 1 { pixels } else { band.width };
    let tiles = span.div_ceil(S::PIXELS[COLUMNS]);
    for start in (0..pixels).step_by(span) {
        for index in 0..tiles {
            let pixels = part(index, tiles, span);
            let first = start + pixels.start;
            macro_rules! widths {
                ($($n:literal)*) => {
                    match pixels.len() {
                        // SAFETY: the tile's pixels are among the band's (caller).
                        $($n if const { $n <= S::PIXELS[COLUMNS] } => unsafe {
                            tile::<S, $n, COLUMNS>(simd, band, w, bias, output, first)
                        })*
                        other => unreachable!("a tile of {other} pixels"),
                    }
                };
            }
            widths!(1 2 3 4 5 6 7 8 9)
        }
    }
}

/// `PIXELS` pixels from `first` on times one panel.
///
/// # Safety
/// `band` must describe readable memory that has these pixels and what lies around them in all its blocks, `w` the
/// packed panel, `bias` 16 floats per column; each output must be valid for 16 floats at each of the pixels.
#[inline(always)]
unsafe fn tile<S: Simd, const PIXELS: usize, const COLUMNS: usize>(
    simd: S,
    band: &Band,
    w: *const f32,
    bias: *const f32,
    output: [*mut f32; COLUMNS],
    first: usize,
) {
    // Where the pixels are, from the first; constants where they lie side by side.
    let place = |pixel: usize| pixel / band.width * band.row + pixel % band.width * LANES;
    let mut offsets = [0; PIXELS];
    for (i, offset) in offsets.iter_mut().enumerate() {
        *offset = if S::SCATTERED { place(first + i) - place(first) } else { i * LANES };
    }
    // SAFETY: everything below stays inside of what the caller promised.
    unsafe {
        let mut sums: Sums<S, PIXELS, COLUMNS> = [[simd.zero(); COLUMNS]; PIXELS];
        for j in 0..COLUMNS {
            let bias = simd.load(bias.add(j * LANES));
            for (i, row) in sums.iter_mut().enumerate().take(simd.unrolled(PIXELS)) {
                row[j] = if band.accumulate { simd.load(output[j].add((first + i) * LANES)) } else { bias };
            }
        }
        let mut w = w;
        let mut x = band.start.add(place(first));
        for _ in 0..band.blocks {
            if band.kernel == 1 {
                // The next block is a plane away, which the hardware does not foresee.
                for offset in offsets {
                    simd.prefetch(x.wrapping_add(band.plane + offset));
                }
            }
            for ky in 0..band.kernel {
                for kx in 0..band.kernel {
                    let x = x.add(ky * band.row + kx * LANES);
                    multiply::<S, PIXELS, COLUMNS, LANES>(
                        simd,
                        &mut sums,
                        offsets.map(|offset| x.add(offset)),
                        w,
                    );
                    w = w.add(LANES * COLUMNS * LANES);
                }
            }
            x = x.wrapping_add(band.plane);
        }
        for j in 0..COLUMNS {
            for (i, row) in sums.iter().enumerate().take(simd.unrolled(PIXELS)) {
                let value = if band.relu { simd.max(row[j], simd.zero()) } else { row[j] };
                simd.store(output[j].add((first + i) * LANES), value);
            }
        }
    }
}
