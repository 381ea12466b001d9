//! What is in a data folder: class folders and their image files.
//!
//! Either `train/` and `val/` hold one folder per class (as ImageNet does), or the folder itself holds them and the
//! file names decide the split. Hidden files are passed over; every other file of a class folder, however deep, is a
//! sample: what it holds is seen when it is decoded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::ilsvrc;

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
    #[error("data folder {} has the one class \"{class}\": expected at least two class folders", folder.display())]
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

const EXPECTED: &str = "expected train/ and val/ with one folder per class, or one folder per class";

/// One image file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// Path under the data folder.
    pub(crate) path: PathBuf,
    /// Index of its class.
    pub(crate) label: u32,
}

/// The classes and files of a data folder, sorted by path.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) folder: PathBuf,
    pub(crate) classes: Vec<String>,
    pub(crate) train: Vec<Entry>,
    pub(crate) validation: Vec<Entry>,
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
        let (train, validation) = if listed.folders.contains(Path::new("train")) {
            if !listed.folders.contains(Path::new("val")) {
                return Err(DatasetError::NoValidationFolder { folder: folder.to_owned() });
            }
            given_split(folder)?
        } else {
            hashed_split(several(folder, Path::new(""), classes_of(folder, Path::new(""))?)?)
        };
        let index = Index {
            folder: folder.to_owned(),
            classes: names_of(folder, &train)?,
            train: entries(&train, &train),
            validation: entries(&train, &validation),
        };
        if index.validation.is_empty() {
            return Err(DatasetError::NoValidation { folder: folder.to_owned(), images: index.train.len() });
        }
        for class in train.keys().filter(|&class| validation.get(class).is_none_or(Vec::is_empty)) {
            tracing::warn!(class, "the class has no validation images: nothing will be measured on it");
        }
        Ok(index)
    }

    /// Lists what is only measured on: every file in the class folders of `val/`, where it is there, or else in those
    /// of the folder itself. One class is enough.
    pub(crate) fn open_validation(folder: &Path) -> Result<Index, DatasetError> {
        let listed = list(folder, Path::new(""))?.folders;
        let under = match (listed.contains(Path::new("train")), listed.contains(Path::new("val"))) {
            (_, true) => "val",
            (true, false) => return Err(DatasetError::NoValidationFolder { folder: folder.to_owned() }),
            (false, false) => "",
        };
        let classes = match flat(folder)? {
            Some(images) if under == "val" => ilsvrc::by_class(folder, images)?,
            _ => classes_of(folder, Path::new(under))?,
        };
        Ok(Index {
            folder: folder.to_owned(),
            classes: names_of(folder, &classes)?,
            train: Vec::new(),
            validation: entries(&classes, &classes),
        })
    }

    /// SHA-256 over the sorted class/relative paths of both splits.
    pub(crate) fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for (split, entries) in [("train", &self.train), ("val", &self.validation)] {
            hash.update(format!("{split} {}\n", entries.len()));
            for entry in entries {
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
    let train = several(folder, under, classes_of(folder, under)?)?;
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

/// A fifth of the files put aside by the hash of their names, so that a file stays on its side when others come.
fn hashed_split(mut train: Classes) -> (Classes, Classes) {
    let mut validation = Classes::new();
    for (class, files) in &mut train {
        let (aside, mut kept): (Vec<_>, Vec<_>) = files.drain(..).partition(|path| is_validation(path));
        let mut aside = aside.into_iter();
        if kept.is_empty() {
            kept.extend(aside.next()); // a class that nothing is learnt about makes no sense
        }
        validation.insert(class.clone(), aside.collect());
        *files = kept;
    }
    let count = |classes: &Classes| classes.values().map(Vec::len).sum::<usize>();
    tracing::info!(
        classes = train.len(),
        training = count(&train),
        validation = count(&validation),
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
            files.iter().map(move |path| Entry { path: path.clone(), label })
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

/// The classes, if there is more than one to be told apart.
fn several(folder: &Path, under: &Path, classes: Classes) -> Result<Classes, DatasetError> {
    match (classes.len(), classes.keys().next()) {
        (1, Some(class)) => Err(DatasetError::OneClass { folder: at(folder, under), class: class.clone() }),
        _ => Ok(classes),
    }
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
struct Listing {
    folders: BTreeSet<PathBuf>,
    files: Vec<PathBuf>,
}

fn list(folder: &Path, under: &Path) -> Result<Listing, DatasetError> {
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
fn at(folder: &Path, under: &Path) -> PathBuf {
    if under.as_os_str().is_empty() { folder.to_owned() } else { folder.join(under) }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(names: &[(&str, &[&str])]) -> Classes {
        let paths =
            |class: &str, files: &[&str]| files.iter().map(|file| Path::new(class).join(file)).collect();
        names.iter().map(|(class, files)| (class.to_string(), paths(class, files))).collect()
    }

    #[test]
    fn a_file_stays_on_its_side_when_others_go() {
        let names: Vec<String> = (0..200).map(|i| format!("{i}.jpg")).collect();
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        let some: Vec<&str> = all.iter().copied().filter(|name| !name.contains('7')).collect();
        let (train, validation) = hashed_split(classes(&[("a", &all)]));
        let (fewer_train, fewer_validation) = hashed_split(classes(&[("a", &some)]));
        assert!(fewer_train["a"].iter().all(|path| train["a"].contains(path)));
        assert!(fewer_validation["a"].iter().all(|path| validation["a"].contains(path)));
        assert_eq!(train["a"].len() + validation["a"].len(), 200);
        assert!(!fewer_validation["a"].is_empty() && fewer_validation["a"].len() < validation["a"].len());
    }
}
