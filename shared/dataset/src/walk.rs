//! The listing of folders: files that may be images, folders that may be classes, and the rest, which is
//! recorded.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::DatasetError;
use crate::names;
use crate::passed::{self, Passed, Reason};
use crate::rules::Rules;

/// The contents of one folder, as paths relative to the data folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    pub(crate) folders: BTreeSet<PathBuf>,
    /// Files that may be images or shards.
    pub(crate) files: Vec<PathBuf>,
    /// Files whose names tell that they are neither.
    pub(crate) others: Vec<PathBuf>,
    /// Files and folders that are passed over, `others` included.
    pub(crate) passed: Passed,
}

impl Listing {
    pub(crate) fn is_empty(&self) -> bool {
        self.folders.is_empty() && self.files.is_empty() && self.others.is_empty()
    }
}

/// Lists one folder of a data folder.
pub(crate) fn list(folder: &Path, under: &Path, rules: Rules) -> Result<Listing, DatasetError> {
    let at = at(folder, under);
    let refused = |source| refused(&at, source);
    let mut listing = Listing::default();
    for entry in fs::read_dir(&at).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let name = entry.file_name();
        let path = under.join(&name);
        let mut kind = entry.file_type().map_err(refused)?;
        if kind.is_symlink() {
            // A broken link is a sample that cannot be read: it is named when it is tried.
            kind = fs::metadata(entry.path()).map_or(kind, |target| target.file_type());
        }
        let reason = match passed::by_name(&name, kind.is_dir()) {
            Some(Reason::Hidden) => Some(Reason::Hidden),
            reason => reason.filter(|_| rules >= Rules::V2),
        };
        if let Some(reason) = reason {
            match kind.is_dir() {
                true => listing.passed.folder(reason, path),
                false => {
                    if reason == Reason::Other {
                        listing.others.push(path.clone());
                    }
                    listing.passed.file(reason, path);
                }
            }
        } else if kind.is_dir() {
            listing.folders.insert(path);
        } else if kind.is_file() || kind.is_symlink() {
            listing.files.push(path);
        } else {
            listing.passed.file(Reason::Special, path);
        }
    }
    Ok(listing)
}

/// Checks that a folder can be listed and is not empty.
///
/// # Errors
/// If the path does not exist, is not a folder, cannot be listed, or is empty.
pub fn check_is_there(folder: &Path) -> Result<(), DatasetError> {
    let mut entries = fs::read_dir(folder).map_err(|source| refused(folder, source))?;
    match entries.next() {
        Some(_) => Ok(()),
        None => Err(DatasetError::Empty { folder: folder.to_owned() }),
    }
}

fn refused(folder: &Path, source: std::io::Error) -> DatasetError {
    let folder = folder.to_owned();
    match source.kind() {
        ErrorKind::NotFound => DatasetError::Missing { folder },
        ErrorKind::NotADirectory => DatasetError::NotAFolder { folder },
        _ => DatasetError::Unreadable { folder, refusal: source.into() },
    }
}

/// Returns the files below a folder that may be images, at any depth and in the order of their names.
///
/// Files are chosen as in a class folder: hidden files, files that systems leave behind, and files whose
/// names tell that they are not images are passed over.
///
/// # Errors
/// If `folder` or a folder below it cannot be listed.
pub fn pictures_below(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let itself = BTreeSet::from([PathBuf::new()]);
    let listed = class_folders(folder, &itself, Rules::NEWEST, &mut Passed::default())?;
    Ok(listed.into_iter().flat_map(|listed| listed.files).map(|file| folder.join(file)).collect())
}

/// The files in one class folder, at any depth.
#[derive(Debug)]
pub(crate) struct ClassFolder {
    /// Path of the folder relative to the data folder.
    pub(crate) path: PathBuf,
    /// Files that may be images, sorted.
    pub(crate) files: Vec<PathBuf>,
    /// Files whose names tell that they are not images.
    pub(crate) others: Vec<PathBuf>,
}

