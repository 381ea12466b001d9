//! What is in a data folder: class folders and their image files.
//!
//! Either `train/` and `val/` hold one folder per class (as ImageNet does), or the folder itself holds them and the
//! file names decide the split. Hidden files are passed over; every other file of a class folder, however deep, is a
//! sample: what it holds is seen when it is decoded. Tar shards ([`shards`]) may take the place of class folders.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::streams::Part;
use crate::{ilsvrc, shards};

/// Every fifth file, by the hash of its name, is for validation where the folder does not say.
const VALIDATION_SHARE: u64 = 5;

/// Why a folder is no data set.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// There is no such folder.
    #[error("data folder {} is not there: {EXPECTED}; check the path", folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
    },
    /// It is a file.
    #[error("data folder {} is not a folder: {EXPECTED}", folder.display())]
    NotAFolder {
        /// The path.
        folder: PathBuf,
    },
    /// The file system refused.
    #[error("data folder {} cannot be listed: {source}", folder.display())]
    Unreadable {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nothing is in it.
    #[error("data folder {} is empty: {EXPECTED}", folder.display())]
    Empty {
        /// The folder.
        folder: PathBuf,
    },
    /// Files, but no folders.
    #[error(
        "data folder {} has no class folders, only {files} files: {EXPECTED}; put each image in the folder of its class",
        folder.display()
    )]
    NoClasses {
        /// The folder.
        folder: PathBuf,
        /// Files found in it.
        files: usize,
    },
    /// A single class folder.
    #[error("data folder {} has the one class \"{class}\": expected at least two", folder.display())]
    OneClass {
        /// The folder.
        folder: PathBuf,
        /// The class.
        class: String,
    },
    /// A class folder without files.
    #[error(
        "class \"{class}\" has no images in {}: expected at least one; add images or remove the folder",
        folder.display()
    )]
    EmptyClass {
        /// The folder of the class.
        folder: PathBuf,
        /// Its name.
        class: String,
    },
    /// A class that could not be learnt.
    #[error(
        "class \"{class}\" is in {} but not in train/: expected every validation class in train/; add training images or remove it",
        folder.display()
    )]
    ValidationOnly {
        /// The folder of the class under `val/`.
        folder: PathBuf,
        /// Its name.
        class: String,
    },
    /// Validation images without class folders, and nothing that says their classes.
    #[error(
        "{} has no class folders, only {files} files: expected one folder per class, or ILSVRC's \
         ILSVRC2012_validation_ground_truth.txt and meta.mat in {} or in its devkit/data or ILSVRC2012_devkit_t12/data",
        folder.join("val").display(),
        folder.display()
    )]
    FlatValidation {
        /// The data folder.
        folder: PathBuf,
        /// Files found in its `val/`.
        files: usize,
    },
    /// ILSVRC's ground truth is of another number of images.
    #[error(
        "ground truth {} has {lines} lines for the {images} images in {}: expected one line an image, in the order of \
         their names; check that both are whole",
        path.display(),
        folder.display()
    )]
    GroundTruth {
        /// The file.
        path: PathBuf,
        /// Lines in it.
        lines: usize,
        /// Images in the folder.
        images: usize,
        /// The folder of the images.
        folder: PathBuf,
    },
    /// A file of ILSVRC's development kit that cannot be used.
    #[error("development kit file {}: {reason}", path.display())]
    Devkit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// `train/` without `val/`.
    #[error(
        "data folder {} has train/ but no val/: expected both; add val/ with one folder per class, \
         or give {} itself to have a fifth of its images put aside",
        folder.display(),
        folder.join("train").display()
    )]
    NoValidationFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// Tar shards and something else.
    #[error(
        "data folder {} has tar shards in {} and other data in {}: expected one kind in all of it; move one of them \
         elsewhere",
        folder.display(),
        shards.display(),
        others.display()
    )]
    MixedKinds {
        /// The data folder.
        folder: PathBuf,
        /// Where shards are.
        shards: PathBuf,
        /// Where none are.
        others: PathBuf,
    },
    /// A shard that the file system refused.
    #[error("tar shard {} cannot be read: {source}", path.display())]
    Shard {
        /// The shard.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Shards without anything to use.
    #[error(
        "none of the {shards} tar shards in {} has a sample: expected members key.jpg (or .jpeg, .png) and key.cls, the \
         number of its class, one behind the other; found: {fault}",
        folder.display()
    )]
    NoSamples {
        /// Their folder.
        folder: PathBuf,
        /// How many there are.
        shards: usize,
        /// What is wrong with the first of them.
        fault: String,
    },
    /// A sample of a class that there is not.
    #[error("{} is of class {class}: expected {expected}; correct its .cls or the list", sample.display())]
    ClassRange {
        /// The image's name behind the path of its shard.
        sample: PathBuf,
        /// The number of its class.
        class: u32,
        /// Which classes there are.
        expected: String,
    },
    /// A list of class names that cannot be used.
    #[error("class list {}: {reason}", path.display())]
    ClassList {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing to measure on.
    #[error(
        "data folder {} has {images} training images but none for validation: expected at least one; \
         add images, or a val/ folder",
        folder.display()
    )]
    NoValidation {
        /// The folder.
        folder: PathBuf,
        /// Training images found.
        images: usize,
    },
}

