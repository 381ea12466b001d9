//! Local response normalisation across channels (Krizhevsky et al. 2012; in GoogLeNet after the first
//! max pool and before the second).
//!
//! With `s_c = k + alpha/size * sum of x_j^2` over the `size` channels `j` around `c`, clipped at the
//! first and the last channel:
//!
//! ```text
//! y_c  = x_c * s_c^-beta
//! dx_c = dy_c * s_c^-beta - 2 alpha/size beta x_c * sum of dy_j x_j s_j^(-beta-1)   (same window)
//! ```

mod reference;
#[cfg(test)]
mod tests;

use crate::context::{Context, split};
use crate::map::{LANES, Map, MapMut, blocks};
use crate::planes::Planes;
use crate::simd::{Kernel, Simd, Vectorised, dispatch};
use crate::{Pool, Value};
use std::ops::Range;

/// Pixels in one task.
const PIXELS_PER_TASK: usize = 256;
/// Pixels whose channels are gathered in contiguous lines at a time, so that windows cross the borders of
/// blocks. With 192 channels the three lines of each pixel take 21 KB, which leaves room for the maps in the
/// first-level cache.
const TILE: usize = 8;

/// Constants of the normalisation. BVLC's GoogLeNet has size 5, alpha 1e-4, beta 0.75, k 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lrn {
    /// Channels in a window; odd, at most 31.
    pub size: usize,
    /// Weight of a full window's sum of squares. Each square has the weight `alpha / size`, also where the
    /// window is clipped.
    pub alpha: f32,
    /// Exponent of the divisor; only 0.75 is supported, which needs nothing but square roots.
    pub beta: f32,
    /// Constant added to the weighted sum of squares, above 0.
    pub k: f32,
}

impl Lrn {
    /// Floats of scratch memory that both passes need; its contents do not matter.
    pub fn scratch_len(&self, channels: usize, pool: &Pool) -> usize {
        LINES * ChannelLines::len(blocks(channels)) * pool.threads()
    }

    /// Normalises the first `channels` channels of the map; lanes past them become zero.
    ///
    /// # Panics
    /// If the constants are not supported, or a map has the wrong size.
    pub fn forward<T: Value>(&self, context: Context, input: Map<T>, channels: usize, output: MapMut<T>) {
        (T::entries().lrn.forward)(self, context, input, channels, output);
    }

    /// Computes the input gradient and overwrites `input_gradient` with it; the scales are recomputed from
    /// `input`. If `rectified`, the gradient is zero wherever the input is not positive: the backward pass of
    /// the ReLU that made the input.
    ///
    /// # Panics
    /// If the constants are not supported, or a map has the wrong size.
    pub fn backward<T: Value>(
        &self,
        context: Context,
        input: Map<T>,
        output_gradient: Map<T>,
        channels: usize,
        rectified: bool,
        input_gradient: MapMut<T>,
    ) {
        let (dy, dx) = (output_gradient, input_gradient);
        (T::entries().lrn.backward)(self, context, input, dy, channels, rectified, dx);
    }

    fn check<T>(&self, from: &Map<T>, channels: usize, to: &MapMut<T>) {
        assert!(
            self.size % 2 == 1 && self.size / 2 < LANES && self.beta == 0.75 && self.k > 0.0,
            "normalisation: expected an odd size of at most 31, beta 0.75 and k above 0, found {self:?}"
        );
        let expected = (from.shape.batch, blocks(channels), from.shape.height, from.shape.width);
        for (shape, count) in [(from.shape, from.count), (to.shape, to.count)] {
            let found = (shape.batch, count, shape.height, shape.width);
            assert!(
                expected == found,
                "normalisation of {channels} channels: expected maps of (batch, blocks, height, width) \
                 {expected:?}, found {found:?}"
            );
        }
    }
}

/// The functions that compute local response normalisation on maps of `T`, compiled in this crate: the part
/// for it of the table of entry points in `entries.rs`.
#[expect(clippy::type_complexity, reason = "the arguments of the entry points")]
pub struct Entries<T: 'static> {
    forward: fn(&Lrn, Context, Map<T>, usize, MapMut<T>),
    backward: fn(&Lrn, Context, Map<T>, Map<T>, usize, bool, MapMut<T>),
}

impl<T: Value> Entries<T> {
    pub(crate) const fn new() -> Entries<T> {
        Entries { forward, backward }
    }
}

fn forward<T: Value>(lrn: &Lrn, context: Context, input: Map<T>, channels: usize, output: MapMut<T>) {
    let isa = context.isa;
    lrn.check(&input, channels, &output);
    in_tasks(lrn, context, input, channels, output, |task| dispatch(isa, Forward(task)));
}

