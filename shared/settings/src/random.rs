//! The random numbers of a run: streams that are derived from names rather than shared.
//!
//! A stream depends on the run's seed, its purpose and its indices, never on who draws from it; so initial
//! values, orders, crops and masks are the same on any worker, thread and machine.

use rand::SeedableRng;
use sha2::{Digest, Sha256};

/// The random number generator of every stream: portable, fast, and seekable by 32-bit words.
pub type Random = rand_chacha::ChaCha8Rng;

/// Returns the random stream of a run with this seed for `purpose`, a plain word such as "order", and
/// `indices`, such as epoch and sample. Equal arguments give equal streams.
pub fn stream(seed: u64, purpose: &str, indices: &[u64]) -> Random {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    // The length in front keeps a purpose apart from one that goes on with the bytes of an index.
    hash.update((purpose.len() as u64).to_le_bytes());
    hash.update(purpose);
    for index in indices {
        hash.update(index.to_le_bytes());
    }
    Random::from_seed(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn seed_purpose_and_every_index_tell_streams_apart() {
        let first = |seed, purpose, indices: &[u64]| stream(seed, purpose, indices).next_u64();
        let base = first(1, "order", &[2, 3]);
        assert_eq!(first(1, "order", &[2, 3]), base);
        for other in [
            first(2, "order", &[2, 3]),
            first(1, "crop", &[2, 3]),
            first(1, "order", &[2, 4]),
            first(1, "order", &[3, 2]),
            first(1, "order", &[2]),
        ] {
            assert_ne!(other, base);
        }
        assert_ne!(first(1, "a", &[0]), first(1, "a\0\0\0\0\0\0\0\0", &[]));
    }
}