const EXPECTED: &str = "expected train/ and val/ with one folder per class, or one folder per class; or tar shards in \
                        their place";

/// One image: a file, or a part of a tar shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Path under the data folder; in a shard, its name there behind the shard's path.
    pub(crate) path: PathBuf,
    /// Index of its class.
    pub(crate) label: u32,
    /// Where it lies in a shard.
    pub(crate) part: Option<Part>,
}

/// The classes and images of a data folder; images are sorted by class and path, in shards by shard and place.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) folder: PathBuf,
    pub(crate) classes: Vec<String>,
    pub(crate) train: Vec<Entry>,
    pub(crate) validation: Vec<Entry>,
    /// Paths of the shards under the data folder; empty if images are files.
    pub(crate) shards: Vec<PathBuf>,
}

/// Class name to its files, sorted, as paths under the data folder.
type Classes = BTreeMap<String, Vec<PathBuf>>;

impl Index {
    /// Lists a data folder; contents of files are not read.
    pub(crate) fn open(folder: &Path) -> Result<Index, DatasetError> {
        let listed = list(folder, Path::new(""))?;
        if listed.folders.is_empty() && listed.files.is_empty() {
            return Err(DatasetError::Empty { folder: folder.to_owned() });
        }
        let given = listed.folders.contains(Path::new("train"));
        if given && !listed.folders.contains(Path::new("val")) {
            return Err(DatasetError::NoValidationFolder { folder: folder.to_owned() });
        }
        let index = if shards::are_in(folder, if given { &["train", "val"] } else { &[""] })? {
            shards::open(folder, given)?
        } else {
            Index::of_files(folder, given)?
        };
        if let [class] = &index.classes[..] {
            return Err(DatasetError::OneClass { folder: folder.to_owned(), class: class.clone() });
        }
        if index.validation.is_empty() {
            return Err(DatasetError::NoValidation { folder: folder.to_owned(), images: index.train.len() });
        }
        let measured: BTreeSet<u32> = index.validation.iter().map(|entry| entry.label).collect();
        for (_, class) in (0..).zip(&index.classes).filter(|(label, _)| !measured.contains(label)) {
            tracing::warn!(class, "the class has no validation images: nothing will be measured on it");
        }
        Ok(index)
    }

    /// Class folders: those of `train/` and `val/` if they are `given`, or else the data folder's own.
    fn of_files(folder: &Path, given: bool) -> Result<Index, DatasetError> {
        let (classes, train, validation) = if given {
            let (train, validation) = given_split(folder)?;
            let (learnt, measured) = (entries(&train, &train), entries(&train, &validation));
            (train, learnt, measured)
        } else {
            let classes = classes_of(folder, Path::new(""))?;
            let (train, validation) = hashed_split(entries(&classes, &classes));
            (classes, train, validation)
        };
        let classes = names_of(folder, &classes)?;
        Ok(Index { folder: folder.to_owned(), classes, train, validation, shards: Vec::new() })
    }

