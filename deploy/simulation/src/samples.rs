//! The training minibatches in the order in which the workers take them.

use std::collections::VecDeque;
use std::sync::Arc;

use dataset::{DataAway, Dataset, Loader, LoaderConfig, LoaderRange, Minibatch, Split};

/// A minibatch that a worker has taken, with its epoch.
pub struct Taken {
    /// Number of the epoch, from 0.
    pub epoch: u64,
    /// The images, with their labels, that the worker took to compute one gradient.
    pub minibatch: Minibatch,
}

/// The training samples of all epochs, cut into minibatches. The minibatch of a lost worker goes to the next
/// worker that asks.
pub struct Samples {
    loader: Loader,
    images: u64,
    /// Number of epochs that have begun.
    epochs: u64,
    returned: VecDeque<Taken>,
}

impl Samples {
    /// Creates the queue of the training samples of `dataset`, which a loader with the settings `config`
    /// loads.
    pub fn new(dataset: &Arc<Dataset>, config: LoaderConfig) -> Samples {
        let images = dataset.len(Split::Train) as u64;
        Samples {
            loader: Loader::new(Arc::clone(dataset), config),
            images,
            epochs: 0,
            returned: VecDeque::new(),
        }
    }

    /// Returns the next minibatch: one that was taken back, or the next one of the loader. Blocks until it is
    /// loaded.
    ///
    /// # Errors
    /// If the data folder stays unavailable.
    pub fn next(&mut self) -> Result<Taken, DataAway> {
        if let Some(taken) = self.returned.pop_front() {
            return Ok(taken);
        }
        loop {
            match self.loader.next()? {
                Some(minibatch) if !minibatch.labels.is_empty() => {
                    return Ok(Taken { epoch: self.epochs - 1, minibatch });
                }
                Some(_) => {}
                None => {
                    let range =
                        LoaderRange { split: Split::Train, epoch: self.epochs, start: 0, end: self.images };
                    self.loader.request(range);
                    self.epochs += 1;
                }
            }
        }
    }

    /// Takes back a minibatch that led to no update, for the next worker that asks.
    pub fn take_back(&mut self, taken: Taken) {
        self.returned.push_back(taken);
    }
}
