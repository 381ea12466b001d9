//! The folders of a data folder that are splits, which are recognised by various names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::error::DatasetError;
use crate::names;
use crate::passed::Reason;
use crate::rules::Rules;
use crate::walk::{self, Listing, at};

/// Name of the folder of the training split.
pub(crate) const TRAIN: &str = "train";
/// Name of the folder of the validation split, as this program writes it.
pub(crate) const VAL: &str = "val";
/// Names of the folder of the validation split; upper and lower case are the same.
const VALIDATION: [&str; 3] = ["val", "valid", "validation"];

/// Number of nested folders, each alone in the one above, that are searched for classes.
const DEEPEST: usize = 8;

/// The split that a folder's name indicates, such as `seg_train` or `Test images`, which begin or end with a
/// word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Train,
    Validation,
    Test,
}

/// Words that a split's name may contain besides the one that tells which split it is.
const FILLERS: [&str; 12] = [
    "seg", "set", "data", "dataset", "image", "images", "img", "imgs", "photos", "pictures", "samples",
    "split",
];

fn says(path: &Path) -> Option<Says> {
    let name = name(path).to_lowercase();
    let mut words = words(&name);
    let (first, last) = (words.next()?, words.next_back());
    said(first).or_else(|| last.and_then(said))
}

fn said(word: &str) -> Option<Says> {
    match word {
        "train" | "training" | "trainset" | "trn" => Some(Says::Train),
        "val" | "valid" | "validation" | "valset" => Some(Says::Validation),
        "test" | "testing" | "tests" | "testset" => Some(Says::Test),
        _ => None,
    }
}

/// Returns whether a folder's name tells which split it is, and nothing else.
fn says_only(path: &Path) -> bool {
    words(&name(path).to_lowercase()).all(|word| said(word).is_some() || FILLERS.contains(&word))
}