/// Lists class folders with everything below them.
///
/// A class folder may be a link, unless its target is itself a class folder. A link below a class folder is
/// followed unless its target lies in one of the class folders already, or contains one of them.
pub(crate) fn class_folders(
    folder: &Path,
    paths: &BTreeSet<PathBuf>,
    rules: Rules,
    passed: &mut Passed,
) -> Result<Vec<ClassFolder>, DatasetError> {
    let mut walk = Walk { folder, rules, passed, seen: HashSet::new(), links: VecDeque::new() };
    let mut classes = Vec::new();
    let mut roots = Vec::new();
    let is_link = |path: &&PathBuf| folder.join(path).is_symlink();
    let own: HashSet<&PathBuf> = paths.iter().filter(|path| !is_link(path)).collect();
    let mut taken = own.iter().map(|path| walk.real(path)).collect::<Result<HashSet<_>, _>>()?;
    for path in paths {
        let root = walk.real(path)?;
        if rules >= Rules::V2 && !own.contains(path) && !taken.insert(root.clone()) {
            walk.passed.folder(Reason::Link, path.clone());
            continue;
        }
        let mut class = ClassFolder { path: path.clone(), files: Vec::new(), others: Vec::new() };
        walk.below(&mut class, classes.len(), path.clone(), root.clone())?;
        roots.push(root);
        classes.push(class);
    }
    while let Some((number, link)) = walk.links.pop_front() {
        let real = walk.real(&link)?;
        if walk.seen.contains(&real) || roots.iter().any(|root| root.starts_with(&real)) {
            walk.passed.folder(Reason::Link, link);
        } else {
            walk.below(&mut classes[number], number, link, real)?;
        }
    }
    for class in &mut classes {
        match rules {
            Rules::V1 => class.files.sort(),
            Rules::V2 => names::sort(&mut class.files),
        }
    }
    Ok(classes)
}

/// A walk through class folders.
struct Walk<'a> {
    folder: &'a Path,
    rules: Rules,
    passed: &'a mut Passed,
    /// Folders that have been listed, as paths without links.
    seen: HashSet<PathBuf>,
    /// Linked folders that are still to be listed, each with the index of its class; they are resolved once
    /// all others have been listed.
    links: VecDeque<(usize, PathBuf)>,
}

impl Walk<'_> {
    /// Returns a folder's path without links.
    fn real(&self, path: &Path) -> Result<PathBuf, DatasetError> {
        let path = self.folder.join(path);
        path.canonicalize().map_err(|error| DatasetError::Unreadable { folder: path, refusal: error.into() })
    }

    /// Adds the files below `path`, whose path without links is `real`, to a class.
    fn below(
        &mut self,
        class: &mut ClassFolder,
        number: usize,
        path: PathBuf,
        real: PathBuf,
    ) -> Result<(), DatasetError> {
        let mut open = vec![(path, real)];
        while let Some((path, real)) = open.pop() {
            let listing = list(self.folder, &path, self.rules)?;
            class.files.extend(listing.files.into_iter().filter(|path| {
                let shard = self.rules >= Rules::V2 && passed::extension(path).as_deref() == Some("tar");
                if shard {
                    class.others.push(path.clone());
                    self.passed.file(Reason::Other, path.clone());
                }
                !shard
            }));
            class.others.extend(listing.others);
            self.passed.add(listing.passed);
            for inner in listing.folders {
                if !self.folder.join(&inner).is_symlink() {
                    let real = real.join(inner.file_name().unwrap_or_default());
                    match self.seen.contains(&real) {
                        true => self.passed.folder(Reason::Link, inner),
                        false => open.push((inner, real)),
                    }
                } else if self.rules >= Rules::V2 {
                    self.links.push_back((number, inner));
                } else {
                    self.passed.folder(Reason::Link, inner);
                }
            }
            self.seen.insert(real);
        }
        Ok(())
    }
}

/// Returns the path `folder`/`under`, without a slash at its end if `under` is empty.
pub(crate) fn at(folder: &Path, under: &Path) -> PathBuf {
    if under.as_os_str().is_empty() { folder.to_owned() } else { folder.join(under) }
}
