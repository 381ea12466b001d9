//! Elementwise operations: ReLU and its mask, sums, copies, magnitudes, and dot products.

use crate::disjoint::Disjoint;
use crate::map::LANES;
use crate::simd::{Kernel, Loop, Simd, Vectorised, dispatch};
use crate::{Isa, Pool};
use std::ops::Range;

/// Values of one task: few enough to spread a layer over all threads, many enough to make the cost of a task
/// negligible.
const CHUNK: usize = 1 << 15;

/// Sums that are added up side by side, in a pattern that is the same on every instruction set and wide
/// enough for any vector.
const SUMS: usize = 16;

/// Replaces negative values by zero; NaN stays NaN, so that divergence shows.
pub fn relu(isa: Isa, pool: &Pool, values: &mut [f32]) {
    let len = values.len();
    let values = Disjoint::new(values);
    in_chunks(pool, len, |chunk| {
        // SAFETY: chunks do not overlap.
        let values = unsafe { values.part(chunk.start, chunk.len()) };
        dispatch(isa, Relu { values });
    });
}

/// Computes the backward pass of ReLU in place: zeroes `gradient` wherever `output`, the output of the ReLU,
/// is not positive.
///
/// # Panics
/// If the slices differ in length.
pub fn relu_backward(isa: Isa, pool: &Pool, output: &[f32], gradient: &mut [f32]) {
    check_lengths("relu backward", output.len(), gradient.len());
    let gradients = Disjoint::new(gradient);
    in_chunks(pool, output.len(), |chunk| {
        // SAFETY: chunks do not overlap.
        let gradient = unsafe { gradients.part(chunk.start, chunk.len()) };
        dispatch(isa, Mask { output: &output[chunk], gradient });
    });
}

/// Copies `from` into `into` on all threads with stores that bypass the caches. It is meant for weights,
/// which exceed the caches and whose copy by one thread would not saturate the memory bandwidth.
///
/// # Panics
/// If the slices differ in length.
pub fn copy(isa: Isa, pool: &Pool, from: &[f32], into: &mut [f32]) {
    check_lengths("copy", from.len(), into.len());
    let copies = Disjoint::new(into);
    in_chunks(pool, from.len(), |chunk| {
        // SAFETY: chunks do not overlap.
        let into = unsafe { copies.part(chunk.start, chunk.len()) };
        dispatch(isa, Copy { from: &from[chunk], into });
    });
}

/// Adds each value of `from` to the value of `into` at the same index, on the threads of `pool`.
///
/// # Panics
/// If the slices differ in length.
pub fn add(isa: Isa, pool: &Pool, from: &[f32], into: &mut [f32]) {
    check_lengths("addition", from.len(), into.len());
    let sums = Disjoint::new(into);
    in_chunks(pool, from.len(), |chunk| {
        // SAFETY: chunks do not overlap.
        let into = unsafe { sums.part(chunk.start, chunk.len()) };
        dispatch(isa, Add { from: &from[chunk], into });
    });
}

/// Returns the largest absolute value of a slice: NaN if any value is NaN, else infinite if any is; 0 for an
/// empty slice.
pub fn largest_magnitude(isa: Isa, values: &[f32]) -> f32 {
    dispatch(isa, Largest { values })
}

/// Returns the sum of the squares of `values`, bit-identical on every instruction set; it does not overflow
/// where all values are finite.
pub fn sum_of_squares(isa: Isa, values: &[f32]) -> f64 {
    dispatch(isa, Dot { a: values, b: values })
}

/// Returns the dot product of two vectors, bit-identical on every instruction set; it does not overflow where
/// all values are finite.
///
/// # Panics
/// If the slices differ in length.
pub fn dot(isa: Isa, a: &[f32], b: &[f32]) -> f64 {
    check_lengths("dot product", a.len(), b.len());
    dispatch(isa, Dot { a, b })
}

/// Returns the bits of the absolute value. As integers they are ordered as the values are, with infinity
/// above all numbers and NaN above infinity; the compiler vectorises their maximum, unlike that of floats.
#[inline(always)]
pub(crate) fn magnitude_bits(value: f32) -> u32 {
    value.to_bits() & !(1 << 31)
}

fn check_lengths(what: &str, expected: usize, found: usize) {
    assert!(expected == found, "{what}: expected slices of one length, found {expected} and {found}");
}

