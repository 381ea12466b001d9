//! The transforms of Winograd's algorithm on the points 0, infinity, 1, -1, 2, -2, 1/2 and -1/2.
//!
//! A tile of `M` outputs of a kernel with `R` taps is computed from `K = M + R - 1` inputs with as many
//! multiplications (Winograd 1980; Lavin & Gray 2016 for convolutional networks): outputs `= A' ((G w) * (B'
//! x))`. The weight gradient is the transposed algorithm, `G' ((A y) * (B' x))`. In two dimensions each
//! transform is applied to the columns and then to the rows.
//!
//! Kernels are transformed to `N` points. A tile at the edge of a map may have fewer outputs and then uses
//! the first `K` points only: the values of a polynomial at a point do not depend on the other points, apart
//! from a factor for which `B'` compensates.

use crate::simd::Simd;
use std::ops::Range;

/// The most points in one dimension.
pub(super) const MOST: usize = 8;

/// The points besides 0 and infinity are these numbers and their negatives.
const PAIRS: [f32; MOST / 2 - 1] = [1.0, 2.0, 0.5];

/// Number of pairs among so many points.
const fn pairs(points: usize) -> usize {
    points / 2 - 1
}

/// Index of the point 1.
pub(super) const ONE: usize = 2;

/// Coefficients, from the constant on, of the product of `z - q * q` over all pairs of `points` except one.
const fn product(points: usize, without: usize) -> [f32; MOST / 2] {
    let mut result = [0.0; MOST / 2];
    result[0] = 1.0;
    let mut pair = 0;
    while pair < pairs(points) {
        if pair != without {
            let square = PAIRS[pair] * PAIRS[pair];
            let mut i = result.len() - 1;
            while i > 0 {
                result[i] = result[i - 1] - square * result[i];
                i -= 1;
            }
            result[0] *= -square;
        }
        pair += 1;
    }
    result
}

/// Index past the last pair, which stands for no pair.
const NONE: usize = PAIRS.len();

/// Value of a polynomial at `z`.
const fn value(coefficients: [f32; MOST / 2], z: f32) -> f32 {
    let mut result = 0.0;
    let mut i = coefficients.len();
    while i > 0 {
        i -= 1;
        result = result * z + coefficients[i];
    }
    result
}

/// Factors by which `G` multiplies the value of the weights at a point, for 0 and for each pair: the inverse
/// product of the point's distances to all other points.
const fn scales(points: usize) -> (f32, [f32; PAIRS.len()]) {
    let mut scales = [0.0; PAIRS.len()];
    let mut pair = 0;
    while pair < pairs(points) {
        let square = PAIRS[pair] * PAIRS[pair];
        scales[pair] = 1.0 / (2.0 * square * value(product(points, pair), square));
        pair += 1;
    }
    (1.0 / product(points, NONE)[0], scales)
}

/// Powers of the pairs: to the power of 0, 1, ...
const POWERS: [[f32; MOST]; PAIRS.len()] = {
    let mut powers = [[1.0; MOST]; PAIRS.len()];
    let mut pair = 0;
    while pair < PAIRS.len() {
        let mut i = 1;
        while i < MOST {
            powers[pair][i] = PAIRS[pair] * powers[pair][i - 1];
            i += 1;
        }
        pair += 1;
    }
    powers
};

/// One vector for each point.
pub(super) type Vectors<S> = [<S as Simd>::Vector; MOST];

/// A transform in one dimension.
pub(super) trait Line {
    /// Number of values that the transform takes, and that it makes.
    const FROM: usize;
    const TO: usize;

    /// Applies the transform to each lane; implementations must be `#[inline(always)]`. Values past the last
    /// are neither read nor meaningful.
    fn apply<S: Simd>(simd: S, from: Vectors<S>) -> Vectors<S>;
}

/// `B'`: transforms the inputs of a tile to its `K` points, for kernels on `N` points.
pub(super) struct Input<const K: usize, const N: usize>;

