//! The contents of a data folder: its classes, its images, and the place of each image.

use std::path::PathBuf;
use std::thread;

use crate::passed::Passed;
use crate::rules::Rules;

/// Number of files looked at at once: a file system behind a network answers slowly, but many requests at a
/// time.
const THREADS: usize = 16;

/// The place of an image in a tar shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Part {
    /// Index of the shard.
    pub(crate) shard: u32,
    /// Position of the image's first byte in the shard.
    pub(crate) offset: u64,
    /// Length of the image in bytes.
    pub(crate) length: u64,
}

/// One image of a data folder: a file, or a part of a tar shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Path relative to the data folder; for an image in a shard, the shard's path and the name within it.
    pub(crate) path: PathBuf,
    /// Index of the image's class.
    pub(crate) label: u32,
    /// Place of the image in its shard; `None` if it is a file of its own.
    pub(crate) part: Option<Part>,
}

/// The index of a data folder: its classes and images. Images are sorted by class and path, those in shards
/// by shard and position.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) folder: PathBuf,
    /// The rules by which the folder was read.
    pub(crate) rules: Rules,
    pub(crate) classes: Vec<String>,
    pub(crate) train: Vec<Entry>,
    pub(crate) validation: Vec<Entry>,
    /// Whether the folder itself is divided into splits.
    pub(crate) given: bool,
    /// Whether the validation images were held out by a rule, because the folder has no validation split.
    pub(crate) held_out: bool,
    /// Paths of the shards relative to the data folder; empty if the images are files.
    pub(crate) shards: Vec<PathBuf>,
    /// Number of samples of shards without an image or without a class.
    pub(crate) incomplete: u64,
    /// Files and folders that are passed over.
    pub(crate) passed: Passed,
}

/// Returns what `look` finds out of each image, such as the size of its file; several threads do so at once.
pub(crate) fn look_at_all<T: Send>(entries: &[Entry], look: impl Fn(&Entry) -> T + Sync) -> Vec<T> {
    let (look, share) = (&look, entries.len().div_ceil(THREADS).max(1));
    thread::scope(|scope| {
        let threads: Vec<_> = entries
            .chunks(share)
            .map(|share| scope.spawn(move || share.iter().map(look).collect::<Vec<_>>()))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("looking at a file does not panic"))
            .collect()
    })
}
