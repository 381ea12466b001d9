//! Helpers for the tests of all kernels: instruction sets to run on, random values, comparison, guard zones.

pub(crate) mod shapes;

use crate::context::Context;
use crate::isa::Isa;
use crate::pool::Pool;
use crate::value::Value;

/// Every instruction set of this machine except the scalar reference, and the portable ones, which test the
/// register tiles of absent instruction sets.
pub(crate) fn vector_isas<T: Value>() -> Vec<Isa> {
    let mut isas: Vec<Isa> = Isa::available().into_iter().filter(|isa| *isa != Isa::scalar()).collect();
    isas.extend(Isa::portable());
    // Instructions for bf16 do not change kernels on floats.
    if T::GROUP > 1 {
        isas.extend(Isa::detect().all_with_bf16());
        isas.push(Isa::portable_amx());
    }
    isas
}

/// The scalar reference and all [`vector_isas`].
pub(crate) fn all_isas<T: Value>() -> Vec<Isa> {
    let mut isas = vec![Isa::scalar()];
    isas.extend(vector_isas::<T>());
    isas
}

/// A pool of one thread, which runs tasks inline.
pub(crate) fn one_thread() -> Pool {
    Pool::new(1).expect("one thread starts none")
}

/// A context of its parts.
pub(crate) fn context<'a>(isa: Isa, pool: &'a Pool, scratch: &'a mut [f32]) -> Context<'a> {
    Context { isa, pool, scratch }
}

/// The values rounded to `T`.
pub(crate) fn narrow<T: Value>(values: &[f32]) -> Vec<T> {
    values.iter().map(|value| T::narrow(*value)).collect()
}

/// The values widened to f32.
pub(crate) fn wide<T: Value>(values: &[T]) -> Vec<f32> {
    values.iter().map(|value| value.wide()).collect()
}

/// The relative difference to the reference that is allowed: `floats`, or one rounding step of bf16.
pub(crate) fn rounding<T: Value>(floats: f32) -> f32 {
    if T::GROUP == 1 { floats } else { 1.0 / 128.0 }
}

/// Pseudo-random values in -1 .. 1, made by an integer hash of seed and position.
pub(crate) fn random(len: usize, seed: u64) -> Vec<f32> {
    (0..len as u64)
        .map(|i| {
            let mut x = (seed << 32 ^ i).wrapping_add(0x9e37_79b9_7f4a_7c15);
            x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            (x >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// Panics unless each value is within `tolerance` of the expected one, relative to its magnitude or to
/// `floor` if that is larger; names the kernel, the worst position and both values.
#[track_caller]
pub(crate) fn assert_close(kernel: &str, found: &[f32], expected: &[f32], tolerance: f32, floor: f32) {
    assert_eq!(found.len(), expected.len(), "{kernel}: lengths differ");
    let mut worst = (0.0, 0);
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs() / expected.abs().max(floor);
        // The condition counts a NaN as the worst error.
        if error.is_nan() || error > worst.0 {
            worst = (error, index);
        }
        if error.is_nan() {
            break;
        }
    }
    let (error, index) = worst;
    assert!(
        error <= tolerance,
        "{kernel}: relative error {error:e} (allowed {tolerance:e}) at {index}: found {}, expected {}",
        found[index],
        expected[index]
    );
}

/// A slice between two guard zones that nobody may write.
pub(crate) struct Guarded<T = f32> {
    data: Vec<T>,
    len: usize,
}

impl<T: Value> Guarded<T> {
    const ZONE: usize = 64;
    const MARK: f32 = -123.5;

    /// A slice of `len` values, each `fill`, with guard zones before and behind.
    pub(crate) fn new(len: usize, fill: f32) -> Guarded<T> {
        let mut data = vec![T::narrow(Self::MARK); len + 2 * Self::ZONE];
        data[Self::ZONE..][..len].fill(T::narrow(fill));
        Guarded { data, len }
    }

    /// The values between the guard zones.
    pub(crate) fn values(&mut self) -> &mut [T] {
        &mut self.data[Self::ZONE..][..self.len]
    }

    /// Panics if a guard zone was written.
    #[track_caller]
    pub(crate) fn check(&self, kernel: &str) {
        let (before, rest) = self.data.split_at(Self::ZONE);
        let after = &rest[self.len..];
        let marked = |value: &T| value.wide() == Self::MARK;
        assert!(before.iter().all(marked), "{kernel} wrote in front of its output");
        assert!(after.iter().all(marked), "{kernel} wrote behind its output");
    }
}
