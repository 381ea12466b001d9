//! Average pooling, forward and backward.

use super::{Windows, check_shapes, reference};
use crate::epilogue::Epilogue;
use crate::map::{LANES, Map, MapMut, Shape};
use crate::planes::Planes;
use crate::simd::{Kernel, Simd, Vectorised, dispatch};
use crate::{Context, Value};

/// Average pooling: the mean over square windows, without padding. A window that extends past the border of
/// the map, also one larger than the map, averages only the pixels on the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AveragePool {
    /// Side of the square window in pixels, at least 1.
    pub kernel: usize,
    /// Distance between neighbouring windows in pixels, 1..=kernel.
    pub stride: usize,
}

impl AveragePool {
    /// Number of output pixels along a side of `len` input pixels, rounded up: the last window may extend
    /// past the map.
    ///
    /// # Panics
    /// If the stride is outside `1..=kernel`.
    pub fn output_size(&self, len: usize) -> usize {
        self.windows(len).count
    }

    /// Computes the mean of each window in each channel.
    ///
    /// # Panics
    /// If the shapes of the maps do not match.
    pub fn forward<T: Value>(&self, context: Context, input: Map<T>, output: MapMut<T>) {
        (T::entries().average_pool.forward)(self, context, input, output);
    }

    /// Spreads the gradient of each output value evenly over the input pixels of its window, sums where
    /// windows overlap, and writes the sums into `input_gradient`: over what is there or added to it, and
    /// with or without the backward pass of a ReLU, as `epilogue` says.
    ///
    /// # Panics
    /// If the shapes of the maps do not match.
    pub fn backward<T: Value>(
        &self,
        context: Context,
        output_gradient: Map<T>,
        epilogue: Epilogue<T>,
        input_gradient: MapMut<T>,
    ) {
        (T::entries().average_pool.backward)(self, context, output_gradient, epilogue, input_gradient);
    }

    fn windows(&self, len: usize) -> Windows {
        Windows::new(self.kernel, self.stride, 0, len)
    }

    fn check(&self, from: (Shape, usize), to: (Shape, usize)) {
        check_shapes(from, to, |len| self.output_size(len));
    }
}

/// Pointers to the functions that compute average pooling on maps of `T`. [`AveragePool`] calls them through
/// these pointers, so that their code is compiled in this crate and not again in each crate that uses it.
pub struct Entries<T: 'static> {
    forward: fn(&AveragePool, Context, Map<T>, MapMut<T>),
    backward: fn(&AveragePool, Context, Map<T>, Epilogue<T>, MapMut<T>),
}

impl<T: Value> Entries<T> {
    pub(crate) const fn new() -> Entries<T> {
        Entries { forward, backward }
    }
}

fn forward<T: Value>(average: &AveragePool, context: Context, input: Map<T>, output: MapMut<T>) {
    average.check((input.shape, input.count), (output.shape, output.count));
    let (rows, columns) = (average.windows(input.shape.height), average.windows(input.shape.width));
    let (batch, count) = (output.shape.batch, output.count);
    let outputs = Planes::new(output);
    context.pool.run(batch * count, |task| {
        let (image, block) = (task / count, task % count);
        // SAFETY: every task has a block of its own.
        let to = unsafe { outputs.plane(image, block) };
        dispatch(context.isa, Forward { rows, columns, from: input.plane(image, block), to });
    });
}

fn backward<T: Value>(
    average: &AveragePool,
    context: Context,
    output_gradient: Map<T>,
    epilogue: Epilogue<T>,
    input_gradient: MapMut<T>,
) {
    let (from, to) = (output_gradient.shape, input_gradient.shape);
    average.check((to, input_gradient.count), (from, output_gradient.count));
    epilogue.check(to, input_gradient.count);
    let (rows, columns) = (average.windows(to.height), average.windows(to.width));
    let count = input_gradient.count;
    let inputs = Planes::new(input_gradient);
    context.pool.run(to.batch * count, |task| {
        let (image, block) = (task / count, task % count);
        let from = output_gradient.plane(image, block);
        // SAFETY: every task has a block of its own.
        let to = unsafe { inputs.plane(image, block) };
        let mask = epilogue.relu.as_ref().map(|values| values.plane(image, block));
        let accumulate = epilogue.accumulate;
        dispatch(context.isa, Backward { rows, columns, from, accumulate, mask, to });
    });
}

/// Forward pass of one block of one image.
struct Forward<'a, T> {
    rows: Windows,
    columns: Windows,
    from: &'a [T],
    to: &'a mut [T],
}

impl<T: Value> Vectorised<T> for Forward<'_, T> {
    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let Forward { rows, columns, from, to } = self;
        let width = columns.count;
        for y in 0..rows.count {
            for x in 0..width {
                let (ys, xs) = (rows.taps(y), columns.taps(x));
                let mut sum = simd.zero();
                for ky in ys.clone() {
                    let line = rows.input(y, ky) * columns.len + columns.input(x, xs.start);
                    for pixel in from[line * LANES..][..xs.len() * LANES].chunks_exact(LANES) {
                        sum = simd.add(sum, simd.read(pixel));
                    }
                }
                let area = simd.splat((ys.len() * xs.len()) as f32);
                simd.write(&mut to[(y * width + x) * LANES..], simd.div(sum, area));
            }
        }
    }
}

impl<T: Value> Kernel<T> for Forward<'_, T> {
    fn scalar(self) {
        reference::average_forward(self.rows, self.columns, self.from, self.to);
    }
}

/// Backward pass of one block of one image. Each input pixel collects from the windows that cover it, so that
/// it is written once.
struct Backward<'a, T> {
    rows: Windows,
    columns: Windows,
    from: &'a [T],
    accumulate: bool,
    /// Values where the gradient becomes zero unless they are positive.
    mask: Option<&'a [T]>,
    to: &'a mut [T],
}

impl<T: Value> Vectorised<T> for Backward<'_, T> {
    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let Backward { rows, columns, from, accumulate, mask, to } = self;
        for (iy, ys) in rows.covering().enumerate() {
            for (ix, xs) in columns.covering().enumerate() {
                let place = (iy * columns.len + ix) * LANES;
                let pixel = &mut to[place..][..LANES];
                let mut sum = if accumulate { simd.read(pixel) } else { simd.zero() };
                for y in ys.clone() {
                    for x in xs.clone() {
                        let area = (rows.taps(y).len() * columns.taps(x).len()) as f32;
                        let gradient = simd.read(&from[(y * columns.count + x) * LANES..]);
                        sum = simd.mul_add(gradient, simd.splat(1.0 / area), sum);
                    }
                }
                if let Some(mask) = mask {
                    sum = simd.select_greater(simd.read(&mask[place..]), simd.zero(), sum, simd.zero());
                }
                simd.write(pixel, sum);
            }
        }
    }
}

impl<T: Value> Kernel<T> for Backward<'_, T> {
    fn scalar(self) {
        reference::average_backward(self.rows, self.columns, self.from, self.accumulate, self.mask, self.to);
    }
}