fn backward<T: Value>(
    lrn: &Lrn,
    context: Context,
    input: Map<T>,
    output_gradient: Map<T>,
    channels: usize,
    rectified: bool,
    input_gradient: MapMut<T>,
) {
    let isa = context.isa;
    lrn.check(&input, channels, &input_gradient);
    lrn.check(&output_gradient, channels, &input_gradient);
    in_tasks(lrn, context, input, channels, input_gradient, |task| {
        dispatch(isa, Backward { task, output_gradient, rectified });
    });
}

/// A task: some pixels of one image, which no other task writes.
struct Task<'a, T> {
    lrn: &'a Lrn,
    image: usize,
    pixels: Range<usize>,
    input: Map<'a, T>,
    channels: usize,
    to: Planes<'a, T>,
    lines: [&'a mut [f32]; LINES],
}

/// Number of [`ChannelLines`] that each thread has room for.
const LINES: usize = 3;

/// Cuts every image into tasks and runs them.
fn in_tasks<T: Value>(
    lrn: &Lrn,
    context: Context,
    input: Map<T>,
    channels: usize,
    to: MapMut<T>,
    run: impl Fn(Task<T>) + Sync,
) {
    let (to, pixels) = (Planes::new(to), input.shape.pixels());
    let each = pixels.div_ceil(PIXELS_PER_TASK);
    let len = ChannelLines::len(input.count);
    context.run(input.shape.batch * each, LINES * len, |task, scratch| {
        let (image, start) = (task / each, task % each * PIXELS_PER_TASK);
        let pixels = start..pixels.min(start + PIXELS_PER_TASK);
        run(Task { lrn, image, pixels, input, channels, to, lines: split(scratch, [len; LINES]) });
    });
}

/// The channels of one pixel.
fn channels_of<T: Value>(map: &Map<T>, channels: usize, image: usize, pixel: usize) -> Vec<f32> {
    (0..channels).map(|c| map.plane(image, c / LANES)[pixel * LANES + c % LANES].wide()).collect()
}

/// One contiguous line of all channels for each pixel of a tile, with a vector of zeros at both ends for the
/// windows of the first and the last channels.
struct ChannelLines<'a> {
    values: &'a mut [f32],
    stride: usize,
}

impl<'a> ChannelLines<'a> {
    fn len(blocks: usize) -> usize {
        TILE * (blocks + 2) * LANES
    }

    fn new(values: &'a mut [f32], blocks: usize) -> ChannelLines<'a> {
        let stride = (blocks + 2) * LANES;
        for line in values.chunks_exact_mut(stride) {
            line[..LANES].fill(0.0);
            line[stride - LANES..].fill(0.0);
        }
        ChannelLines { values, stride }
    }

    #[inline(always)]
    fn start(&self, pixel: usize, block: usize) -> usize {
        pixel * self.stride + (block + 1) * LANES
    }

    #[inline(always)]
    fn set<S: Simd>(&mut self, simd: S, pixel: usize, block: usize, value: S::Vector) {
        let start = self.start(pixel, block);
        simd.write(&mut self.values[start..], value);
    }

    #[inline(always)]
    fn get<S: Simd>(&self, simd: S, pixel: usize, block: usize) -> S::Vector {
        simd.read(&self.values[self.start(pixel, block)..])
    }

    /// Sums over the windows of a block's channels.
    #[inline(always)]
    fn windows<S: Simd>(&self, simd: S, pixel: usize, block: usize, half: usize) -> S::Vector {
        let start = self.start(pixel, block);
        let mut sum = simd.zero();
        for window in self.values[start - half..start + half + LANES].windows(LANES) {
            sum = simd.add(sum, simd.read(window));
        }
        sum
    }
}

/// Writes the squares of a tile's channels into `squares`.
#[inline(always)]
fn square<S: Simd, T: Value>(
    simd: S,
    input: &Map<T>,
    image: usize,
    tile: &Range<usize>,
    squares: &mut ChannelLines<'_>,
) {
    for block in 0..input.count {
        let plane = &input.plane(image, block)[tile.start * LANES..tile.end * LANES];
        for (pixel, x) in plane.chunks_exact(LANES).enumerate() {
            let x = simd.read(x);
            squares.set(simd, pixel, block, simd.mul(x, x));
        }
    }
}

/// The input and the output of each pixel of a tile in a block.
///
/// # Safety
/// See [`Planes::pixels`].
#[inline(always)]
unsafe fn pixels_of<'a, T: Value>(
    input: &Map<'a, T>,
    to: &Planes<'a, T>,
    image: usize,
    block: usize,
    tile: &Range<usize>,
) -> impl Iterator<Item = (usize, (&'a [T], &'a mut [T]))> {
    let from = &input.plane(image, block)[tile.start * LANES..tile.end * LANES];
    // SAFETY: the caller's promise.
    let to = unsafe { to.pixels(image, block, tile.clone()) };
    from.chunks_exact(LANES).zip(to.chunks_exact_mut(LANES)).enumerate()
}

