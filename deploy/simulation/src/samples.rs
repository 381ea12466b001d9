//! The minibatches in the order in which workers take them.

use std::collections::VecDeque;
use std::sync::Arc;

use dataset::{DataAway, Dataset, Loader, LoaderConfig, LoaderRange, Minibatch, Split};

/// A minibatch with the epoch that it is of.
pub struct Taken {
    /// Epoch, from 0.
    pub epoch: u64,
    /// The images.
    pub minibatch: Minibatch,
}

/// All epochs' training samples, cut into minibatches. What a lost worker had in hand goes to the next that
/// asks.
pub struct Samples {
    loader: Loader,
    images: u64,
    /// Number of epochs that were begun.
    epochs: u64,
    returned: VecDeque<Taken>,
}

impl Samples {
    /// Returns the training samples of `dataset`.
    pub fn new(dataset: &Arc<Dataset>, config: LoaderConfig) -> Samples {
        let images = dataset.len(Split::Train) as u64;
        Samples {
            loader: Loader::new(Arc::clone(dataset), config),
            images,
            epochs: 0,
            returned: VecDeque::new(),
        }
    }

    /// Returns the next minibatch.
    ///
    /// # Errors
    /// A data folder that stays away.
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

    /// Takes back a minibatch of which no update came.
    pub fn take_back(&mut self, taken: Taken) {
        self.returned.push_back(taken);
    }
}
