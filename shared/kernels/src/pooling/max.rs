//! Max pooling: the forward pass with the positions of the maxima, and the backward pass from them.

use super::{NO_WINNER, Windows, check_shapes, reference};
use crate::disjoint::Disjoint;
use crate::map::{LANES, Map, MapMut};
use crate::planes::Planes;
use crate::simd::{Kernel, Simd, Vectorised, dispatch};
use crate::{Context, Value};
use std::mem::MaybeUninit;
use std::ops::Range;

/// Max pooling: the maximum over square windows. Of equal values the first in row-major order wins and alone
/// receives the gradient. A comparison with NaN is false: a NaN is the maximum if it is the first value of
/// its window; if it is the first value in another row of the window, all values of that row are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool {
    /// Side of the square window in pixels, 1..=7.
    pub kernel: usize,
    /// Distance between neighbouring windows in pixels, 1..=kernel.
    pub stride: usize,
    /// Pixels by which the first window starts above and to the left of the map, less than `kernel`. Only
    /// pixels on the map take part in a maximum.
    pub padding: usize,
    /// Whether the input is the output of a ReLU. A window without a positive value then has no winner and
    /// passes no gradient on, so that [`MaxPool::backward`] is also the backward pass of that ReLU.
    pub rectified: bool,
}

impl MaxPool {
    /// Number of output pixels along a side of `len` input pixels, rounded up: the last window may extend
    /// past the map.
    ///
    /// # Panics
    /// If `kernel` is above 7, `stride` is outside `1..=kernel`, or `padding` is not below `kernel`.
    pub fn output_size(&self, len: usize) -> usize {
        self.windows(len).count
    }

    /// Computes the maximum of each window in each channel. `indices`, which the backward pass needs,
    /// receives for each value of the output map, in the order `[image][block][y][x][16]` over that map's
    /// blocks alone, the position in the window of the pixel that has the maximum, `ky * kernel + kx`; or 255
    /// if no pixel wins the window, since `rectified` is set and none is positive.
    ///
    /// # Panics
    /// If the shapes of the maps or the number of indices do not match.
    pub fn forward<T: Value>(
        &self,
        context: Context,
        input: Map<T>,
        output: MapMut<T>,
        indices: Option<&mut [u8]>,
    ) {
        (T::entries().max_pool.forward)(self, context, input, output, indices);
    }

    /// Adds the gradient of each output value to the input pixel that won its window, as `indices` from
    /// [`MaxPool::forward`] says. The gradients of overlapping windows add up, and pixels that won no window
    /// get zero. The result overwrites `input_gradient`, or is added to it if `accumulate` is true.
    ///
    /// # Panics
    /// If the shapes of the maps or the number of indices do not match.
    pub fn backward<T: Value>(
        &self,
        context: Context,
        output_gradient: Map<T>,
        indices: &[u8],
        accumulate: bool,
        input_gradient: MapMut<T>,
    ) {
        let (dy, dx) = (output_gradient, input_gradient);
        (T::entries().max_pool.backward)(self, context, dy, indices, accumulate, dx);
    }

    fn windows(&self, len: usize) -> Windows {
        assert!(
            self.kernel <= MOST,
            "max pooling: expected a kernel of at most {MOST}, found {}: a position in a window is one byte",
            self.kernel
        );
        Windows::new(self.kernel, self.stride, self.padding, len)
    }
}

/// Pointers to the functions that compute max pooling on maps of `T`. [`MaxPool`] calls them through these
/// pointers, so that their code is compiled in this crate and not again in each crate that uses it.
#[expect(clippy::type_complexity, reason = "the arguments of the entry points")]
pub struct Entries<T: 'static> {
    forward: fn(&MaxPool, Context, Map<T>, MapMut<T>, Option<&mut [u8]>),
    backward: fn(&MaxPool, Context, Map<T>, &[u8], bool, MapMut<T>),
}

impl<T: Value> Entries<T> {
    pub(crate) const fn new() -> Entries<T> {
        Entries { forward, backward }
    }
}

