//! From image files, or from the drawn set, to minibatches.
//!
//! A [`Dataset`] is a list of classes and, per split, a list of samples: photographs in class folders, or pictures
//! that the program draws itself. A [`Loader`] turns ranges of an epoch's shuffled order into [`Minibatch`]es on
//! threads of its own. Every random choice depends on (seed, purpose, epoch, sample) only, never on a thread.
#![forbid(unsafe_code)]

mod dataset;
mod decode;
mod drawn;
mod index;
mod jpeg;
mod loader;
mod order;
mod random;
mod sample;

pub use dataset::{Dataset, Fingerprint, Split, WriteError};
pub use decode::{DecodeError, SampleError};
pub use index::DatasetError;
pub use loader::{Loader, LoaderConfig, LoaderRange, Minibatch};
pub use order::epoch_order;
pub use sample::{MEAN, Sampling};