fn in_chunks(pool: &Pool, len: usize, run: impl Fn(Range<usize>) + Sync) {
    pool.run(len.div_ceil(CHUNK), |task| run(task * CHUNK..len.min((task + 1) * CHUNK)));
}

struct Relu<'a> {
    values: &'a mut [f32],
}

impl Vectorised for Relu<'_> {
    // The loop is vectorised by hand: the compiler would store only the values that change, through masks,
    // which on many processors takes several times as long as storing all.
    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let (pieces, rest) = self.values.as_chunks_mut::<LANES>();
        for piece in pieces {
            let value = simd.read(piece);
            simd.write(piece, simd.max(simd.zero(), value));
        }
        Relu { values: rest }.scalar();
    }
}

impl Kernel for Relu<'_> {
    #[inline(always)]
    fn scalar(self) {
        for value in self.values {
            *value = if *value <= 0.0 { 0.0 } else { *value };
        }
    }
}

struct Mask<'a> {
    output: &'a [f32],
    gradient: &'a mut [f32],
}

impl Vectorised for Mask<'_> {
    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let (outputs, output) = self.output.as_chunks::<LANES>();
        let (gradients, gradient) = self.gradient.as_chunks_mut::<LANES>();
        for (output, gradient) in outputs.iter().zip(gradients) {
            let kept = simd.select_greater(simd.read(output), simd.zero(), simd.read(gradient), simd.zero());
            // The addition changes nothing, but hides from the compiler that some values stay as they are:
            // see `Relu`.
            simd.write(gradient, simd.add(kept, simd.zero()));
        }
        Mask { output, gradient }.scalar();
    }
}

impl Kernel for Mask<'_> {
    #[inline(always)]
    fn scalar(self) {
        for (gradient, &output) in self.gradient.iter_mut().zip(self.output) {
            *gradient = if output > 0.0 { *gradient } else { 0.0 };
        }
    }
}

struct Copy<'a> {
    from: &'a [f32],
    into: &'a mut [f32],
}

impl Vectorised for Copy<'_> {
    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let (vectors, rest) = self.from.as_chunks::<LANES>();
        let (into, into_rest) = self.into.as_chunks_mut::<LANES>();
        for (from, into) in vectors.iter().zip(into) {
            simd.stream(into, simd.read(from));
        }
        into_rest.copy_from_slice(rest);
        simd.fence();
    }
}

impl Kernel for Copy<'_> {
    fn scalar(self) {
        self.into.copy_from_slice(self.from);
    }
}

struct Add<'a> {
    from: &'a [f32],
    into: &'a mut [f32],
}

impl Loop for Add<'_> {
    #[inline(always)]
    fn run(self) {
        for (into, from) in self.into.iter_mut().zip(self.from) {
            *into += from;
        }
    }
}

struct Dot<'a> {
    a: &'a [f32],
    b: &'a [f32],
}

impl Loop<f64> for Dot<'_> {
    #[inline(always)]
    fn run(self) -> f64 {
        let mut sums = [0.0; SUMS];
        let ((a, a_rest), (b, b_rest)) = (self.a.as_chunks::<SUMS>(), self.b.as_chunks::<SUMS>());
        for (a, b) in a.iter().zip(b) {
            for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
                *sum += f64::from(a) * f64::from(b);
            }
        }
        let rest: f64 = a_rest.iter().zip(b_rest).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
        sums.iter().sum::<f64>() + rest
    }
}

struct Largest<'a> {
    values: &'a [f32],
}