fn forward<T: Value>(
    max: &MaxPool,
    context: Context,
    input: Map<T>,
    output: MapMut<T>,
    indices: Option<&mut [u8]>,
) {
    check_shapes((input.shape, input.count), (output.shape, output.count), |len| max.output_size(len));
    let (rows, columns) = (max.windows(input.shape.height), max.windows(input.shape.width));
    let (batch, count, plane) = (output.shape.batch, output.count, output.shape.plane());
    let positions = indices.map(|indices| {
        check_indices(&output.as_map(), indices.len());
        Disjoint::new(indices)
    });
    let outputs = Planes::new(output);
    context.pool.run(batch * count, |task| {
        let (image, block) = (task / count, task % count);
        // SAFETY: every task has a block of its own.
        let to = unsafe { outputs.plane(image, block) };
        // SAFETY: as above.
        let indices = positions.map(|positions| unsafe { positions.part(task * plane, plane) });
        let from = input.plane(image, block);
        dispatch(context.isa, Forward { rows, columns, rectified: max.rectified, from, to, indices });
    });
}

fn backward<T: Value>(
    max: &MaxPool,
    context: Context,
    output_gradient: Map<T>,
    indices: &[u8],
    accumulate: bool,
    input_gradient: MapMut<T>,
) {
    let (from, to) = (output_gradient.shape, input_gradient.shape);
    let sizes = ((to, input_gradient.count), (from, output_gradient.count));
    check_shapes(sizes.0, sizes.1, |len| max.output_size(len));
    check_indices(&output_gradient, indices.len());
    let (rows, columns) = (max.windows(to.height), max.windows(to.width));
    let (count, plane) = (input_gradient.count, from.plane());
    let inputs = Planes::new(input_gradient);
    context.pool.run(to.batch * count, |task| {
        let (image, block) = (task / count, task % count);
        let from = output_gradient.plane(image, block);
        let indices = &indices[task * plane..][..plane];
        // SAFETY: every task has a block of its own.
        let to = unsafe { inputs.plane(image, block) };
        let winners = Winners { rows, columns, from, indices };
        dispatch(context.isa, Backward { winners, accumulate, to });
    });
}

fn check_indices<T>(output: &Map<T>, indices: usize) {
    let values = output.shape.batch * output.count * output.shape.plane();
    assert!(
        indices == values,
        "max pooling: expected one index for each of {values} outputs, found {indices}"
    );
}

/// Positions in a window as floats, to be broadcast from memory: lanes are compared as floats.
const POSITIONS: [f32; 256] = {
    let mut positions = [0.0; 256];
    let mut position = 0;
    while position < 256 {
        positions[position] = position as f32;
        position += 1;
    }
    positions
};

/// Positions in a window as bytes, repeated for all lanes.
const LANES_OF_POSITIONS: [[u8; LANES]; 256] = {
    let mut lanes = [[0; LANES]; 256];
    let mut position = 0;
    while position < 256 {
        lanes[position] = [position as u8; LANES];
        position += 1;
    }
    lanes
};

/// Windows of a row that are computed together. The maxima of three of their rows stay in the first-level
/// cache, and maps of twice the width are read from front to back, the fastest way through memory.
const STRIP: usize = 64;

/// Rows by which the prefetch is ahead.
const AHEAD: usize = 3;

/// The largest kernel.
const MOST: usize = 7;

/// Forward pass of one block of one image: first the maxima of the windows' rows, which windows above each
/// other share, then the maxima over these rows.
struct Forward<'a, T> {
    rows: Windows,
    columns: Windows,
    rectified: bool,
    from: &'a [T],
    to: &'a mut [T],
    indices: Option<&'a mut [u8]>,
}

impl<T: Value> Vectorised<T> for Forward<'_, T> {
    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        match self.indices {
            Some(_) => self.strips::<S, true>(simd),
            None => self.strips::<S, false>(simd),
        }
    }
}

impl<T: Value> Kernel<T> for Forward<'_, T> {
    fn scalar(self) {
        let Forward { rows, columns, rectified, from, to, indices } = self;
        reference::max_forward(rows, columns, rectified, from, to, indices);
    }
}

/// The maximum of one row of a window and its position in the row. It is uninitialised until computed:
/// clearing all of them for every small map would take as long as the maxima.
type RowMaximum<V> = MaybeUninit<(V, V)>;

