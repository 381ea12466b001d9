//! The order in which an epoch visits its samples.

use rand::RngExt;

use crate::random::stream;

/// The shuffled sample indexes of one epoch (Fisher-Yates on ChaCha8): a permutation of `0..images` that depends
/// on (images, seed, epoch) only, so that a lease of positions means the same samples to every worker.
///
/// Panics if `images` does not fit 32 bits.
pub fn epoch_order(images: usize, seed: u64, epoch: u64) -> Vec<u32> {
    let images = u32::try_from(images).expect("an epoch has less than 2^32 samples");
    let mut order: Vec<u32> = (0..images).collect();
    let mut random = stream(seed, "order", &[epoch]);
    for last in (1..images).rev() {
        order.swap(last as usize, random.random_range(0..=last) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_visits_every_sample_once() {
        for images in [0, 1, 2, 1000] {
            let mut order = epoch_order(images, 7, 3);
            order.sort_unstable();
            assert_eq!(order, (0..images as u32).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_order_belongs_to_seed_and_epoch() {
        assert_eq!(epoch_order(100, 7, 3), epoch_order(100, 7, 3));
        assert_ne!(epoch_order(100, 7, 3), epoch_order(100, 7, 4));
        assert_ne!(epoch_order(100, 7, 3), epoch_order(100, 8, 3));
    }

    /// First sample uniform over 5: 5000 epochs put 1000 in each, standard deviation 28.
    #[test]
    fn every_sample_comes_first_equally_often() {
        let mut first = [0u32; 5];
        for epoch in 0..5000 {
            first[epoch_order(5, 1, epoch)[0] as usize] += 1;
        }
        assert!(first.iter().all(|&n| (860..1140).contains(&n)), "{first:?}");
    }

    /// The order is part of what a snapshot means: it may not change between releases.
    #[test]
    fn the_order_is_pinned() {
        assert_eq!(epoch_order(8, 1, 0), [5, 4, 2, 3, 1, 0, 7, 6]);
    }
}
