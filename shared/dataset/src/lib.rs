//! Data sets and the way from their image files to minibatches.
//!
//! A [`Dataset`] is a list of classes and, for each split, a list of samples: photographs in class folders or
//! tar shards, here or on another machine that lends them, or synthetic images that the program generates
//! itself. A [`Loader`] turns ranges of an epoch's shuffled order into [`Minibatch`]es on threads of its own.
//! Every random choice depends only on (seed, purpose, epoch, sample), never on a thread.
//!
//! Absent by intent: what labels mean, and training.
//!
//! ```
//! use std::sync::Arc;
//!
//! use dataset::{Dataset, Loader, LoaderConfig, LoaderRange, PATIENCE, Preprocessing, Sampling, Split};
//!
//! // 100 training and 10 validation pictures, drawn by the program, for inputs of 32 pixels.
//! let dataset = Arc::new(Dataset::synthetic(100, 10, 32));
//! let config = LoaderConfig {
//!     threads: 1,
//!     size: 32,
//!     sampling: Sampling::default(),
//!     preprocessing: Preprocessing::default(),
//!     crops: None,
//!     seed: 1,
//!     batch: 8,
//!     depth: 1,
//!     patience: PATIENCE,
//! };
//! let mut loader = Loader::new(dataset, config);
//! loader.request(LoaderRange { split: Split::Train, epoch: 0, start: 0, end: 8 });
//! let minibatch = loader.next()?.expect("a range was requested");
//! assert_eq!(minibatch.images.shape(), [8, 3, 32, 32]);
//! assert_eq!(minibatch.labels.len(), 8);
//! # Ok::<(), dataset::DataAway>(())
//! ```

mod crop;
mod dataset;
mod decode;
mod decode_error;
mod entry;
mod error;
mod evaluation_crops;
mod fingerprint;
mod foreign;
mod ground;
mod held_out;
mod ilsvrc;
mod index;
mod jpeg;
mod kind;
mod lent;
mod list;
mod loader;
mod look;
mod mat;
mod members;
mod names;
mod order;
mod orientation;
mod passed;
mod photometric;
mod piece;
mod png;
mod refusal;
mod rules;
mod sampling;
mod shards;
mod sheet;
mod split;
mod splits;
mod stamps;
mod streams;
mod synthetic;
mod thumbnail;
mod tiff;
mod views;
mod walk;

pub use dataset::{Dataset, WriteError};
pub use decode_error::{DecodeError, SampleError};
pub use error::DatasetError;
pub use evaluation_crops::{Crops, CropsError, EvaluationCrop, evaluation_crops};
pub use fingerprint::Fingerprint;
pub use foreign::is_decoding;
pub use ilsvrc::wnid;
pub use kind::FileKind;
pub use lent::{Encoded, LentError, LentSet, PictureSource, SourceAway};
pub use list::{ListError, read_list};
pub use loader::{DataAway, Loader, LoaderConfig, LoaderRange, Minibatch, PATIENCE};
pub use look::{Look, MOST_LEFT_OUT, SplitLook, Unfit};
pub use order::epoch_order;
pub use passed::{Passed, Reason};
pub use piece::Piece;
pub use refusal::Refusal;
pub use rules::Rules;
pub use sampling::centre_of_file;
pub use settings::{Interpolation, MEAN, Preprocessing, Resize, Sampling};
pub use sheet::Sheet;
pub use split::Split;
pub use synthetic::Scene;
pub use thumbnail::Thumbnail;
pub use views::Views;
pub use walk::{check_is_there, pictures_below};