impl<T: Value> Forward<'_, T> {
    #[inline(always)]
    fn strips<S: Simd, const WINNERS: bool>(mut self, simd: S) {
        let mut maxima: [[RowMaximum<S::Vector>; STRIP]; MOST] = [[MaybeUninit::uninit(); STRIP]; MOST];
        for start in (0..self.columns.count).step_by(STRIP) {
            let strip = start..(start + STRIP).min(self.columns.count);
            let mut next = 0;
            for y in 0..self.rows.count {
                let taps = self.rows.taps(y);
                let first = self.rows.input(y, taps.start);
                for row in next.max(first)..first + taps.len() {
                    self.row::<S, WINNERS>(simd, row, strip.clone(), &mut maxima[row % self.rows.kernel]);
                    next = row + 1;
                }
                // SAFETY: the rows of the window were computed just now or for the windows above, and have
                // not been overwritten, since each of a kernel's rows has a slot of its own.
                unsafe { self.windows::<S, WINNERS>(simd, y, strip.clone(), &maxima) };
            }
        }
    }

    /// Computes the maxima of an input row in the windows of a strip.
    #[inline(always)]
    fn row<S: Simd, const WINNERS: bool>(
        &self,
        simd: S,
        row: usize,
        strip: Range<usize>,
        maxima: &mut [RowMaximum<S::Vector>; STRIP],
    ) {
        let line = &self.from[row * self.columns.len * LANES..][..self.columns.len * LANES];
        let ahead = self.from.as_ptr().wrapping_add((row + AHEAD) * self.columns.len * LANES);
        for (x, maximum) in strip.zip(maxima) {
            let taps = self.columns.taps(x);
            let from = self.columns.input(x, taps.start) * LANES;
            for pixel in 0..self.columns.stride {
                simd.prefetch(ahead.wrapping_add(from + pixel * LANES));
            }
            let pixels = &line[from..][..taps.len() * LANES];
            // Most windows get a loop of known length.
            maximum.write(match taps.len() {
                3 => first_of::<S, T, WINNERS>(simd, pixels, taps.start, 3),
                len => first_of::<S, T, WINNERS>(simd, pixels, taps.start, len),
            });
        }
    }

    /// Computes the maxima of a row of windows of a strip.
    ///
    /// # Safety
    /// `maxima` must hold the maxima of the windows' rows, each in its slot.
    #[inline(always)]
    unsafe fn windows<S: Simd, const WINNERS: bool>(
        &mut self,
        simd: S,
        y: usize,
        strip: Range<usize>,
        maxima: &[[RowMaximum<S::Vector>; STRIP]; MOST],
    ) {
        let kernel = self.rows.kernel;
        let taps = self.rows.taps(y);
        let first = self.rows.input(y, taps.start);
        let start = (y * self.columns.count + strip.start) * LANES;
        let places = std::array::from_fn(|tap| (first + tap) % kernel);
        let indices = self.indices.as_mut().map(|indices| &mut indices[start..][..strip.len() * LANES]);
        let to = &mut self.to[start..][..strip.len() * LANES];
        let columns = Columns { maxima, places, taps: taps.clone(), kernel, rectified: self.rectified };
        // SAFETY: the caller's promise.
        unsafe {
            match taps.len() {
                3 => columns.write::<S, T, WINNERS>(simd, to, indices, 3),
                len => columns.write::<S, T, WINNERS>(simd, to, indices, len),
            }
        }
    }
}

/// The maximum of adjacent pixels and its position, counted from `position` on.
#[inline(always)]
fn first_of<S: Simd, T: Value, const WINNERS: bool>(
    simd: S,
    pixels: &[T],
    position: usize,
    len: usize,
) -> (S::Vector, S::Vector) {
    let (mut best, mut index) = (simd.read(pixels), simd.splat(POSITIONS[position]));
    let positions = &POSITIONS[position..][..len];
    for tap in 1..len {
        let value = simd.read(&pixels[tap * LANES..]);
        if WINNERS {
            index = simd.select_greater(value, best, simd.splat(positions[tap]), index);
        }
        best = simd.max(value, best);
    }
    (best, index)
}

/// The maxima of the rows of adjacent windows.
struct Columns<'a, V> {
    maxima: &'a [[RowMaximum<V>; STRIP]; MOST],
    /// Slot of each row's maxima.
    places: [usize; MOST],
    taps: Range<usize>,
    kernel: usize,
    rectified: bool,
}

