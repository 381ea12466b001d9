//! Why a folder is no data set.

use std::path::PathBuf;

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
        "class \"{class}\" has no images in {}{}: expected at least one; add images or remove the folder",
        folder.display(),
        others.as_ref().map_or(String::new(), |others| format!(", only {others}"))
    )]
    EmptyClass {
        /// The folder of the class.
        folder: PathBuf,
        /// Its name.
        class: String,
        /// Files in it that are no images.
        others: Option<String>,
    },
    /// No class folder has a picture.
    #[error(
        "data folder {} has no pictures: {others} in {classes} class folders; expected image files in each",
        folder.display()
    )]
    NoPictures {
        /// The folder.
        folder: PathBuf,
        /// Class folders in it.
        classes: usize,
        /// What they hold.
        others: String,
    },
    /// Two folders that would be one class by mistake.
    #[error(
        "{} and {} are both written \"{class}\": expected class folders that can be told apart; rename one of them",
        first.display(),
        second.display()
    )]
    SameName {
        /// A folder.
        first: PathBuf,
        /// Another one.
        second: PathBuf,
        /// What both are written as.
        class: String,
    },
    /// Splits under names that they do not have here.
    #[error("data folder {} has splits in place of class folders: {splits}; {advice}", folder.display())]
    SplitsAsClasses {
        /// The folder.
        folder: PathBuf,
        /// The splits' names.
        splits: String,
        /// What to rename, or to give.
        advice: String,
    },
    /// Two folders that could each be the validation split.
    #[error(
        "data folder {} has both {first}/ and {second}/: expected one validation split; move one of them elsewhere",
        folder.display()
    )]
    TwoValidationFolders {
        /// The folder.
        folder: PathBuf,
        /// One of them.
        first: String,
        /// The other one.
        second: String,
    },
    /// The classes are further below.
    #[error(
        "data folder {} has no classes of its own: {} has {found}: give that",
        folder.display(),
        inner.display()
    )]
    OneTooHigh {
        /// The folder.
        folder: PathBuf,
        /// The folder to give.
        inner: PathBuf,
        /// What is in that.
        found: String,
    },
    /// A compressed shard.
    #[error("{} is a compressed tar: expected tar shards that are not compressed; unpack it (gunzip)", path.display())]
    PackedShard {
        /// The shard.
        path: PathBuf,
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
        validation.display(),
        folder.display()
    )]
    FlatValidation {
        /// The data folder.
        folder: PathBuf,
        /// The folder of its validation split.
        validation: PathBuf,
        /// Files found there.
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
