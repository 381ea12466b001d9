//! Data sets whose pictures somebody else has and lends: here are their labels and their order, and each
//! file comes when it is read.

use std::fmt;
use std::sync::Arc;

use image::RgbImage;

use crate::decode;
use crate::decode_error::{DecodeError, SampleError};
use crate::order::{epoch_order, merged_order};
use crate::split::Split;

/// A source of encoded pictures of a data set that another machine has.
pub trait PictureSource: fmt::Debug + Send + Sync {
    /// Returns the file of a sample; waits until it is here.
    ///
    /// # Errors
    /// If the source does not give it, so that nothing is known about the picture.
    fn read(&self, split: Split, index: u32) -> Result<Encoded, SourceAway>;

    /// Tells the source which samples are going to be read, in which order; it may get them ahead of time.
    fn announce(&self, split: Split, indices: Vec<u32>);
}

/// The file of a sample that its holder has read, or could not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Name of the sample, for people: the path of its file on the machine that has it.
    pub name: String,
    /// Bytes of the file, or the reason why its holder could not read it.
    pub bytes: Result<Arc<[u8]>, String>,
}

/// An error: a source of pictures gave no answer, or has no access to its pictures at the moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceAway(pub String);

/// The contents of a data set that is lent: all but the pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LentSet {
    /// Names of the classes; a label is an index into them.
    pub classes: Vec<String>,
    /// Hash of the data set's fingerprint, as its holder computed it.
    pub hash: String,
    /// Label of each training sample.
    pub train: Vec<u32>,
    /// Label of each validation sample.
    pub validation: Vec<u32>,
    /// Number of training samples of each tar shard that has some, in the order of the samples; empty if the
    /// pictures are files of their own. The order of an epoch depends on it.
    pub shards: Vec<u32>,
}

/// An error: the contents of a lent data set contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lent data set cannot be used: {0}; start all processes from one release")]
pub struct LentError(String);

/// The pictures of a lent data set.
#[derive(Debug)]
pub(crate) struct Lent {
    train: Vec<u32>,
    validation: Vec<u32>,
    shards: Vec<usize>,
    source: Arc<dyn PictureSource>,
}

impl LentSet {
    /// Checks that the labels are those of classes and that the shards have all training samples.
    pub(crate) fn check(&self) -> Result<(), LentError> {
        let classes = self.classes.len();
        let beyond = |label: &&u32| **label as usize >= classes;
        if let Some(label) = self.train.iter().chain(&self.validation).find(beyond) {
            return Err(LentError(format!("label {label}, expected one of {classes} classes")));
        }
        let (held, images) =
            (self.shards.iter().map(|&images| u64::from(images)).sum::<u64>(), self.train.len());
        if !self.shards.is_empty() && held != images as u64 {
            return Err(LentError(format!("{held} training images in its shards, expected {images}")));
        }
        Ok(())
    }
}

impl Lent {
    pub(crate) fn new(set: LentSet, source: Arc<dyn PictureSource>) -> Lent {
        let LentSet { train, validation, shards, .. } = set;
        Lent { train, validation, shards: shards.into_iter().map(|images| images as usize).collect(), source }
    }

    pub(crate) fn label(&self, split: Split, index: usize) -> u32 {
        match split {
            Split::Train => self.train[index],
            Split::Validation => self.validation[index],
        }
    }

    pub(crate) fn epoch_order(&self, seed: u64, epoch: u64) -> Vec<u32> {
        match &self.shards[..] {
            [] => epoch_order(self.train.len(), seed, epoch),
            shards => merged_order(shards, seed, epoch),
        }
    }

    pub(crate) fn announce(&self, split: Split, indices: Vec<u32>) {
        self.source.announce(split, indices);
    }

    pub(crate) fn read(&self, split: Split, index: usize) -> Result<RgbImage, SampleError> {
        let away = |away: SourceAway| SampleError {
            path: format!("{split:?} picture {index}").into(),
            reason: DecodeError::Away(away.0),
        };
        let Encoded { name, bytes } = self.source.read(split, index as u32).map_err(away)?;
        let pixels = bytes.map_err(DecodeError::Elsewhere).and_then(|bytes| decode::decode(&bytes));
        pixels.map_err(|reason| SampleError { path: name.into(), reason })
    }
}
