//! Loader threads: samples decoded ahead of time, minibatches delivered in the order that was asked for.

use std::sync::Arc;

use ndarray::Array4;

use crate::dataset::{Dataset, Split};
use crate::sample::Sampling;

/// What a loader does with each range.
#[derive(Clone, Debug)]
pub struct LoaderConfig {
    /// Threads that decode; at least 1.
    pub threads: usize,
    /// Side of the network's input, pixels.
    pub size: usize,
    /// How training crops are drawn.
    pub sampling: Sampling,
    /// The run's seed: order, crops and mirrors come from it.
    pub seed: u64,
    /// Epoch positions of one minibatch.
    pub batch: usize,
    /// Minibatches made ahead; at least 1.
    pub depth: usize,
}

/// Epoch positions `start..end` of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoaderRange {
    /// Training positions index the epoch's shuffled order; validation positions are sample indexes.
    pub split: Split,
    /// Epoch, from 0; of no meaning for validation.
    pub epoch: u64,
    /// First position.
    pub start: u64,
    /// One past the last position.
    pub end: u64,
}

/// Some images and their labels.
#[derive(Clone, Debug)]
pub struct Minibatch {
    /// N x 3 x size x size, R, G, B in 0..255 minus the mean.
    pub images: Array4<f32>,
    /// N labels.
    pub labels: Vec<u32>,
    /// N sample indexes of the split.
    pub samples: Vec<u32>,
    /// Samples that could not be read: "path: reason".
    pub skipped: Vec<String>,
    /// Epoch positions that this minibatch stands for: N plus the skipped.
    pub positions: u64,
}

/// Decodes requested ranges on its own threads, at most [`LoaderConfig::depth`] minibatches ahead.
pub struct Loader {}

impl Loader {
    /// Starts the threads.
    pub fn new(dataset: Arc<Dataset>, config: LoaderConfig) -> Loader {
        todo!("{dataset:?} {config:?}")
    }

    /// Queues a range; never blocks. Panics if it reaches past the end of the split.
    pub fn request(&self, range: LoaderRange) {
        todo!("{range:?}")
    }

    /// The next minibatch: ranges in the order of their requests, positions in order within them, the last
    /// minibatch of a range perhaps short. Blocks until it is ready; `None` once everything requested was given.
    #[allow(clippy::should_implement_trait, reason = "more can be requested after None")]
    pub fn next(&mut self) -> Option<Minibatch> {
        todo!()
    }

    /// Forgets everything requested and made.
    pub fn clear(&mut self) {
        todo!()
    }
}
