//! Peaks of the machine that the kernels are measured against: multiply-adds, memory bandwidth, and the
//! latency between cores.

use crate::buffer::Buffer;
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::pool::Pool;
use crate::simd::amx::{Amx, DEPTH, Operands, SUMS, TILE_VALUES};
use crate::simd::{Kernel, Loop, Simd, Vectorised, dispatch};
use crate::value::Value;
use half::bf16;
use std::hint::{black_box, spin_loop};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::yield_now;
use std::time::Instant;

/// Independent sums, for 32 registers of 16 floats and for 16 registers of 8 floats (two to a sum): enough to
/// hide the latency of two FMA units.
const CHAINS: [usize; 2] = [12, 6];
const STEPS: usize = 1 << 19;
/// Number of runs. Together they take long enough for the system to spread threads that it woke on one
/// processor.
const REPEATS: usize = 60;

/// Peak rate in GFLOP/s of multiply-adds of `T` on registers (each counts as two operations), on all threads
/// of `pool` together: the best of several short runs.
///
/// The scalar loops are measured as the compiler makes them, on floats and without fused multiply-adds.
pub fn fma_peak<T: Value>(isa: Isa, pool: &Pool) -> f64 {
    (T::entries().fma_peak)(isa, pool)
}

pub(crate) fn measure_fma_peak<T: Value>(isa: Isa, pool: &Pool) -> f64 {
    if let Some(amx) = isa.amx::<T>() {
        return amx_peak(amx, pool);
    }
    let group = if isa == Isa::scalar() { 1 } else { T::GROUP };
    let run = || {
        let start = Instant::now();
        pool.run(pool.threads(), |_| dispatch(isa, Chains::<T>(PhantomData)));
        let operations = pool.threads() * STEPS * chains_of(isa) * 16 * 2 * group;
        operations as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    (0..REPEATS).map(|_| run()).fold(0.0, f64::max)
}

/// Peak of the AMX tiles in GFLOP/s, with operands in the first-level cache.
fn amx_peak(amx: Amx, pool: &Pool) -> f64 {
    const CALLS: usize = 400;
    let offsets = [0; 256];
    let run = || {
        let start = Instant::now();
        pool.run(pool.threads(), |_| {
            // Each thread has whole cache lines of its own.
            let (mut tiles, mut sums) = (Buffer::zeroed(2 * TILE_VALUES), [0.0; 2 * SUMS]);
            let tiles = bf16::of_mut(&mut tiles);
            tiles.fill(bf16::ONE);
            let (a, b) = tiles.split_at(2 * TILE_VALUES);
            let (a, b) = (a.as_ptr(), b.as_ptr());
            let operands =
                Operands { a, a_row: DEPTH, a_tile: TILE_VALUES, b, b_tile: TILE_VALUES, b_step: 0 };
            let tiles = amx.configure();
            for _ in 0..CALLS {
                // SAFETY: every step has the same four tiles.
                unsafe { tiles.multiply(2, operands, &offsets, &mut sums, true) };
            }
            black_box(sums);
        });
        let operations = pool.threads() * CALLS * offsets.len() * 2 * SUMS * DEPTH * 2;
        operations as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    (0..REPEATS).map(|_| run()).fold(0.0, f64::max)
}

/// Round-trip time in nanoseconds of a cache line from one thread of `pool` to another and back, the best of
/// several runs; `None` if the pool has one thread. Two threads on one core take about 30, two cores 60 to
/// 350.
pub fn round_trip(pool: &Pool) -> Option<f64> {
    const ROUNDS: usize = 10_000;
    if pool.threads() < 2 {
        return None;
    }
    let run = || {
        let turn = AtomicUsize::new(0);
        let start = Instant::now();
        pool.run(2, |side| {
            for round in 0..ROUNDS {
                let mut waited = 0;
                while turn.load(Ordering::Acquire) != 2 * round + side {
                    // The other thread may be waiting for this processor.
                    if waited < 1000 {
                        spin_loop()
                    } else {
                        yield_now()
                    }
                    waited += 1;
                }
                turn.store(2 * round + side + 1, Ordering::Release);
            }
        });
        start.elapsed().as_secs_f64() * 1e9 / ROUNDS as f64
    };
    Some((0..9).map(|_| run()).fold(f64::INFINITY, f64::min))
}

/// Computes `a = b + factor * c`, the triad of McCalpin's STREAM, a benchmark of memory bandwidth: two arrays
/// read and one written, 12 bytes for each value.
///
/// # Panics
/// If the slices differ in length.
pub fn triad(isa: Isa, factor: f32, b: &[f32], c: &[f32], a: &mut [f32]) {
    let lengths = [b.len(), c.len()];
    assert!(lengths == [a.len(); 2], "triad: expected slices of {} values, found {lengths:?}", a.len());
    dispatch(isa, Triad { factor, b, c, a });
}

/// Measures the memory bandwidth of [`triad`] in GB/s (10^9 bytes a second), on all threads of `pool`
/// together over arrays larger than most caches; the best of several runs.
pub fn triad_rate(isa: Isa, pool: &Pool) -> f64 {
    const VALUES: usize = 16 << 20;
    const PIECE: usize = 1 << 18;
    let (b, c, mut a) = (Buffer::zeroed(VALUES), Buffer::zeroed(VALUES), Buffer::zeroed(VALUES));
    let run = || {
        let start = Instant::now();
        let to = Disjoint::new(&mut a);
        pool.run(VALUES / PIECE, |piece| {
            let place = piece * PIECE..(piece + 1) * PIECE;
            // SAFETY: pieces do not overlap.
            let to = unsafe { to.part(place.start, PIECE) };
            triad(isa, 0.5, &b[place.clone()], &c[place], to);
        });
        (12 * VALUES) as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    std::iter::repeat_with(run).take(5).fold(0.0, f64::max)
}

struct Triad<'a> {
    factor: f32,
    b: &'a [f32],
    c: &'a [f32],
    a: &'a mut [f32],
}

impl Loop for Triad<'_> {
    #[inline(always)]
    fn run(self) {
        for ((a, b), c) in self.a.iter_mut().zip(self.b).zip(self.c) {
            *a = b + self.factor * c;
        }
    }
}

struct Chains<T>(PhantomData<T>);

/// Number of sums that [`Chains`] runs in parallel.
fn chains_of(isa: Isa) -> usize {
    struct Count;
    impl Vectorised<f32, usize> for Count {
        #[inline(always)]
        fn vectors<S: Simd>(self, _: S) -> usize {
            CHAINS[usize::from(S::PANEL == 1)]
        }
    }

    impl Kernel<f32, usize> for Count {
        fn scalar(self) -> usize {
            CHAINS[1]
        }
    }
    dispatch(isa, Count)
}

impl<T: Value> Vectorised<T> for Chains<T> {
    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        if const { S::PANEL == 1 } {
            run::<S, T, { CHAINS[1] }>(simd)
        } else {
            run::<S, T, { CHAINS[0] }>(simd)
        }
    }
}

