//! Streams of random numbers that belong to a purpose, not to a thread.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

/// The generator, named so that the same seed gives the same pictures on every machine and in every release.
pub(crate) type Random = ChaCha8Rng;

/// The stream of (seed, purpose, indices): equal arguments give equal numbers, any difference gives others.
pub(crate) fn stream(seed: u64, purpose: &str, indices: &[u64]) -> Random {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update((purpose.len() as u64).to_le_bytes());
    hash.update(purpose);
    for index in indices {
        hash.update(index.to_le_bytes());
    }
    ChaCha8Rng::from_seed(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::Rng;

    #[test]
    fn a_stream_belongs_to_all_of_its_arguments() {
        let first = |seed, purpose, indices: &[u64]| stream(seed, purpose, indices).next_u64();
        let base = first(1, "crop", &[2, 3]);
        assert_eq!(base, first(1, "crop", &[2, 3]));
        for other in [first(2, "crop", &[2, 3]), first(1, "order", &[2, 3]), first(1, "crop", &[3, 2])] {
            assert_ne!(base, other);
        }
    }
}
