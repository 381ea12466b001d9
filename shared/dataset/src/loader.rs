//! The loader: threads decode samples ahead of time, and minibatches are delivered in the order of the
//! requests.
//!
//! Requested ranges wait in a queue and are cut into minibatches, of which at most `depth` are open at once;
//! threads take samples from the oldest open minibatch that still has some. Each sample has its own position
//! in its minibatch, so that neither content nor order depends on the number of threads.
//!
//! While a data folder as a whole is unavailable, as a network disk can be, threads wait for it and try the
//! sample again instead of skipping its images as unreadable.

mod state;

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use image::{Rgb, RgbImage};
use ndarray::{Array4, ArrayView4, Axis};
use settings::{Preprocessing, Sampling};

use self::state::{Job, Made, Open, Pixels, Request, State};
use crate::dataset::Dataset;
use crate::decode_error::SampleError;
use crate::evaluation_crops::Crops;
use crate::split::Split;
use crate::thumbnail::{Thumbnail, thumbnail};
use crate::views::Views;

/// The settings of a [`Loader`], which reads samples on threads of its own and makes minibatches of them.
#[derive(Clone, Debug)]
pub struct LoaderConfig {
    /// Number of threads that decode; at least 1.
    pub threads: usize,
    /// Side of the network's square input in pixels; at least 1.
    pub size: usize,
    /// The random crops and distortions of training samples.
    pub sampling: Sampling,
    /// The resize of validation images, and the mean that is subtracted from them.
    pub preprocessing: Preprocessing,
    /// Crops of each validation image that become its views; `None` if a validation image becomes one input,
    /// its centre crop.
    pub crops: Option<Crops>,
    /// Seed from which the shuffled order and the random crops and distortions of training samples follow.
    pub seed: u64,
    /// Number of samples of one minibatch, unreadable ones included; at least 1.
    pub batch: usize,
    /// Number of minibatches that are prepared ahead; at least 1.
    pub depth: usize,
    /// Time for which the loader waits for a data folder that has become unavailable, as a network disk can,
    /// before [`Loader::next`] fails.
    pub patience: Duration,
}

/// Default of [`LoaderConfig::patience`], the time for which a loader waits for a data folder that has become
/// unavailable.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Interval between two tries of a sample while the data folder is unavailable.
const RETRY: Duration = Duration::from_secs(1);

/// An error: the data folder was unavailable for longer than the loader waits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the data folder has been away for {} s: none of its pictures can be opened any more ({example}); bring it back, then \
     give the same command again: it goes on from where it stopped",
    waited.as_secs()
)]
pub struct DataAway {
    /// Time for which the loader has waited for the data folder.
    pub waited: Duration,
    /// A sample that could not be read, with the error of the system.
    pub example: String,
}

/// A request to a loader for the samples at the positions `start..end` of a split's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoaderRange {
    /// Split of the samples. Positions of training samples are those in the epoch's shuffled order; positions
    /// of validation samples are their indices.
    pub split: Split,
    /// Number of the epoch, from 0; ignored for validation.
    pub epoch: u64,
    /// First position of the range in the split's order, from 0.
    pub start: u64,
    /// One past the last position of the range in the split's order.
    pub end: u64,
}

/// A minibatch: images as inputs of the network, with their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Minibatch {
    /// Inputs of the network, N x 3 x size x size (samples, colours, rows, columns): R, G, B in 0..255 minus
    /// the mean of each colour. N is the number of samples that could be read; of validation images that were
    /// asked for as views, there are no inputs.
    pub images: Array4<f32>,
    /// Views of each of the N samples that could be read, if [`LoaderConfig::crops`] asks for them; otherwise
    /// empty.
    pub views: Vec<Views>,
    /// Label of each of the N samples that could be read: the index of its class.
    pub labels: Vec<u32>,
    /// Index in the split of each of the N samples that could be read.
    pub samples: Vec<u32>,
    /// Samples that could not be read, each as "path: reason".
    pub skipped: Vec<String>,
    /// Number of positions of the split's order that this minibatch covers: its N samples and the skipped
    /// ones.
    pub positions: u64,
}

impl Minibatch {
    /// Returns the inputs and labels of the first `samples` samples of this minibatch, which must be of
    /// training samples.
    ///
    /// # Panics
    /// If the minibatch has fewer samples.
    pub fn first(&self, samples: usize) -> (ArrayView4<'_, f32>, &[u32]) {
        (self.images.slice_axis(Axis(0), (..samples).into()), &self.labels[..samples])
    }