impl<V> Columns<'_, V> {
    /// Writes the maxima of the windows and their positions.
    ///
    /// # Safety
    /// `maxima` must hold the maxima of as many windows as `to` has, in each slot that is named.
    #[inline(always)]
    unsafe fn write<S: Simd<Vector = V>, T: Value, const WINNERS: bool>(
        self,
        simd: S,
        to: &mut [T],
        mut indices: Option<&mut [u8]>,
        len: usize,
    ) where
        V: Copy,
    {
        let no_winner = simd.splat(POSITIONS[usize::from(NO_WINNER)]);
        let rows: [&[RowMaximum<V>; STRIP]; MOST] = self.places.map(|place| &self.maxima[place]);
        let positions = &POSITIONS[self.taps.start * self.kernel..];
        for (i, to) in to.chunks_exact_mut(LANES).enumerate() {
            // SAFETY: the caller's promise.
            let (mut best, index) = unsafe { rows[0][i].assume_init() };
            let mut index = simd.add(index, simd.splat(positions[0]));
            for tap in 1..len {
                // SAFETY: the caller's promise.
                let (value, position) = unsafe { rows[tap][i].assume_init() };
                if WINNERS {
                    let position = simd.add(position, simd.splat(positions[tap * self.kernel]));
                    index = simd.select_greater(value, best, position, index);
                }
                best = simd.max(value, best);
            }
            simd.write(to, best);
            if let Some(indices) = &mut indices {
                if self.rectified {
                    index = simd.select_greater(best, simd.zero(), index, no_winner);
                }
                simd.write_bytes(&mut indices[i * LANES..], index);
            }
        }
    }
}

/// Backward pass of one block of one image. Each input pixel collects from the windows that cover it, so that
/// it is written once.
struct Backward<'a, T> {
    winners: Winners<'a, T>,
    accumulate: bool,
    to: &'a mut [T],
}

impl<T: Value> Vectorised<T> for Backward<'_, T> {
    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let Backward { winners, accumulate, to } = self;
        let Winners { rows, columns, .. } = winners;
        for (iy, ys) in rows.covering().enumerate() {
            let line = &mut to[iy * columns.len * LANES..][..columns.len * LANES];
            for (pixel, (ix, xs)) in line.chunks_exact_mut(LANES).zip(columns.covering().enumerate()) {
                let sum = if accumulate { simd.read(pixel) } else { simd.zero() };
                let position = rows.tap(ys.start, iy) * rows.kernel + columns.tap(xs.start, ix);
                let first = Covering { place: (ys.start * columns.count + xs.start) * LANES, position };
                // 3x3 windows one or two pixels apart get loops of known length.
                let sum = match [ys.len(), xs.len()] {
                    [3, 3] => winners.collect(simd, sum, first, [3, 3]),
                    [2, 2] => winners.collect(simd, sum, first, [2, 2]),
                    [2, 1] => winners.collect(simd, sum, first, [2, 1]),
                    [1, 2] => winners.collect(simd, sum, first, [1, 2]),
                    [1, 1] => winners.collect(simd, sum, first, [1, 1]),
                    size => winners.collect(simd, sum, first, size),
                };
                simd.write(pixel, sum);
            }
        }
    }
}

impl<T: Value> Kernel<T> for Backward<'_, T> {
    fn scalar(self) {
        let Backward { winners: Winners { rows, columns, from, indices }, accumulate, to } = self;
        reference::max_backward(rows, columns, from, indices, accumulate, to);
    }
}

/// The gradients of a block's outputs, and the positions of the winners in their windows.
struct Winners<'a, T> {
    rows: Windows,
    columns: Windows,
    from: &'a [T],
    indices: &'a [u8],
}

/// The first of the windows that cover a pixel.
struct Covering {
    /// Index of the window's output.
    place: usize,
    /// The pixel's position in the window.
    position: usize,
}

impl<T: Value> Winners<'_, T> {
    /// Adds the gradients of the windows that a pixel has won, in `height` rows and `width` columns.
    #[inline(always)]
    fn collect<S: Simd>(
        &self,
        simd: S,
        mut sum: S::Vector,
        first: Covering,
        [height, width]: [usize; 2],
    ) -> S::Vector {
        let (from, indices) = (&self.from[first.place..], &self.indices[first.place..]);
        for y in 0..height {
            let start = y * self.columns.count * LANES;
            let gradients = from[start..][..width * LANES].chunks_exact(LANES);
            let (indices, _) = indices[start..][..width * LANES].as_chunks();
            // The next window starts a stride later, so the pixel lies a stride earlier in it.
            let mut position = first.position.wrapping_sub(y * self.rows.stride * self.rows.kernel);
            for (gradient, indices) in gradients.zip(indices) {
                let lanes = &LANES_OF_POSITIONS[position % 256];
                sum = simd.add_equal(indices, lanes, sum, simd.read(gradient));
                position = position.wrapping_sub(self.columns.stride);
            }
        }
        sum
    }
}
