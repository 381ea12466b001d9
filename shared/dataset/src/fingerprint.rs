//! Fingerprints of data sets, by which two processes find out whether they have the same data.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use files::{Digest, Digester};

use crate::entry::{Entry, Index, look_at_all};
use crate::names;
use crate::rules::Rules;

/// Number of files whose content is hashed.
const SAMPLE: usize = 64;
/// Largest number of bytes of each of these files that are hashed.
const MOST_BYTES: u64 = 1 << 20;

/// The fingerprint of a data set: its numbers of samples, and a hash of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Number of training samples.
    pub images: u64,
    /// Number of validation samples.
    pub validation: u64,
    /// Hash of the content, in hexadecimal digits. By [`Rules::V1`] it is one hash of 64 digits over the
    /// classes and relative paths of both splits. By [`Rules::V2`] it is
    /// `2:training:validation:sizes:content`: four hashes of 32 digits each, over the classes and relative
    /// paths of each split, over the sizes of the files, and over the content of a sample of them.
    pub hash: String,
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} training and {} validation images, hash {}", self.images, self.validation, self.hash)
    }
}

impl Fingerprint {
    /// Returns whether the validation images of this set have the same classes and paths as the training
    /// images of the set whose hash is `other_hash`, so that a model of that set would be scored on images on
    /// which it was trained. Returns false for hashes of [`Rules::V1`], which do not tell.
    pub fn measures_what_was_learnt(&self, other_hash: &str) -> bool {
        let part = |hash: &str, place| hash.split(':').nth(place).map(str::to_owned);
        let measured = part(&self.hash, 2);
        measured.is_some() && measured == part(other_hash, 1)
    }

    /// Computes the fingerprint of a data folder. By [`Rules::V2`] this gets the sizes of all files and reads
    /// some of them.
    pub(crate) fn of(index: &Index) -> Fingerprint {
        let hash = match index.rules {
            Rules::V1 => names_only(index),
            Rules::V2 => named_sized_and_sampled(index),
        };
        Fingerprint { images: index.train.len() as u64, validation: index.validation.len() as u64, hash }
    }
}

fn splits(index: &Index) -> [(&'static str, &[Entry]); 2] {
    [("train", &index.train), ("val", &index.validation)]
}

/// Returns the SHA-256 over the sorted class/relative paths of both splits; for shards, whose paths have no
/// class, over classes and paths.
fn names_only(index: &Index) -> String {
    let mut hash = Digester::default();
    for (split, entries) in splits(index) {
        hash.update(format!("{split} {}\n", entries.len()));
        for entry in entries {
            if entry.part.is_some() {
                hash.update(format!("{} ", entry.label));
            }
            let under = entry.path.strip_prefix(split).unwrap_or(&entry.path);
            for part in under {
                hash.update(b"/");
                hash.update(part.as_encoded_bytes());
            }
            hash.update(b"\n");
        }
    }
    hash.finish().to_string()
}

fn named_sized_and_sampled(index: &Index) -> String {
    let (mut sized, mut sampled) = (Digester::default(), Digester::default());
    let mut named = Vec::new();
    let mut least = Vec::new();
    for (split, entries) in splits(index) {
        let mut names = Digester::default();
        for (entry, size) in entries.iter().zip(sizes(index, entries)) {
            let name = format!("{} {}\n", entry.label, own_path(index, entry));
            names.update(&name);
            sized.update(size.to_le_bytes());
            // Which files are sampled depends on their names alone, so that everybody reads the same ones.
            least.push((Digest::of(split.to_owned() + &name), entry));
            if least.len() >= 4 * SAMPLE {
                keep_least(&mut least);
            }
        }
        named.push(names.finish().start(16));
    }
    keep_least(&mut least);
    let mut contents: Vec<_> = least.into_iter().map(|(_, entry)| content(index, entry)).collect();
    // In an order of their own, so that another name is no other content.
    contents.sort_unstable();
    contents.iter().for_each(|content| sampled.update(content));
    format!("2:{}:{}:{}", named.join(":"), sized.finish().start(16), sampled.finish().start(16))
}

fn keep_least<H: Ord>(candidates: &mut Vec<(H, &Entry)>) {
    candidates.sort_by(|a, b| a.0.cmp(&b.0));
    candidates.truncate(SAMPLE);
}

/// Returns the path of an image without the folder of its split.
fn own_path(index: &Index, entry: &Entry) -> String {
    let splits = usize::from(index.given);
    names::key(&entry.path.iter().skip(splits).collect::<std::path::PathBuf>())
}

/// Returns the sizes of the images in bytes; `u64::MAX` for a file whose size cannot be read.
fn sizes(index: &Index, entries: &[Entry]) -> Vec<u64> {
    let size = |entry: &Entry| match &entry.part {
        Some(part) => part.length,
        None => fs::metadata(index.folder.join(&entry.path)).map_or(u64::MAX, |file| file.len()),
    };
    look_at_all(entries, size)
}

/// Returns a hash of the first bytes of an image, or a fixed value if it cannot be read.
fn content(index: &Index, entry: &Entry) -> [u8; 32] {
    let read = || {
        let mut bytes = Vec::new();
        match &entry.part {
            None => File::open(index.folder.join(&entry.path))?.take(MOST_BYTES).read_to_end(&mut bytes)?,
            Some(part) => {
                let mut shard = File::open(shard(index, part.shard))?;
                shard.seek(SeekFrom::Start(part.offset))?;
                shard.take(part.length.min(MOST_BYTES)).read_to_end(&mut bytes)?
            }
        };
        Ok::<_, std::io::Error>(*Digest::of(&bytes).as_bytes())
    };
    read().unwrap_or([0; 32])
}

fn shard(index: &Index, number: u32) -> std::path::PathBuf {
    index.folder.join::<&Path>(&index.shards[number as usize])
}