impl<const K: usize, const N: usize> Line for Input<K, N> {
    const FROM: usize = K;
    const TO: usize = K;

    #[inline(always)]
    fn apply<S: Simd>(simd: S, x: Vectors<S>) -> Vectors<S> {
        let (own, all) = const { (scales(K), scales(N)) };
        let (whole, others) = const { (product(K, NONE), [product(K, 0), product(K, 1), product(K, 2)]) };
        let mut result = [simd.zero(); MOST];
        let even = polynomial(simd, &whole, pairs(K), &x, 0);
        result[0] = scaled(simd, own.0 / all.0, even);
        result[1] = polynomial(simd, &whole, pairs(K), &x, 1);
        for pair in 0..pairs(K) {
            let factor = own.1[pair] / all.1[pair];
            let even = scaled(simd, factor, polynomial(simd, &others[pair], pairs(K) - 1, &x, 2));
            let odd = polynomial(simd, &others[pair], pairs(K) - 1, &x, 1);
            let point = factor * PAIRS[pair];
            result[2 + 2 * pair] = simd.mul_add(simd.splat(point), odd, even);
            result[3 + 2 * pair] = simd.mul_add(simd.splat(-point), odd, even);
        }
        result
    }
}

/// Sum of `coefficients[i] * x[first + 2 * i]`; the last coefficient, at `degree`, is one.
#[inline(always)]
fn polynomial<S: Simd>(
    simd: S,
    coefficients: &[f32],
    degree: usize,
    x: &Vectors<S>,
    first: usize,
) -> S::Vector {
    let mut sum = x[first + 2 * degree];
    for i in 0..degree {
        let i = degree - 1 - i;
        sum = simd.mul_add(simd.splat(coefficients[i]), x[first + 2 * i], sum);
    }
    sum
}

#[inline(always)]
fn scaled<S: Simd>(simd: S, factor: f32, value: S::Vector) -> S::Vector {
    if factor == 1.0 { value } else { simd.mul(simd.splat(factor), value) }
}

/// `A'`: transforms the products at `K` points to the outputs of a tile.
pub(super) struct Output<const K: usize, const R: usize>;

impl<const K: usize, const R: usize> Line for Output<K, R> {
    const FROM: usize = K;
    const TO: usize = K + 1 - R;

    #[inline(always)]
    fn apply<S: Simd>(simd: S, x: Vectors<S>) -> Vectors<S> {
        let mut y = moments::<S, K>(simd, &x, Self::TO);
        y[0] = simd.add(x[0], y[0]);
        y[Self::TO - 1] = simd.add(x[1], y[Self::TO - 1]);
        y
    }
}

/// `A`: transforms the output gradients of a tile to its `K` points.
pub(super) struct OutputGradient<const K: usize, const R: usize>;

impl<const K: usize, const R: usize> Line for OutputGradient<K, R> {
    const FROM: usize = K + 1 - R;
    const TO: usize = K;

    #[inline(always)]
    fn apply<S: Simd>(simd: S, y: Vectors<S>) -> Vectors<S> {
        let mut result = values::<S, K>(simd, &y, Self::FROM);
        result[0] = y[0];
        result[1] = y[Self::FROM - 1];
        result
    }
}

/// `G`: transforms the weights of `R` taps to all `N` points.
pub(super) struct Weights<const N: usize, const R: usize>;

impl<const N: usize, const R: usize> Line for Weights<N, R> {
    const FROM: usize = R;
    const TO: usize = N;

    #[inline(always)]
    fn apply<S: Simd>(simd: S, w: Vectors<S>) -> Vectors<S> {
        let (zero, scales) = const { scales(N) };
        let mut result = values::<S, N>(simd, &w, R);
        result[0] = scaled(simd, zero, w[0]);
        result[1] = w[R - 1];
        for pair in 0..pairs(N) {
            for value in &mut result[2 + 2 * pair..][..2] {
                *value = scaled(simd, scales[pair], *value);
            }
        }
        result
    }
}

/// `G'`: transforms the products at all `N` points to the gradient of `R` taps.
pub(super) struct WeightGradient<const N: usize, const R: usize>;

