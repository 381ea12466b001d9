//! The order in which an epoch visits its samples.
//!
//! Files are shuffled one by one. Tar shards are read as streams: each shard is cut into runs of consecutive
//! samples, the runs are shuffled, and several of them are merged at random, each in its own order. Any range
//! of positions, and so any lease, then consists of one stretch of each run that is open there, which is read
//! forward. The price is that the samples of one run stay near each other in every epoch, so shards should be
//! filled in random order, not class by class.

use std::ops::Range;

use rand::RngExt;

use settings::random::stream;

/// Returns the shuffled sample indices of one epoch (Fisher-Yates on ChaCha8): a permutation of `0..images`
/// that depends only on (images, seed, epoch), so that a range of positions in it means the same samples to
/// every worker.
///
/// # Panics
/// If `images` does not fit into 32 bits.
pub fn epoch_order(images: usize, seed: u64, epoch: u64) -> Vec<u32> {
    let images = u32::try_from(images).expect("an epoch has less than 2^32 samples");
    let mut order: Vec<u32> = (0..images).collect();
    let mut random = stream(seed, "order", &[epoch]);
    for last in (1..images).rev() {
        order.swap(last as usize, random.random_range(0..=last) as usize);
    }
    order
}

/// Largest number of samples in a run; of ImageNet's images these are 28 MB.
const LONGEST_RUN: u32 = 256;
/// Number of runs that are merged: as many as a usual minibatch has images, which then come from different
/// places.
pub(crate) const OPEN_RUNS: usize = 32;
/// Smallest number of runs of an epoch, which are made shorter if necessary: few long ones would be mixed
/// badly, and so small a set stays in the machine's memory anyway.
const LEAST_RUNS: u32 = 256;

/// Returns the sample indices of one epoch over shards, in their order. `shards` holds the number of samples
/// of each shard; the result depends only on (`shards`, `seed`, `epoch`).
///
/// # Panics
/// If the number of samples does not fit into 32 bits.
pub(crate) fn merged_order(shards: &[usize], seed: u64, epoch: u64) -> Vec<u32> {
    let images = u32::try_from(shards.iter().sum::<usize>()).expect("an epoch has less than 2^32 samples");
    let length = (images / LEAST_RUNS).clamp(1, LONGEST_RUN);
    let mut runs: Vec<Range<u32>> = Vec::new();
    let mut start = 0;
    for &samples in shards {
        let end = start + samples as u32;
        runs.extend((start..end).step_by(length as usize).map(|first| first..end.min(first + length)));
        start = end;
    }
    let mut random = stream(seed, "order", &[epoch]);
    for last in (1..runs.len() as u32).rev() {
        runs.swap(last as usize, random.random_range(0..=last) as usize);
    }
    let mut waiting = runs.into_iter();
    let mut open: Vec<Range<u32>> = waiting.by_ref().take(OPEN_RUNS).collect();
    let mut order = Vec::with_capacity(images as usize);
    while !open.is_empty() {
        let chosen = random.random_range(0..open.len() as u32) as usize;
        order.extend(open[chosen].next());
        if open[chosen].is_empty() {
            match waiting.next() {
                Some(run) => open[chosen] = run,
                None => drop(open.swap_remove(chosen)),
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_over_shards_visits_every_sample_once() {
        for shards in [&[][..], &[1], &[0, 3, 0], &[1000, 1, 77], &[70_000, 9]] {
            let mut order = merged_order(shards, 7, 3);
            order.sort_unstable();
            assert_eq!(order, (0..shards.iter().sum::<usize>() as u32).collect::<Vec<_>>());
        }
        assert_ne!(merged_order(&[50, 50], 7, 3), merged_order(&[50, 50], 7, 4));
        assert_ne!(merged_order(&[50, 50], 7, 3), merged_order(&[50, 50], 8, 3));
    }

    /// Of 128 positions, those of one run follow each other in its shard.
    #[test]
    fn a_lease_over_shards_is_a_stretch_of_each_open_run() {
        let order = merged_order(&[50_000; 3], 1, 0);
        let leases = order.chunks(128);
        let (count, mut stretches) = (leases.len(), 0);
        for lease in leases {
            let mut sorted = lease.to_vec();
            sorted.sort_unstable();
            for stretch in sorted.chunk_by(|a, b| a + 1 == *b) {
                let places = stretch.iter().map(|sample| lease.iter().position(|other| other == sample));
                assert!(places.is_sorted(), "{stretch:?} in {lease:?}");
                stretches += 1;
            }
        }
        assert!(stretches < count * (OPEN_RUNS + 1), "{stretches} stretches in {count} leases");
    }

    /// In an epoch, the places of two neighbours of a small set are as far from each other as of any two: a
    /// third of the epoch.
    #[test]
    fn a_small_set_of_shards_is_shuffled_well() {
        let place = |sample| merged_order(&[200], 1, 0).iter().position(|&other| other == sample).unwrap();
        let apart: usize = (0..199).map(|sample| place(sample).abs_diff(place(sample + 1))).sum();
        assert!((55..80).contains(&(apart / 199)), "{apart}");
    }

    /// The order over shards may not change between releases, like that over files.
    #[test]
    fn the_order_over_shards_is_pinned() {
        let order = merged_order(&[20_000, 10_000], 1, 0);
        assert_eq!(order[..8], [9126, 2925, 3744, 15210, 16965, 16966, 25265, 22691]);
    }

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