    /// Makes a small picture of what the network sees of the sample in row `row`, whose inputs are made by
    /// `preprocessing`; neither side is longer than `side` pixels, of which there must be at least one.
    ///
    /// # Panics
    /// If the minibatch has no inputs in that row.
    pub fn thumbnail(&self, row: usize, preprocessing: &Preprocessing, side: u32) -> Thumbnail {
        let input = self.images.index_axis(Axis(0), row);
        let (_, height, width) = input.dim();
        let picture = RgbImage::from_fn(width as u32, height as u32, |x, y| {
            let value = |colour: usize| input[[colour, y as usize, x as usize]] + preprocessing.mean[colour];
            // A number beyond the range becomes its end.
            Rgb([0, 1, 2].map(|colour| value(colour).round() as u8))
        });
        thumbnail(&picture, side)
    }
}

/// A loader, which decodes requested ranges of a data set's samples on its own threads, at most
/// [`LoaderConfig::depth`] minibatches ahead.
///
/// When a loader is dropped, each of its threads ends after the sample that it is working on.
pub struct Loader {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Loader {
    /// Creates a loader of samples of `dataset` and starts the threads that decode them.
    ///
    /// # Panics
    /// If `threads`, `batch`, `depth` or `size` in `config` is 0.
    pub fn new(dataset: Arc<Dataset>, config: LoaderConfig) -> Loader {
        let LoaderConfig { threads, size, batch, depth, .. } = config;
        assert!(threads.min(size).min(batch).min(depth) > 0, "a loader needs all of {config:?}");
        let shared = Arc::new(Shared {
            dataset,
            config,
            state: Mutex::default(),
            work: Condvar::new(),
            ready: Condvar::new(),
        });
        let start = |number| {
            let shared = Arc::clone(&shared);
            let thread = thread::Builder::new().name(format!("loader-{number}"));
            thread.spawn(move || shared.decode_samples()).expect("the system starts a thread")
        };
        let threads = (0..threads).map(start).collect();
        Loader { shared, threads }
    }

    /// Queues the samples of a range to be decoded, without waiting for them; [`next`](Self::next) returns
    /// them.
    ///
    /// # Panics
    /// If the range ends before its start or reaches past the end of its split.
    pub fn request(&self, range: LoaderRange) {
        let LoaderRange { split, epoch, start, end } = range;
        let images = self.shared.dataset.len(split);
        assert!(start <= end && end <= images as u64, "{range:?} of {images} samples");
        let mut state = self.shared.state();
        let Shared { dataset, config, .. } = &*self.shared;
        let order =
            (split == Split::Train).then(|| state.order(epoch, || dataset.epoch_order(config.seed, epoch)));
        let positions = start as usize..end as usize;
        match &order {
            Some(order) => dataset.announce(split, order[positions.clone()].iter().copied()),
            None => dataset.announce(split, start as u32..end as u32),
        }
        state.queue.push_back(Request { split, epoch, order, positions });
        self.shared.work.notify_all();
    }

    /// Waits for the next minibatch and returns it, or `None` once all requested samples have been returned.
    ///
    /// Ranges are delivered in the order of their requests, and positions in their order; the last minibatch
    /// of a range may be short. A minibatch of which no sample could be read counts its positions but has no
    /// images.
    ///
    /// # Errors
    /// [`DataAway`] if the data folder was unavailable for longer than [`LoaderConfig::patience`]; the loader
    /// then delivers nothing more.
    ///
    /// # Panics
    /// If a thread of the loader has panicked.
    #[expect(clippy::should_implement_trait, reason = "an error is the end, which an iterator cannot say")]
    pub fn next(&mut self) -> Result<Option<Minibatch>, DataAway> {
        let mut state = self.shared.state();
        let open = loop {
            assert!(!state.failed, "a loader thread panicked");
            match state.take_complete() {
                Some(open) => break open,
                None if state.is_idle() => return Ok(None),
                None => {}
            }
            if let Some(away) = &state.away {
                return Err(away.clone());
            }
            state = self.shared.ready.wait(state).expect(UNPOISONED);
        };
        self.shared.work.notify_all();
        drop(state);
        Ok(Some(self.shared.assemble(open)))
    }

    /// Discards all samples that [`request`](Self::request) has queued and [`next`](Self::next) has not
    /// returned yet.
    pub fn clear(&mut self) {
        let mut state = self.shared.state();
        state.queue.clear();
        state.open.clear();
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.state().stop = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so; `next` tells the caller.
            let _ = thread.join();
        }
    }
}

const UNPOISONED: &str = "nothing panics while it holds the loader's state";

