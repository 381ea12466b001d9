//! What the tests of all kernels share: the instruction sets to run, random values, comparison, guard zones.

use crate::isa::Isa;
use crate::pool::Pool;

/// Every instruction set of this machine beyond the scalar reference, and the portable ones that prove the tiles of
/// those that are absent.
pub(crate) fn vector_isas() -> Vec<Isa> {
    let mut isas: Vec<Isa> = Isa::available().into_iter().filter(|isa| *isa != Isa::scalar()).collect();
    isas.extend(Isa::portable());
    isas
}

/// The scalar reference and all of [`vector_isas`].
pub(crate) fn all_isas() -> Vec<Isa> {
    let mut isas = vec![Isa::scalar()];
    isas.extend(vector_isas());
    isas
}

/// One inline pool.
pub(crate) fn one_thread() -> Pool {
    Pool::new(1).expect("one thread starts none")
}

/// `len` values in -1 .. 1 from a seed (an integer hash of seed and position).
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

/// Panics unless each value is within `tolerance` of the expected one, relative to it, or to the `floor` where it is
/// smaller; names the kernel, the worst place and both values.
#[track_caller]
pub(crate) fn assert_close(kernel: &str, found: &[f32], expected: &[f32], tolerance: f32, floor: f32) {
    assert_eq!(found.len(), expected.len(), "{kernel}: lengths differ");
    let mut worst = (0.0, 0);
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs() / expected.abs().max(floor);
        // Written so that a NaN counts as the worst.
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

/// A slice between two zones that nobody may write.
pub(crate) struct Guarded {
    data: Vec<f32>,
    len: usize,
}

impl Guarded {
    const ZONE: usize = 64;
    const MARK: f32 = -123.456;

    /// `len` values, each `fill`, behind and in front of them a guard zone.
    pub(crate) fn new(len: usize, fill: f32) -> Guarded {
        let mut data = vec![Guarded::MARK; len + 2 * Guarded::ZONE];
        data[Guarded::ZONE..][..len].fill(fill);
        Guarded { data, len }
    }

    /// The values.
    pub(crate) fn values(&mut self) -> &mut [f32] {
        &mut self.data[Guarded::ZONE..][..self.len]
    }

    /// Panics if a guard zone was written.
    #[track_caller]
    pub(crate) fn check(&self, kernel: &str) {
        let (before, rest) = self.data.split_at(Guarded::ZONE);
        let after = &rest[self.len..];
        assert!(before.iter().all(|value| *value == Guarded::MARK), "{kernel} wrote in front of its output");
        assert!(after.iter().all(|value| *value == Guarded::MARK), "{kernel} wrote behind its output");
    }
}
