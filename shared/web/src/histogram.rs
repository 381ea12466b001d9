//! Numbers of observations by their size.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Histogram: how many observations were at most as large as each of some bounds.
#[derive(Debug)]
pub struct Histogram {
    /// Ascending.
    bounds: &'static [f64],
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    /// Observations in each bucket, those above the last bound included.
    buckets: Vec<u64>,
    sum: f64,
}

impl Histogram {
    /// Makes a histogram without observations; `bounds` are ascending.
    pub fn new(bounds: &'static [f64]) -> Histogram {
        Histogram { bounds, counts: Mutex::new(Counts { buckets: vec![0; bounds.len() + 1], sum: 0.0 }) }
    }

    /// Records an observation.
    pub fn record(&self, value: f64) {
        let bucket = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        let mut counts = self.lock();
        counts.buckets[bucket] += 1;
        counts.sum += value;
    }

    /// Returns each bound with the number of observations that are at most as large, the number of all
    /// observations, and their sum.
    pub fn counts(&self) -> (Vec<(f64, u64)>, u64, f64) {
        let counts = self.lock();
        let mut below = 0;
        let bounds = self.bounds.iter().zip(&counts.buckets).map(|(bound, count)| {
            below += count;
            (*bound, below)
        });
        (bounds.collect(), counts.buckets.iter().sum(), counts.sum)
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Numbers are whole, whoever panicked.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