/// The state that the threads and the loader's owner share.
struct Shared {
    dataset: Arc<Dataset>,
    config: LoaderConfig,
    state: Mutex<State>,
    /// Signals that there may be a sample to take, or that it is time to stop.
    work: Condvar,
    /// Signals that a minibatch may be complete, or that a thread has failed.
    ready: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(UNPOISONED)
    }

    /// Runs a thread of the loader: decodes samples until it is told to stop.
    fn decode_samples(&self) {
        let _alarm = Alarm(self);
        let mut state = self.state();
        while !state.stop && state.away.is_none() {
            let Some(mut job) = state.take(self.config.batch, self.config.depth) else {
                state = self.work.wait(state).expect(UNPOISONED);
                continue;
            };
            drop(state);
            let made = self.make_patiently(&mut job);
            state = self.state();
            if let Some(made) = made {
                if state.away_since.take().is_some() {
                    tracing::warn!("the data folder is back");
                }
                state.put(job.minibatch, job.place, made);
            }
            self.ready.notify_all();
        }
    }

    /// Reads a sample; tries again for as long as the data folder is unavailable and the sample is wanted.
    /// Returns `None` if the folder stays unavailable or the sample is no longer wanted.
    fn make_patiently(&self, job: &mut Job) -> Option<Made> {
        loop {
            let error = match self.make(job) {
                Err(error) if error.is_of_the_file_system() && self.dataset.is_away() => error,
                made => return Some(made.map_err(|error| error.to_string())),
            };
            let mut state = self.state();
            let since = *state.away_since.get_or_insert_with(|| {
                let patience = self.config.patience.as_secs();
                tracing::warn!("the data folder is away ({error}): waiting for it for up to {patience} s");
                Instant::now()
            });
            if since.elapsed() >= self.config.patience {
                let (waited, example) = (self.config.patience, error.to_string());
                state.away.get_or_insert(DataAway { waited, example });
                self.work.notify_all();
            }
            if state.stop || state.away.is_some() || !state.wants(job) {
                return None;
            }
            drop(self.work.wait_timeout(state, RETRY.min(self.config.patience)).expect(UNPOISONED));
        }
    }

    fn make(&self, job: &mut Job) -> Result<(u32, Pixels), SampleError> {
        let LoaderConfig { size, sampling, preprocessing, crops, seed, .. } = &self.config;
        let &mut Job { split, epoch, sample, .. } = job;
        let index = sample as usize;
        if let (Split::Validation, Some(crops)) = (split, crops) {
            let views = self.dataset.validation_views(index, *crops, preprocessing, *size);
            return views.map(|(label, views)| (label, Pixels::Views(views)));
        }
        let mut pixels = std::mem::take(&mut job.pixels);
        pixels.resize(3 * size * size, 0.0);
        let label = match split {
            Split::Train => self.dataset.training_sample(index, epoch, *seed, sampling, *size, &mut pixels),
            Split::Validation => self.dataset.validation_sample(index, preprocessing, *size, &mut pixels),
        };
        label.map(|label| (label, Pixels::Input(pixels)))
    }

    /// Assembles the samples of a complete minibatch.
    fn assemble(&self, open: Open) -> Minibatch {
        let size = self.config.size;
        let positions = open.samples.len() as u64;
        let (mut labels, mut samples, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
        let (mut images, mut views, mut spare) = (Vec::new(), Vec::new(), Vec::new());
        for (sample, made) in open.samples.into_iter().zip(open.made) {
            match made.expect("a complete minibatch misses no sample") {
                Ok((label, pixels)) => {
                    labels.push(label);
                    samples.push(sample);
                    match pixels {
                        Pixels::Input(pixels) => {
                            images.reserve_exact(positions as usize * pixels.len() - images.len());
                            images.extend_from_slice(&pixels);
                            spare.push(pixels);
                        }
                        Pixels::Views(made) => views.push(made),
                    }
                }
                Err(reason) => skipped.push(reason),
            }
        }
        self.state().spare.append(&mut spare);
        let images = Array4::from_shape_vec((images.len() / (3 * size * size), 3, size, size), images)
            .expect("every input has 3 x size x size values");
        Minibatch { images, views, labels, samples, skipped, positions }
    }
}

/// A guard that reports a panic of a thread to the loader's owner, who would otherwise wait for ever.
struct Alarm<'a>(&'a Shared);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking()
            && let Ok(mut state) = self.0.state.lock()
        {
            state.failed = true;
            self.0.ready.notify_all();
        }
    }
}
