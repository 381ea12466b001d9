//! The transforms of minimal filtering on six points: 0, 1, -1, 2, -2 and infinity.
//!
//! A tile of `M` outputs of a kernel with `R = 7 - M` taps is evaluated from six inputs with six multiplications
//! (Winograd 1980; Lavin & Gray 2016 for convolutional networks): outputs `= A' ((G w) * (B' x))`. `B` is the
//! same for every `M`. The weight gradient transposes the algorithm: `G' ((A y) * (B' x))`. In two dimensions each is
//! applied to the columns and then to the rows.

use crate::simd::Simd;

/// Points of one dimension, which is also the side of an input tile.
pub(super) const SIDE: usize = 6;

/// Points of a tile: the products that it takes.
pub(super) const POINTS: usize = SIDE * SIDE;

/// A transform in one dimension, from `FROM` values to `TO`.
pub(super) trait Line<const FROM: usize, const TO: usize> {
    /// Applies it to each lane; implementations must be `#[inline(always)]`.
    fn apply<S: Simd>(simd: S, from: [S::Vector; FROM]) -> [S::Vector; TO];
}

/// `B'`: an input tile.
pub(super) struct Input;

impl Line<SIDE, SIDE> for Input {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, x: [S::Vector; SIDE]) -> [S::Vector; SIDE] {
        let [minus_five, minus_four, two, four] = [-5.0, -4.0, 2.0, 4.0].map(|value| simd.splat(value));
        let minus = simd.splat(-1.0);
        let even = simd.mul_add(minus_four, x[2], x[4]);
        let odd = simd.mul_add(minus_four, x[1], x[3]);
        let even_2 = simd.mul_add(minus, x[2], x[4]);
        let odd_2 = simd.mul(two, simd.mul_add(minus, x[1], x[3]));
        [
            simd.mul_add(four, x[0], simd.mul_add(minus_five, x[2], x[4])),
            simd.add(even, odd),
            simd.mul_add(minus, odd, even),
            simd.add(even_2, odd_2),
            simd.mul_add(minus, odd_2, even_2),
            simd.mul_add(four, x[1], simd.mul_add(minus_five, x[3], x[5])),
        ]
    }
}

/// `A'`: products to a tile of `M` outputs.
pub(super) struct Output;

impl<const M: usize> Line<SIDE, M> for Output {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, x: [S::Vector; SIDE]) -> [S::Vector; M] {
        let minus = simd.splat(-1.0);
        let [even, even_2] = [simd.add(x[1], x[2]), simd.add(x[3], x[4])];
        let [odd, odd_2] = [simd.mul_add(minus, x[2], x[1]), simd.mul_add(minus, x[4], x[3])];
        let mut y = [simd.zero(); M];
        for (i, y) in y.iter_mut().enumerate() {
            let (one, two) = if i % 2 == 0 { (even, even_2) } else { (odd, odd_2) };
            *y = simd.mul_add(simd.splat((1 << i) as f32), two, one);
        }
        y[0] = simd.add(x[0], y[0]);
        y[M - 1] = simd.add(x[5], y[M - 1]);
        y
    }
}

/// `A`: a tile of `M` output gradients.
pub(super) struct OutputGradient;

impl<const M: usize> Line<M, SIDE> for OutputGradient {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, y: [S::Vector; M]) -> [S::Vector; SIDE] {
        let [even, odd, even_2, odd_2] = powers(simd, y);
        let minus = simd.splat(-1.0);
        [
            y[0],
            simd.add(even, odd),
            simd.mul_add(minus, odd, even),
            simd.add(even_2, odd_2),
            simd.mul_add(minus, odd_2, even_2),
            y[M - 1],
        ]
    }
}

/// `G`: the weights of `R` taps.
pub(super) struct Weights;

impl<const R: usize> Line<R, SIDE> for Weights {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, w: [S::Vector; R]) -> [S::Vector; SIDE] {
        let [even, odd, even_2, odd_2] = powers(simd, w);
        let [minus, fourth, minus_sixth, last] =
            [-1.0, 1.0 / 4.0, -1.0 / 6.0, 1.0 / 24.0].map(|value| simd.splat(value));
        [
            simd.mul(fourth, w[0]),
            simd.mul(minus_sixth, simd.add(even, odd)),
            simd.mul(minus_sixth, simd.mul_add(minus, odd, even)),
            simd.mul(last, simd.add(even_2, odd_2)),
            simd.mul(last, simd.mul_add(minus, odd_2, even_2)),
            w[R - 1],
        ]
    }
}

/// `G'`: products to the gradient by `R` taps.
pub(super) struct WeightGradient;

impl<const R: usize> Line<SIDE, R> for WeightGradient {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, x: [S::Vector; SIDE]) -> [S::Vector; R] {
        let [minus, fourth, minus_sixth, last] =
            [-1.0, 1.0 / 4.0, -1.0 / 6.0, 1.0 / 24.0].map(|value| simd.splat(value));
        let even = simd.mul(minus_sixth, simd.add(x[1], x[2]));
        let odd = simd.mul(minus_sixth, simd.mul_add(minus, x[2], x[1]));
        let even_2 = simd.mul(last, simd.add(x[3], x[4]));
        let odd_2 = simd.mul(last, simd.mul_add(minus, x[4], x[3]));
        let mut w = [simd.zero(); R];
        for (i, w) in w.iter_mut().enumerate() {
            let (one, two) = if i % 2 == 0 { (even, even_2) } else { (odd, odd_2) };
            *w = simd.mul_add(simd.splat((1 << i) as f32), two, one);
        }
        w[0] = simd.mul_add(fourth, x[0], w[0]);
        w[R - 1] = simd.add(x[5], w[R - 1]);
        w
    }
}

/// A polynomial's even and odd terms at 1, then at 2.
#[inline(always)]
fn powers<S: Simd, const N: usize>(simd: S, x: [S::Vector; N]) -> [S::Vector; 4] {
    let two = simd.splat(2.0);
    let [mut even, mut odd] = [x[0], x[1]];
    let [mut even_2, mut odd_2] = [x[0], simd.mul(two, x[1])];
    for (i, x) in x.iter().enumerate().skip(2) {
        let power = simd.splat((1 << i) as f32);
        let (one, two) = if i % 2 == 0 { (&mut even, &mut even_2) } else { (&mut odd, &mut odd_2) };
        *one = simd.add(*one, *x);
        *two = simd.mul_add(power, *x, *two);
    }
    [even, odd, even_2, odd_2]
}

/// Applies a transform to the columns and the rows of a square: `read(y, x)`, `write(y, x, value)`.
#[inline(always)]
pub(super) fn square<S: Simd, L: Line<FROM, TO>, const FROM: usize, const TO: usize>(
    simd: S,
    read: impl Fn(usize, usize) -> S::Vector,
    mut write: impl FnMut(usize, usize, S::Vector),
) {
    let mut rows = [[simd.zero(); FROM]; TO];
    for x in 0..FROM {
        let mut column = [simd.zero(); FROM];
        for (y, value) in column.iter_mut().enumerate() {
            *value = read(y, x);
        }
        for (row, value) in rows.iter_mut().zip(L::apply(simd, column)) {
            row[x] = value;
        }
    }
    for (y, row) in rows.into_iter().enumerate() {
        for (x, value) in L::apply(simd, row).into_iter().enumerate() {
            write(y, x, value);
        }
    }
}
