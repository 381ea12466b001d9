//! The fastest that the machine can multiply and add, and the plainest loop over memory: what the kernels are measured
//! against.

use crate::isa::Isa;
use crate::pool::Pool;
use crate::simd::{Kernel, Loop, Simd, dispatch};
use std::hint::black_box;
use std::time::Instant;

/// Independent sums: enough to hide the latency of two 256-bit or one 512-bit unit, few enough for 16 registers.
const CHAINS: usize = 6;
const STEPS: usize = 1 << 20;
const REPEATS: usize = 9;

/// Floating-point operations (a multiply-add is two) per second and thousand millions, all threads of `pool` together,
/// on registers alone; the best of several short runs.
///
/// The scalar loops are counted as the compiler makes them, without fused operations.
pub fn fma_peak(isa: Isa, pool: &Pool) -> f64 {
    let run = || {
        let start = Instant::now();
        pool.run(pool.threads(), |_| dispatch(isa, Chains));
        let operations = pool.threads() * STEPS * CHAINS * 16 * 2;
        operations as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    (0..REPEATS).map(|_| run()).fold(0.0, f64::max)
}

/// `a = b + factor * c`, the triad of McCalpin's STREAM: two arrays read and one written, 12 bytes for each value.
pub fn triad(isa: Isa, factor: f32, b: &[f32], c: &[f32], a: &mut [f32]) {
    let lengths = [b.len(), c.len()];
    assert!(lengths == [a.len(); 2], "triad: expected slices of {} values, found {lengths:?}", a.len());
    dispatch(isa, Triad { factor, b, c, a });
}

struct Triad<'a> {
    factor: f32,
    b: &'a [f32],
    c: &'a [f32],
    a: &'a mut [f32],
}

impl Loop for Triad<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for ((a, b), c) in self.a.iter_mut().zip(self.b).zip(self.c) {
            *a = b + self.factor * c;
        }
    }
}

struct Chains;

impl Kernel for Chains {
    type Output = ();

    fn scalar(self) {
        let (factor, term) = black_box((1.000_001f32, 1e-6f32));
        let mut sums = [[0.0f32; 16]; CHAINS];
        for _ in 0..STEPS {
            for value in sums.iter_mut().flatten() {
                *value = *value * factor + term;
            }
        }
        black_box(sums);
    }

    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let (factor, term) = black_box((1.000_001, 1e-6));
        let (factor, term) = (simd.splat(factor), simd.splat(term));
        let mut sums = [simd.zero(); CHAINS];
        for _ in 0..STEPS {
            for value in &mut sums {
                *value = simd.mul_add(*value, factor, term);
            }
        }
        for value in sums {
            black_box(simd.sum(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_triad_is_its_formula() {
        for isa in Isa::available() {
            let mut a = [0.0; 37];
            triad(isa, 0.5, &[3.0; 37], &[4.0; 37], &mut a);
            assert!(a == [5.0; 37], "{}: {a:?}", isa.name());
        }
    }

    #[test]
    fn every_instruction_set_has_a_peak() {
        let pool = Pool::new(1).unwrap();
        for isa in Isa::available() {
            let peak = fma_peak(isa, &pool);
            assert!(peak.is_finite() && peak > 0.01, "{}: {peak} GFLOP/s", isa.name());
        }
    }
}