impl<const N: usize, const R: usize> Line for WeightGradient<N, R> {
    const FROM: usize = N;
    const TO: usize = R;

    #[inline(always)]
    fn apply<S: Simd>(simd: S, mut x: Vectors<S>) -> Vectors<S> {
        let (zero, scales) = const { scales(N) };
        for pair in 0..pairs(N) {
            for value in &mut x[2 + 2 * pair..][..2] {
                *value = scaled(simd, scales[pair], *value);
            }
        }
        let mut w = moments::<S, N>(simd, &x, R);
        w[0] = simd.mul_add(simd.splat(zero), x[0], w[0]);
        w[R - 1] = simd.add(x[1], w[R - 1]);
        w
    }
}

/// Values of the polynomial of the first `count` coefficients at the pairs among `K` points.
#[inline(always)]
fn values<S: Simd, const K: usize>(simd: S, coefficients: &Vectors<S>, count: usize) -> Vectors<S> {
    let mut result = [simd.zero(); MOST];
    for pair in 0..pairs(K) {
        let mut even = coefficients[0];
        let mut odd = scaled(simd, PAIRS[pair], coefficients[1]);
        for i in 2..count {
            let sum = if i % 2 == 0 { &mut even } else { &mut odd };
            *sum = simd.mul_add(simd.splat(POWERS[pair][i]), coefficients[i], *sum);
        }
        result[2 + 2 * pair] = simd.add(even, odd);
        result[3 + 2 * pair] = simd.mul_add(simd.splat(-1.0), odd, even);
    }
    result
}

/// The first `count` moments of the pairs among `K` points: the sums of `x` times the points to the power of
/// 0, 1, ...
#[inline(always)]
fn moments<S: Simd, const K: usize>(simd: S, x: &Vectors<S>, count: usize) -> Vectors<S> {
    let mut result = [simd.zero(); MOST];
    for pair in 0..pairs(K) {
        let [plus, minus] = [x[2 + 2 * pair], x[3 + 2 * pair]];
        let sums = [simd.add(plus, minus), simd.mul_add(simd.splat(-1.0), minus, plus)];
        for i in 0..count {
            result[i] = match pair {
                0 => sums[i % 2],
                _ => simd.mul_add(simd.splat(POWERS[pair][i]), sums[i % 2], result[i]),
            };
        }
    }
    result
}

/// Intermediate values between the two dimensions of a transform, by rows.
pub(super) type Between<S> = [Vectors<S>; MOST];

/// Applies a transform to `width` columns, read by `read(y, x)`; columns that are not `present` are zero.
#[inline(always)]
pub(super) fn columns<S: Simd, L: Line>(
    simd: S,
    width: usize,
    present: Range<usize>,
    read: impl Fn(usize, usize) -> S::Vector,
    between: &mut Between<S>,
) {
    for x in (0..present.start).chain(present.end..width) {
        for row in &mut between[..L::TO] {
            row[x] = simd.zero();
        }
    }
    for x in present {
        let mut column = [simd.zero(); MOST];
        for (y, value) in column.iter_mut().enumerate().take(L::FROM) {
            *value = read(y, x);
        }
        let column = L::apply(simd, column);
        for (row, value) in between.iter_mut().zip(&column).take(L::TO) {
            row[x] = *value;
        }
    }
}

/// Applies a transform to the first `height` rows, written by `write(y, x, value)`.
#[inline(always)]
pub(super) fn rows<S: Simd, L: Line>(
    simd: S,
    height: usize,
    between: &Between<S>,
    mut write: impl FnMut(usize, usize, S::Vector),
) {
    for (y, row) in between.iter().enumerate().take(height) {
        let mut from = [simd.zero(); MOST];
        for (to, value) in from.iter_mut().zip(row).take(L::FROM) {
            *to = *value;
        }
        for (x, value) in L::apply(simd, from).iter().enumerate().take(L::TO) {
            write(y, x, *value);
        }
    }
}
