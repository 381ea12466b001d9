//! The fastest that the machine can multiply and add: what the kernels are measured against.

use crate::isa::Isa;
use crate::pool::Pool;
use crate::simd::{Kernel, Simd, dispatch};
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
    fn every_instruction_set_has_a_peak() {
        let pool = Pool::new(1).unwrap();
        for isa in Isa::available() {
            let peak = fma_peak(isa, &pool);
            assert!(peak.is_finite() && peak > 0.01, "{}: {peak} GFLOP/s", isa.name());
        }
    }
}