    /// Lists what is only measured on: all images in the class folders or shards of `val/`, where it is there, or else in
    /// those of the folder itself. One class is enough.
    pub(crate) fn open_validation(folder: &Path) -> Result<Index, DatasetError> {
        let listed = list(folder, Path::new(""))?.folders;
        let under = match (listed.contains(Path::new("train")), listed.contains(Path::new("val"))) {
            (_, true) => "val",
            (true, false) => return Err(DatasetError::NoValidationFolder { folder: folder.to_owned() }),
            (false, false) => "",
        };
        if shards::are_in(folder, &[under])? {
            return shards::open_validation(folder, under);
        }
        let classes = match flat(folder)? {
            Some(images) if under == "val" => ilsvrc::by_class(folder, images)?,
            _ => classes_of(folder, Path::new(under))?,
        };
        Ok(Index {
            folder: folder.to_owned(),
            classes: names_of(folder, &classes)?,
            train: Vec::new(),
            validation: entries(&classes, &classes),
            shards: Vec::new(),
        })
    }

    /// SHA-256 over the sorted class/relative paths of both splits; in shards, whose paths have no class, over classes
    /// and paths.
    pub(crate) fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for (split, entries) in [("train", &self.train), ("val", &self.validation)] {
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
        hash.finalize().into()
    }
}

/// `train/` and `val/` as they are.
fn given_split(folder: &Path) -> Result<(Classes, Classes), DatasetError> {
    let under = Path::new("train");
    let train = classes_of(folder, under)?;
    let validation = match flat(folder)? {
        Some(images) => ilsvrc::by_class(folder, images)?,
        None => {
            let folders = list(folder, Path::new("val"))?.folders.into_iter();
            folders.map(|path| Ok((name(&path), files_under(folder, &path)?))).collect::<Result<_, _>>()?
        }
    };
    let only = |(class, files): &(&String, &Vec<PathBuf>)| !train.contains_key(*class) && !files.is_empty();
    if let Some((class, _)) = validation.iter().find(only) {
        let (flat, own) = (folder.join("val"), folder.join("val").join(class));
        let folder = if own.is_dir() { own } else { flat };
        return Err(DatasetError::ValidationOnly { folder, class: class.clone() });
    }
    Ok((train, validation))
}

/// The files of `val/`, if it is there and has files and no folders.
fn flat(folder: &Path) -> Result<Option<Vec<PathBuf>>, DatasetError> {
    if !folder.join("val").is_dir() {
        return Ok(None);
    }
    let Listing { folders, mut files } = list(folder, Path::new("val"))?;
    files.sort();
    Ok((folders.is_empty() && !files.is_empty()).then_some(files))
}

/// What the classes are called: the names of their folders, with the synset's words where the data folder lists them.
fn names_of(folder: &Path, classes: &Classes) -> Result<Vec<String>, DatasetError> {
    let words = ilsvrc::words(folder)?;
    let name = |class: &String| match words.get(class) {
        Some(words) => format!("{class} {words}"),
        None => class.clone(),
    };
    Ok(classes.keys().map(name).collect())
}

/// A fifth of the images put aside by the hash of their names, so that an image stays on its side when others come.
pub(crate) fn hashed_split(entries: Vec<Entry>) -> (Vec<Entry>, Vec<Entry>) {
    let learnt = entries.iter().filter(|entry| !is_validation(&entry.path));
    let mut learnt: BTreeSet<u32> = learnt.map(|entry| entry.label).collect();
    // A class that nothing is learnt about makes no sense: its first image is kept.
    let aside = |entry: &Entry| is_validation(&entry.path) && !learnt.insert(entry.label);
    let (validation, train): (Vec<_>, Vec<_>) = entries.into_iter().partition(aside);
    tracing::info!(
        classes = learnt.len(),
        training = train.len(),
        validation = validation.len(),
        "no train/ in the data folder: about a fifth of the images is put aside for validation, by a hash of their names"
    );
    (train, validation)
}