/// Computes `s^-0.75` from `s^-0.5`.
#[inline(always)]
fn power<S: Simd>(simd: S, inverse_root: S::Vector) -> S::Vector {
    simd.mul(simd.mul(inverse_root, inverse_root), simd.inverse_root(inverse_root))
}

/// Forward pass of a task.
struct Forward<'a, T>(Task<'a, T>);

impl<T: Value> Vectorised<T> for Forward<'_, T> {
    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let Task { lrn, image, pixels, input, to, lines: [squares, ..], .. } = self.0;
        let mut squares = ChannelLines::new(squares, input.count);
        let (k, weight) = (simd.splat(lrn.k), simd.splat(lrn.alpha / lrn.size as f32));
        for start in pixels.clone().step_by(TILE) {
            let tile = start..pixels.end.min(start + TILE);
            square(simd, &input, image, &tile, &mut squares);
            for block in 0..input.count {
                // SAFETY: the pixels are this task's.
                for (pixel, (x, y)) in unsafe { pixels_of(&input, &to, image, block, &tile) } {
                    let near = squares.windows(simd, pixel, block, lrn.size / 2);
                    let inverse_root = simd.inverse_root(simd.mul_add(near, weight, k));
                    simd.write(y, simd.mul(simd.read(x), power(simd, inverse_root)));
                }
            }
        }
    }
}

impl<T: Value> Kernel<T> for Forward<'_, T> {
    fn scalar(self) {
        let Task { lrn, image, pixels, input, channels, to, .. } = self.0;
        for pixel in pixels {
            let y = reference::forward(lrn, &channels_of(&input, channels, image, pixel));
            // SAFETY: the pixels are this task's.
            unsafe { to.set_channels(image, input.count, pixel, &y) };
        }
    }
}

/// Backward pass of a task.
struct Backward<'a, T> {
    task: Task<'a, T>,
    output_gradient: Map<'a, T>,
    rectified: bool,
}

impl<T: Value> Vectorised<T> for Backward<'_, T> {
    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let Backward { task, output_gradient, rectified } = self;
        let Task { lrn, image, pixels, input, to, lines, .. } = task;
        let [mut squares, mut ratios, mut direct] = lines.map(|lines| ChannelLines::new(lines, input.count));
        let weight = lrn.alpha / lrn.size as f32;
        let factor = simd.splat(-2.0 * weight * lrn.beta);
        let (k, weight) = (simd.splat(lrn.k), simd.splat(weight));
        for start in pixels.clone().step_by(TILE) {
            let tile = start..pixels.end.min(start + TILE);
            square(simd, &input, image, &tile, &mut squares);
            // First dy s^-0.75 and the ratios dy x s^-1.75 of all blocks, then the sums over the windows.
            for block in 0..input.count {
                let xs = &input.plane(image, block)[tile.start * LANES..tile.end * LANES];
                let dys = &output_gradient.plane(image, block)[tile.start * LANES..tile.end * LANES];
                let pairs = xs.chunks_exact(LANES).zip(dys.chunks_exact(LANES));
                for (pixel, (x, dy)) in pairs.enumerate() {
                    let near = squares.windows(simd, pixel, block, lrn.size / 2);
                    let inverse_root = simd.inverse_root(simd.mul_add(near, weight, k));
                    let own = simd.mul(simd.read(dy), power(simd, inverse_root));
                    let inverse = simd.mul(inverse_root, inverse_root);
                    let ratio = simd.mul(simd.mul(own, simd.read(x)), inverse);
                    ratios.set(simd, pixel, block, ratio);
                    direct.set(simd, pixel, block, own);
                }
            }
            for block in 0..input.count {
                // SAFETY: the pixels are this task's.
                for (pixel, (x, dx)) in unsafe { pixels_of(&input, &to, image, block, &tile) } {
                    let shared = ratios.windows(simd, pixel, block, lrn.size / 2);
                    let x = simd.read(x);
                    let own = direct.get(simd, pixel, block);
                    let mut gradient = simd.mul_add(simd.mul(factor, x), shared, own);
                    if rectified {
                        gradient = simd.select_greater(x, simd.zero(), gradient, simd.zero());
                    }
                    simd.write(dx, gradient);
                }
            }
        }
    }
}

impl<T: Value> Kernel<T> for Backward<'_, T> {
    fn scalar(self) {
        let Backward { task, output_gradient, rectified } = self;
        let Task { lrn, image, pixels, input, channels, to, .. } = task;
        for pixel in pixels {
            let x = channels_of(&input, channels, image, pixel);
            let dy = channels_of(&output_gradient, channels, image, pixel);
            // SAFETY: the pixels are this task's.
            unsafe {
                to.set_channels(image, input.count, pixel, &reference::backward(lrn, &x, &dy, rectified))
            };
        }
    }
}