fn words(name: &str) -> impl DoubleEndedIterator<Item = &str> {
    name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Returns the folders of the training and the validation split, as paths relative to the data folder, or
/// `None` if the folder contains the classes itself. Folders beside the splits, such as a test split, are
/// passed over.
pub(crate) fn training(
    folder: &Path,
    root: &mut Listing,
    rules: Rules,
) -> Result<Option<(PathBuf, PathBuf)>, DatasetError> {
    let train = PathBuf::from(TRAIN);
    if !root.folders.contains(&train) {
        if rules >= Rules::V2 {
            check_classes(folder, root, rules)?;
            check_level(folder, root, rules)?;
        }
        return Ok(None);
    }
    let validation = validation(folder, root, rules)?
        .ok_or_else(|| DatasetError::NoValidationFolder { folder: folder.to_owned() })?;
    leave_beside(root, &[&*train, &validation]);
    Ok(Some((train, validation)))
}

/// Returns the folder of the images to evaluate on, as a path relative to the data folder; the path is empty
/// if the folder contains the classes itself.
pub(crate) fn measured(folder: &Path, root: &mut Listing, rules: Rules) -> Result<PathBuf, DatasetError> {
    let trained = root.folders.contains(Path::new(TRAIN));
    let validation = match validation(folder, root, rules) {
        // Without train/ beside it, a folder of pictures is a class, as "valid" beside "invalid" is.
        Ok(Some(path))
            if !trained && name(&path) != VAL && !walk::list(folder, &path, rules)?.files.is_empty() =>
        {
            None
        }
        Err(_) if !trained => None,
        found => found?,
    };
    if let Some(validation) = validation {
        leave_beside(root, &[Path::new(TRAIN), &validation]);
        return Ok(validation);
    }
    if trained {
        return Err(DatasetError::NoValidationFolder { folder: folder.to_owned() });
    }
    if rules >= Rules::V2 {
        check_classes(folder, root, rules)?;
    }
    Ok(PathBuf::new())
}

/// Returns the folder of the validation split among the folders of a data folder, if there is one.
fn validation(folder: &Path, root: &Listing, rules: Rules) -> Result<Option<PathBuf>, DatasetError> {
    let named = |path: &&PathBuf| match rules {
        Rules::V1 => name(path) == VAL,
        Rules::V2 => VALIDATION.contains(&&*name(path).to_lowercase()),
    };
    let mut found = root.folders.iter().filter(named);
    match (found.next(), found.next()) {
        (Some(first), Some(second)) => Err(DatasetError::TwoValidationFolders {
            folder: folder.to_owned(),
            first: name(first),
            second: name(second),
        }),
        (first, _) => Ok(first.cloned()),
    }
}

/// Checks that no class folder is a split by its name and contains class folders itself.
fn check_classes(folder: &Path, root: &Listing, rules: Rules) -> Result<(), DatasetError> {
    let mut nested = Vec::new();
    for path in &root.folders {
        let inner = walk::list(folder, path, rules)?;
        if inner.files.is_empty() && !inner.folders.is_empty() {
            nested.push((path, inner.folders.iter().map(|path| name(path)).collect::<BTreeSet<_>>()));
        }
    }
    let suspects: Vec<_> = nested.iter().filter(|(path, _)| says(path).is_some()).collect();
    let of = |what| suspects.iter().map(|(path, _)| *path).find(|path| says(path) == Some(what));
    let (train, validation) = (of(Says::Train), of(Says::Validation));
    let shares = |(path, inner): &(&PathBuf, BTreeSet<String>), others: &[&(&PathBuf, BTreeSet<String>)]| {
        others.iter().any(|(other, others)| other != path && !others.is_disjoint(inner))
    };
    let plain: Vec<_> = suspects.iter().filter(|(path, _)| says_only(path)).collect();
    let all: Vec<_> = nested.iter().collect();
    let alike = plain.len() > 1
        || !plain.is_empty() && root.folders.len() == 1
        || plain.iter().any(|suspect| shares(suspect, &all))
        || suspects.iter().any(|suspect| shares(suspect, &suspects));
    if train.or(validation).is_none() || !alike {
        return Ok(());
    }
    let quoted = |path: &Path| format!("\"{}\"", name(path));
    let mut advice = Vec::new();
    match train {
        Some(train) => advice.push(format!("rename {} to \"{TRAIN}\"", quoted(train))),
        None => advice.push(format!("add \"{TRAIN}\" with one folder per class")),
    }
    match validation {
        Some(path) if VALIDATION.contains(&&*name(path).to_lowercase()) => {
            advice.push(format!("{} is taken as it is", quoted(path)));
        }
        Some(path) => advice.push(format!("rename {} to \"{VAL}\"", quoted(path))),
        None => advice.push(format!("add \"{VAL}\" with one folder per class")),
    }
    if let Some(train) = train {
        let shown = at(folder, train).display().to_string();
        advice.push(format!("or give {shown} itself to have a fifth of its images held out"));
    }
    Err(DatasetError::SplitsAsClasses {
        folder: folder.to_owned(),
        splits: suspects.iter().map(|(path, _)| quoted(path)).collect::<Vec<_>>().join(", "),
        advice: advice.join(", "),
    })
}

/// Checks that the folder is not one above the folder that contains the classes.
fn check_level(folder: &Path, root: &Listing, rules: Rules) -> Result<(), DatasetError> {
    let mut listing = root.clone();
    let mut path = PathBuf::new();
    for _ in 0..DEEPEST {
        if listing.folders.len() != 1 || !(listing.files.is_empty() || path.as_os_str().is_empty()) {
            break;
        }
        path = listing.folders.pop_first().expect("there is one");
        listing = walk::list(folder, &path, rules)?;
    }
    if path.as_os_str().is_empty() || listing.folders.len() < 2 || !listing.files.is_empty() {
        return Ok(());
    }
    let has_train = listing.folders.iter().any(|folder| name(folder) == TRAIN);
    let found = match has_train {
        true => "train/".to_owned(),
        false => format!("{} class folders", listing.folders.len()),
    };
    Err(DatasetError::OneTooHigh { folder: folder.to_owned(), inner: folder.join(path), found })
}

/// Records all folders except `splits` as passed over.
fn leave_beside(root: &mut Listing, splits: &[&Path]) {
    let (kept, beside) =
        std::mem::take(&mut root.folders).into_iter().partition(|path| splits.contains(&&**path));
    root.folders = kept;
    let beside: BTreeSet<PathBuf> = beside;
    beside.into_iter().for_each(|path| root.passed.folder(Reason::Beside, path));
    std::mem::take(&mut root.files).into_iter().for_each(|path| root.passed.file(Reason::Beside, path));
}

fn name(path: &Path) -> String {
    names::text(path.file_name().unwrap_or_default())
}