fn is_validation(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let hash: [u8; 32] = Sha256::digest(name).into();
    let [a, b, c, d, e, f, g, h, ..] = hash;
    u64::from_le_bytes([a, b, c, d, e, f, g, h]) % VALIDATION_SHARE == 0
}

fn entries(numbered: &Classes, classes: &Classes) -> Vec<Entry> {
    let labels = numbered.keys().zip(0u32..);
    labels
        .flat_map(|(class, label)| {
            let files = classes.get(class).map(Vec::as_slice).unwrap_or_default();
            files.iter().map(move |path| Entry { path: path.clone(), label, part: None })
        })
        .collect()
}

/// The class folders of `folder`/`under`, each with at least one file.
fn classes_of(folder: &Path, under: &Path) -> Result<Classes, DatasetError> {
    let listed = list(folder, under)?;
    if listed.folders.is_empty() {
        return Err(DatasetError::NoClasses { folder: at(folder, under), files: listed.files.len() });
    }
    let mut classes = Classes::new();
    for path in listed.folders {
        let (class, files) = (name(&path), files_under(folder, &path)?);
        if files.is_empty() {
            return Err(DatasetError::EmptyClass { folder: folder.join(path), class });
        }
        classes.insert(class, files);
    }
    Ok(classes)
}

/// All files of a class folder and of the folders in it, sorted.
fn files_under(folder: &Path, class: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let mut files = Vec::new();
    let mut open = vec![class.to_owned()];
    while let Some(under) = open.pop() {
        let listed = list(folder, &under)?;
        files.extend(listed.files);
        // A linked folder could lead back to this one; a class folder itself may be a link.
        open.extend(listed.folders.into_iter().filter(|path| !folder.join(path).is_symlink()));
    }
    files.sort();
    Ok(files)
}

/// Entries of one folder that are not hidden, as paths under the data folder.
pub(crate) struct Listing {
    pub(crate) folders: BTreeSet<PathBuf>,
    pub(crate) files: Vec<PathBuf>,
}

pub(crate) fn list(folder: &Path, under: &Path) -> Result<Listing, DatasetError> {
    let at = at(folder, under);
    let refused = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => DatasetError::Missing { folder: at.clone() },
        ErrorKind::NotADirectory => DatasetError::NotAFolder { folder: at.clone() },
        _ => DatasetError::Unreadable { folder: at.clone(), source },
    };
    let mut listing = Listing { folders: BTreeSet::new(), files: Vec::new() };
    for entry in fs::read_dir(&at).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let mut kind = entry.file_type().map_err(refused)?;
        if kind.is_symlink() {
            // A broken link is a sample that cannot be read: it is named when it is tried.
            kind = fs::metadata(entry.path()).map_or(kind, |target| target.file_type());
        }
        if kind.is_dir() {
            listing.folders.insert(under.join(name));
        } else if kind.is_file() || kind.is_symlink() {
            listing.files.push(under.join(name));
        }
    }
    Ok(listing)
}

/// `folder`/`under`, without a slash at its end where `under` is empty.
pub(crate) fn at(folder: &Path, under: &Path) -> PathBuf {
    if under.as_os_str().is_empty() { folder.to_owned() } else { folder.join(under) }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_stays_on_its_side_when_others_go() {
        let entries = |kept: &dyn Fn(&u32) -> bool| {
            let entry =
                |number| Entry { path: format!("a/{number}.jpg").into(), label: number % 2, part: None };
            (0..200).filter(kept).map(entry).collect::<Vec<_>>()
        };
        let (train, validation) = hashed_split(entries(&|_| true));
        let (fewer_train, fewer_validation) = hashed_split(entries(&|number| number % 10 != 7));
        assert!(fewer_train.iter().all(|entry| train.contains(entry)));
        assert!(fewer_validation.iter().all(|entry| validation.contains(entry)));
        assert_eq!(train.len() + validation.len(), 200);
        assert!(!fewer_validation.is_empty() && fewer_validation.len() < validation.len());
    }
}
