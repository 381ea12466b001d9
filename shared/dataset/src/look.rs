//! The inspection of a data folder before a run begins: the first bytes of every image tell its kind, and
//! whether enough images can be read.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::thread;

use limits::Count;

use crate::entry::{Entry, Index};
use crate::kind::FileKind;
use crate::passed::{Passed, Reason, other_files};
use crate::refusal::Refusal;

/// Largest fraction (0 to 1) of the training images, and of the validation images, that may be unreadable;
/// with more, a data folder is refused.
pub const MOST_LEFT_OUT: f64 = 0.05;
/// Number of files opened at once: a file system behind a network answers slowly, but many requests at a
/// time.
const THREADS: usize = 16;
/// Number of images that are named in an error.
const EXAMPLES: usize = 3;

/// The findings of the inspection of a data folder, which looks at the first bytes of every image file to
/// tell whether it can be read.
#[derive(Clone, Debug)]
pub struct Look {
    /// Path of the data folder that was inspected.
    pub folder: PathBuf,
    /// Names of the classes, in label order.
    pub classes: Vec<String>,
    /// Findings about the training split.
    pub train: SplitLook,
    /// Findings about the validation split.
    pub validation: SplitLook,
    /// Whether the validation images are a fifth of the images, chosen by a hash of their names, because the
    /// data folder has no validation split.
    pub held_out: bool,
    /// The files and folders that are not part of the data set.
    pub passed: Passed,
    /// Number of files, at any depth, in the folders that are left out of the data set.
    pub files_in_passed_folders: u64,
}

/// The findings of the inspection of one split of a data folder: its training or its validation images.
#[derive(Clone, Debug, Default)]
pub struct SplitLook {
    /// Number of images of each class that can be read, as far as their first bytes tell, in label order.
    pub pictures: Vec<u64>,
    /// Number of images of each class that cannot be read, in label order.
    pub left_out: Vec<u64>,
    /// Number of files of each kind among the samples, as their first bytes tell; files that could not be
    /// opened are not counted.
    pub kinds: BTreeMap<FileKind, u64>,
    /// Number of files that could not be opened or read.
    pub unreadable: u64,
    /// Number of samples in tar shards that lack their image or their class.
    pub incomplete: u64,
    /// Sizes in bytes of the images that could be opened: the smallest, the median and the largest; zeros if
    /// there are none.
    pub bytes: [u64; 3],
    /// The images that cannot be read: the path of each, relative to the data folder, and the reason.
    pub reasons: Vec<(PathBuf, String)>,
    /// The labels of `reasons`.
    labels_left_out: Vec<u32>,
}

/// The reasons why a data folder is unsuitable for training.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// Too many images of a split cannot be read.
    #[error(
        "{left_out} of {pictures} {split} pictures in {} cannot be read, expected at most {} %: {examples}",
        folder.display(),
        MOST_LEFT_OUT * 100.0
    )]
    TooManyLeftOut {
        /// The data folder.
        folder: PathBuf,
        /// The split: "training" or "validation".
        split: &'static str,
        /// Number of images that cannot be read.
        left_out: u64,
        /// Number of images in the split.
        pictures: u64,
        /// Some of the unreadable images, with the reasons.
        examples: String,
    },
    /// A class has no readable training image.
    #[error(
        "class \"{class}\" in {} has no training picture that can be read: {examples}; put pictures there, or remove the class",
        folder.display()
    )]
    UnreadableClass {
        /// The data folder.
        folder: PathBuf,
        /// Name of the class.
        class: String,
        /// Some of the class's image files, with the reasons why they cannot be read.
        examples: String,
    },
}

impl Look {
    pub(crate) fn at(index: &Index, classes: &[String]) -> Look {
        let count = |folder: &Path| files_below(&index.folder.join(folder));
        let mut train = SplitLook::at(index, &index.train, classes.len());
        train.incomplete = index.incomplete;
        Look {
            folder: index.folder.clone(),
            classes: classes.to_vec(),
            train,
            validation: SplitLook::at(index, &index.validation, classes.len()),
            held_out: index.held_out,
            files_in_passed_folders: index.passed.all_folders().map(count).sum(),
            passed: index.passed.clone(),
        }
    }

    /// Checks whether the data folder is suitable for training.
    ///
    /// # Errors
    /// [`Unfit`] if more than [`MOST_LEFT_OUT`] of the images of a split, or all training images of a class,
    /// cannot be read.
    pub fn check(&self) -> Result<(), Unfit> {
        for (split, look) in [("training", &self.train), ("validation", &self.validation)] {
            let (left_out, pictures) = (look.all_left_out(), look.all());
            if left_out as f64 > MOST_LEFT_OUT * pictures as f64 {
                let folder = self.folder.clone();
                let examples = look.examples(|_| true);
                return Err(Unfit::TooManyLeftOut { folder, split, left_out, pictures, examples });
            }
        }
        match self
            .train
            .pictures
            .iter()
            .zip(&self.train.left_out)
            .position(|(&read, &left)| read == 0 && left > 0)
        {
            Some(label) => Err(Unfit::UnreadableClass {
                folder: self.folder.clone(),
                class: self.classes[label].clone(),
                examples: self.train.examples(|number| self.train.labels_left_out[number] as usize == label),
            }),
            None => Ok(()),
        }
    }