impl<T: Value> Kernel<T> for Chains<T> {
    fn scalar(self) {
        let (factor, term) = black_box((1.000_001f32, 1e-6f32));
        let mut sums = [[0.0f32; 16]; CHAINS[1]];
        for _ in 0..STEPS {
            for value in sums.iter_mut().flatten() {
                *value = *value * factor + term;
            }
        }
        black_box(sums);
    }
}

#[inline(always)]
fn run<S: Simd, T: Value, const N: usize>(simd: S) {
    let (factor, other) = black_box((1e-3, 1e-6));
    let (factor, other) = (simd.splat(factor), simd.splat(other));
    let mut sums = [simd.zero(); N];
    for _ in 0..STEPS {
        for value in &mut sums {
            *value = T::multiply(simd, factor, other, *value);
        }
    }
    for value in sums {
        black_box(simd.sum(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    #[test]
    fn the_triad_is_its_formula() {
        for isa in Isa::available() {
            let mut a = [0.0; 37];
            triad(isa, 0.5, &[3.0; 37], &[4.0; 37], &mut a);
            assert!(a == [5.0; 37], "{}: {a:?}", isa.name());
        }
    }

    #[test]
    fn memory_has_a_rate() {
        let rate = triad_rate(Isa::detect(), &Pool::new(1).unwrap());
        assert!(rate.is_finite() && rate > 0.01, "{rate} GB/s");
    }

    #[test]
    fn a_round_trip_takes_two_threads() {
        assert_eq!(round_trip(&Pool::new(1).unwrap()), None);
        let found = round_trip(&Pool::new(2).unwrap()).unwrap();
        assert!(found.is_finite() && found > 0.0, "{found} ns");
    }

    #[test]
    fn every_instruction_set_has_a_peak() {
        let pool = Pool::new(1).unwrap();
        for isa in Isa::available() {
            for peak in [fma_peak::<f32>(isa, &pool), fma_peak::<bf16>(isa.with_bf16(), &pool)] {
                assert!(peak.is_finite() && peak > 0.01, "{}: {peak} GFLOP/s", isa.name());
            }
        }
    }
}
