//! What a data folder holds: its classes, its images, and where each of them lies.

use std::path::PathBuf;

use crate::passed::Passed;
use crate::rules::Rules;

/// The place of an image in a tar shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Part {
    /// Index of the shard.
    pub(crate) shard: u32,
    /// Position of the image's first byte.
    pub(crate) offset: u64,
    /// Length of the image in bytes.
    pub(crate) length: u64,
}

/// One image: a file, or a part of a tar shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Path under the data folder; in a shard, its name there behind the shard's path.
    pub(crate) path: PathBuf,
    /// Index of its class.
    pub(crate) label: u32,
    /// Place of the image in its shard; none for a file of its own.
    pub(crate) part: Option<Part>,
}

/// The classes and images of a data folder; images are sorted by class and path, in shards by shard and
/// place.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) folder: PathBuf,
    /// The rules by which the folder was read.
    pub(crate) rules: Rules,
    pub(crate) classes: Vec<String>,
    pub(crate) train: Vec<Entry>,
    pub(crate) validation: Vec<Entry>,
    /// Whether the images lie in folders of their splits.
    pub(crate) given: bool,
    /// Whether the validation images were held out by a rule, since the folder does not say which they are.
    pub(crate) held_out: bool,
    /// Paths of the shards under the data folder; empty if images are files.
    pub(crate) shards: Vec<PathBuf>,
    /// Samples of shards without an image, or without a class.
    pub(crate) incomplete: u64,
    /// Files and folders that are passed over.
    pub(crate) passed: Passed,
}