impl Loop<f32> for Largest<'_> {
    #[inline(always)]
    fn run(self) -> f32 {
        f32::from_bits(self.values.iter().copied().map(magnitude_bits).fold(0, u32::max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Guarded, all_isas, random};
    use proptest::prelude::*;

    /// Values with zeros of both signs, NaN and infinities among them.
    fn odd_values(len: usize, seed: u64) -> Vec<f32> {
        let odd = [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE];
        let values = random(len, seed);
        let pick = |value: f32| (value.to_bits() % 17) as usize;
        values.into_iter().map(|value| odd.get(pick(value)).copied().unwrap_or(value)).collect()
    }

    /// Values up to `scale`.
    fn scaled(len: usize, seed: u32, scale: f32) -> Vec<f32> {
        random(len, seed.into()).into_iter().map(|value| value * scale).collect()
    }

    fn same(kernel: &str, found: &[f32], expected: impl Iterator<Item = f32>) {
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            let equal = *found == expected || found.is_nan() && expected.is_nan();
            assert!(equal, "{kernel} at {i}: found {found}, expected {expected}");
        }
    }

    fn lengths() -> impl Strategy<Value = usize> {
        prop_oneof![prop::sample::select(vec![0, 1, 15, 16, 17, 31, 32, 33, CHUNK, CHUNK + 1]), 0..600usize]
    }

    proptest! {
        #[test]
        fn values_are_those_of_the_definitions(len in lengths(), seed: u32, threads in 1..3usize) {
            let pool = Pool::new(threads).unwrap();
            let (a, b) = (odd_values(len, seed.into()), odd_values(len, !seed as u64));
            for isa in all_isas::<f32>() {
                let name = isa.name();
                let mut out = Guarded::<f32>::new(len, 0.0);
                out.values().copy_from_slice(&a);
                relu(isa, &pool, out.values());
                same(name, out.values(), a.iter().map(|&a| if a <= 0.0 { 0.0 } else { a }));

                out.values().copy_from_slice(&b);
                relu_backward(isa, &pool, &a, out.values());
                let masked = a.iter().zip(&b).map(|(&a, &b)| if a > 0.0 { b } else { 0.0 });
                same(name, out.values(), masked);

                out.values().copy_from_slice(&b);
                add(isa, &pool, &a, out.values());
                same(name, out.values(), a.iter().zip(&b).map(|(a, b)| a + b));
                copy(isa, &pool, &a, out.values());
                same(name, out.values(), a.iter().copied());
                out.check(name);

                // Gradients of every size, up to the largest finite number.
                for (scale, values) in [1e-30, 1.0, 1e18, f32::MAX].map(|scale| (scale, scaled(len, seed, scale))) {
                    let squares: f64 = values.iter().map(|&value| f64::from(value).powi(2)).sum();
                    let largest = values.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
                    prop_assert_eq!(largest_magnitude(isa, &values), largest, "{}, up to {}", name, scale);
                    let found = sum_of_squares(isa, &values);
                    let distance = (found - squares).abs();
                    prop_assert!(distance <= 1e-12 * squares, "{}: {}, expected {}", name, found, squares);
                    let scalar = sum_of_squares(Isa::scalar(), &values);
                    prop_assert_eq!(found.to_bits(), scalar.to_bits(), "{}", name);
                }
                let (one, other) = (scaled(len, seed, f32::MAX), scaled(len, !seed, 1.0));
                let products: Vec<f64> =
                    one.iter().zip(&other).map(|(&a, &b)| f64::from(a) * f64::from(b)).collect();
                let (found, largest) = (dot(isa, &one, &other), products.iter().map(|p| p.abs()).sum::<f64>());
                let distance = (found - products.iter().sum::<f64>()).abs();
                prop_assert!(distance <= 1e-12 * largest, "{}: {}", name, found);
                prop_assert_eq!(found.to_bits(), dot(Isa::scalar(), &one, &other).to_bits(), "{}", name);
                let found = largest_magnitude(isa, &a);
                prop_assert_eq!(found.is_finite(), a.iter().all(|a| a.is_finite()), "{}", name);
                prop_assert_eq!(found.is_nan(), a.iter().any(|a| a.is_nan()), "{}", name);
            }
        }
    }

    #[test]
    fn one_large_or_bad_value_anywhere_is_found() {
        for isa in all_isas::<f32>() {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -3e38] {
                for place in [0, 15, 16, 255, 256, 299] {
                    let mut values = vec![1e30; 300];
                    values[place] = bad;
                    let found = largest_magnitude(isa, &values);
                    let name = isa.name();
                    assert_eq!(found.to_bits(), bad.abs().to_bits(), "{bad} at {place}, {name}: {found}");
                }
            }
            assert_eq!((largest_magnitude(isa, &[]), sum_of_squares(isa, &[])), (0.0, 0.0));
            assert_eq!(largest_magnitude(isa, &[-0.0; 17]).to_bits(), 0, "{}", isa.name());
        }
    }
}
