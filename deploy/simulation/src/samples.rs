//! The minibatches in the order in which workers take them.

use std::collections::VecDeque;
use std::sync::Arc;

use dataset::{DataAway, Dataset, Loader, LoaderConfig, LoaderRange, Minibatch, Split};

/// All epochs' training samples, cut into minibatches. What a lost worker had in hand goes to the next that asks.
pub struct Samples {
    loader: Loader,
    images: u64,
    epoch: u64,
    returned: VecDeque<Arc<Minibatch>>,
}

impl Samples {
    /// The training samples of `dataset`.
    pub fn new(dataset: &Arc<Dataset>, config: LoaderConfig) -> Samples {
        let images = dataset.len(Split::Train) as u64;
        Samples {
            loader: Loader::new(Arc::clone(dataset), config),
            images,
            epoch: 0,
            returned: VecDeque::new(),
        }
    }

    /// The next minibatch.
    ///
    /// # Errors
    /// A data folder that stays away.
    pub fn next(&mut self) -> Result<Arc<Minibatch>, DataAway> {
        if let Some(minibatch) = self.returned.pop_front() {
            return Ok(minibatch);
        }
        loop {
            match self.loader.next()? {
                Some(minibatch) if !minibatch.labels.is_empty() => return Ok(Arc::new(minibatch)),
                Some(_) => {}
                None => {
                    let range =
                        LoaderRange { split: Split::Train, epoch: self.epoch, start: 0, end: self.images };
                    self.loader.request(range);
                    self.epoch += 1;
                }
            }
        }
    }

    /// Takes back a minibatch of which no update came.
    pub fn take_back(&mut self, minibatch: Arc<Minibatch>) {
        self.returned.push_back(minibatch);
    }
}