    /// Returns the numbers of files of each kind in the data folder as text, such as "2,310 JPEG images, 41
    /// PNG images, 3 HEIC photographs (not read), 12 other files (json, txt)".
    pub fn summary(&self) -> String {
        let mut kinds = self.train.kinds.clone();
        self.validation.kinds.iter().for_each(|(&kind, count)| *kinds.entry(kind).or_default() += count);
        let mut kinds: Vec<(FileKind, u64)> = kinds.into_iter().collect();
        kinds.sort_by_key(|&(kind, count)| (!kind.is_read(), std::cmp::Reverse(count)));
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        let mut parts: Vec<String> = kinds
            .into_iter()
            .map(|(kind, count)| {
                let unread = if kind.is_read() { "" } else { " (not read)" };
                format!("{} {}{}{unread}", Count(count), kind.name(), plural(count))
            })
            .collect();
        let unreadable = self.train.unreadable + self.validation.unreadable;
        if unreadable > 0 {
            parts.push(format!("{} file{} that cannot be opened", Count(unreadable), plural(unreadable)));
        }
        if self.train.incomplete > 0 {
            let count = self.train.incomplete;
            parts.push(format!("{} incomplete sample{} of shards", Count(count), plural(count)));
        }
        let others = self.passed.files(Reason::Other);
        if !others.is_empty() {
            parts.push(other_files(others));
        }
        parts.join(", ")
    }
}

impl SplitLook {
    fn at(index: &Index, entries: &[Entry], classes: usize) -> SplitLook {
        let mut look =
            SplitLook { pictures: vec![0; classes], left_out: vec![0; classes], ..SplitLook::default() };
        let mut sizes = Vec::with_capacity(entries.len());
        for (entry, seen) in entries.iter().zip(look_at_all(index, entries)) {
            let reason = match seen {
                Ok((kind, size)) => {
                    *look.kinds.entry(kind).or_default() += 1;
                    sizes.push(size);
                    (!kind.is_read()).then(|| format!("{kind}, {}", kind.advice()))
                }
                Err(text) => {
                    look.unreadable += 1;
                    Some(text)
                }
            };
            let label = entry.label as usize;
            match reason {
                None => look.pictures[label] += 1,
                Some(reason) => {
                    look.left_out[label] += 1;
                    look.labels_left_out.push(entry.label);
                    look.reasons.push((entry.path.clone(), reason));
                }
            }
        }
        sizes.sort_unstable();
        if let (Some(&least), Some(&largest)) = (sizes.first(), sizes.last()) {
            look.bytes = [least, sizes[sizes.len() / 2], largest];
        }
        look
    }

    /// Returns the number of images of all classes, whether they can be read or not; samples in tar shards
    /// that lack their image or their class count too.
    pub fn all(&self) -> u64 {
        self.pictures.iter().sum::<u64>() + self.all_left_out()
    }

    /// Returns the number of images of all classes that cannot be read; samples in tar shards that lack their
    /// image or their class count too.
    pub fn all_left_out(&self) -> u64 {
        self.left_out.iter().sum::<u64>() + self.incomplete
    }

    /// Returns a text with some of the unreadable images, namely those whose index in the list of reasons
    /// `of` accepts.
    fn examples(&self, of: impl Fn(usize) -> bool) -> String {
        let chosen = self.reasons.iter().enumerate().filter(|(number, _)| of(*number));
        let shown: Vec<String> = chosen
            .take(EXAMPLES)
            .map(|(_, (path, reason))| format!("{} is {reason}", path.display()))
            .collect();
        if shown.is_empty() {
            "the log names the incomplete samples of shards".to_owned()
        } else {
            shown.join("; ")
        }
    }
}

/// The kind and size in bytes of a file, or the reason why it cannot be read.
type Seen = Result<(FileKind, u64), String>;

fn look_at_all(index: &Index, entries: &[Entry]) -> Vec<Seen> {
    let share = entries.len().div_ceil(THREADS).max(1);
    let look_at_share = |share: &[Entry]| -> Vec<Seen> {
        // The shard that was read last: neighbours mostly lie in the same one.
        let mut shard: Option<(u32, File)> = None;
        share.iter().map(|entry| look_at(index, entry, &mut shard)).collect()
    };
    thread::scope(|scope| {
        let threads: Vec<_> =
            entries.chunks(share).map(|share| scope.spawn(|| look_at_share(share))).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("looking at a file does not panic"))
            .collect()
    })
}

fn look_at(index: &Index, entry: &Entry, shard: &mut Option<(u32, File)>) -> Seen {
    let mut start = Vec::with_capacity(FileKind::FIRST_BYTES);
    let mut look = || -> io::Result<u64> {
        match &entry.part {
            None => {
                let mut file = File::open(index.folder.join(&entry.path))?;
                let size = file.metadata()?.len();
                file.by_ref().take(FileKind::FIRST_BYTES as u64).read_to_end(&mut start)?;
                Ok(size)
            }
            Some(part) => {
                if shard.as_ref().is_none_or(|(open, _)| *open != part.shard) {
                    let path = index.folder.join(&index.shards[part.shard as usize]);
                    *shard = Some((part.shard, File::open(path)?));
                }
                let (_, file) = shard.as_mut().expect("it was just opened");
                file.seek(SeekFrom::Start(part.offset))?;
                file.take(part.length.min(FileKind::FIRST_BYTES as u64)).read_to_end(&mut start)?;
                Ok(part.length)
            }
        }
    };
    let size = look().map_err(|error| format!("a file that cannot be read ({})", Refusal::from(error)))?;
    Ok((FileKind::of(&start), size))
}

/// Returns the number of files below a folder, as far as it can be listed; links are not followed.
fn files_below(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let count = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => files_below(&entry.path()),
        _ => 1,
    };
    entries.flatten().map(count).sum()
}
