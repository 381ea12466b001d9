//! The reasons why a folder cannot be used as a data set.

use std::path::PathBuf;

use crate::refusal::Refusal;

/// The reasons why a folder cannot be used as a data set.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The data folder, or a folder that is expected in it, does not exist.
    #[error("data folder {} is not there: {EXPECTED}; check the path", folder.display())]
    Missing {
        /// The data folder, or the folder in it that the error is about.
        folder: PathBuf,
    },
    /// The path that was given as a data folder is that of a file.
    #[error("data folder {} is not a folder: {EXPECTED}", folder.display())]
    NotAFolder {
        /// Path of the file that was given as a folder.
        folder: PathBuf,
    },
    /// The system refuses to list the data folder or a folder in it.
    #[error("data folder {} cannot be listed: {refusal}", folder.display())]
    Unreadable {
        /// The data folder, or the folder in it that the error is about.
        folder: PathBuf,
        /// Refusal of the system.
        refusal: Refusal,
    },
    /// The data folder is empty.
    #[error("data folder {} is empty: {EXPECTED}", folder.display())]
    Empty {
        /// The data folder, or the folder in it that the error is about.
        folder: PathBuf,
    },
    /// The data folder, or the folder of one of its splits, has files, but no class folders.
    #[error(
        "data folder {} has no class folders, only {files} files: {EXPECTED}; put each image in the folder of its class",
        folder.display()
    )]
    NoClasses {
        /// The data folder, or the folder in it that the error is about.
        folder: PathBuf,
        /// Number of files in the folder.
        files: usize,
    },
    /// The data folder has a single class; training needs at least two.
    #[error("data folder {} has the one class \"{class}\": expected at least two", folder.display())]
    OneClass {
        /// The data folder, or the folder in it that the error is about.
        folder: PathBuf,
        /// Name of the class.
        class: String,
    },
    /// A class folder has no images.
    #[error(
        "class \"{class}\" has no images in {}{}: expected at least one; add images or remove the folder",
        folder.display(),
        others.as_ref().map_or(String::new(), |others| format!(", only {others}"))
    )]
    EmptyClass {
        /// The folder of the class.
        folder: PathBuf,
        /// Name of the class.
        class: String,
        /// Description of the files in the class folder that are not images, if there are any.
        others: Option<String>,
    },
    /// No class folder has an image.
    #[error(
        "data folder {} has no pictures: {others} in {classes} class folders; expected image files in each",
        folder.display()
    )]
    NoPictures {
        /// The data folder, or the folder in it that the error is about.
        folder: PathBuf,
        /// Number of class folders in the folder.
        classes: usize,
        /// Description of the files that the class folders hold instead.
        others: String,
    },
    /// Two class folders have names that look the same as text.
    #[error(
        "{} and {} are both written \"{class}\": expected class folders that can be told apart; rename one of them",
        first.display(),
        second.display()
    )]
    SameName {
        /// Path of one of the two class folders.
        first: PathBuf,
        /// Path of the other class folder.
        second: PathBuf,
        /// Name that both class folders have as text.
        class: String,
    },
    /// The folders that should be classes are splits under other names than `train` and `val`, such as
    /// `training` and `test`.
    #[error("data folder {} has splits in place of class folders: {splits}; {advice}", folder.display())]
    SplitsAsClasses {
        /// The data folder, or the folder in it that the error is about.
        folder: PathBuf,
        /// Names of the folders that are splits, separated by commas.
        splits: String,
        /// Advice: what to rename, or which folder to give instead.
        advice: String,
    },
    /// Two folders could each be the validation split.
    #[error(
        "data folder {} has both {first}/ and {second}/: expected one validation split; move one of them elsewhere",
        folder.display()
    )]
    TwoValidationFolders {
        /// The data folder, or the folder in it that the error is about.
        folder: PathBuf,
        /// Name of one of the two folders.
        first: String,
        /// Name of the other folder.
        second: String,
    },
    /// The class folders are in a folder below the one that was given.
    #[error(
        "data folder {} has no classes of its own: {} has {found}: give that",
        folder.display(),
        inner.display()
    )]
    OneTooHigh {
        /// The data folder, or the folder in it that the error is about.
        folder: PathBuf,
        /// The folder to give instead.
        inner: PathBuf,
        /// Description of what the folder `inner` holds.
        found: String,
    },
    /// A tar shard, which is an archive of samples, is compressed, as in `.tar.gz`; only plain `.tar` files
    /// are read.
    #[error("{} is a compressed tar: expected tar shards that are not compressed; unpack it (gunzip)", path.display())]
    PackedShard {
        /// Path of the tar shard.
        path: PathBuf,
    },
    /// A class of the validation split has no training images.
    #[error(
        "class \"{class}\" is in {} but not in train/: expected every validation class in train/; add training images or remove it",
        folder.display()
    )]
    ValidationOnly {
        /// The folder of the class in the validation split.
        folder: PathBuf,
        /// Name of the class.
        class: String,
    },
    /// The validation images lie in one folder, and no file gives their classes.
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
        /// Number of files in the folder of the validation split.
        files: usize,
    },
    /// ILSVRC's ground truth has another number of lines than there are images.
    #[error(
        "ground truth {} has {lines} lines for the {images} images in {}: expected one line an image, in the order of \
         their names; check that both are whole",
        path.display(),
        folder.display()
    )]
    GroundTruth {
        /// Path of the ground truth file.
        path: PathBuf,
        /// Number of lines of the ground truth file.
        lines: usize,
        /// Number of validation images.
        images: usize,
        /// The folder of the images.
        folder: PathBuf,
    },
    /// A file of ILSVRC's development kit cannot be used.
    #[error("development kit file {}: {reason}", path.display())]
    Devkit {
        /// Path of the file of the development kit.
        path: PathBuf,
        /// Description of what is wrong with the file.
        reason: String,
    },
    /// There is a `train/`, but no validation split.
    #[error(
        "data folder {} has train/ but no val/: expected both; add val/ with one folder per class, \
         or give {} itself to have a fifth of its images held out",
        folder.display(),
        folder.join("train").display()
    )]
    NoValidationFolder {
        /// The data folder, or the folder in it that the error is about.
        folder: PathBuf,
    },
    /// Some folders have tar shards, and others do not.
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
        /// A folder with shards.
        shards: PathBuf,
        /// A folder without shards.
        others: PathBuf,
    },
    /// A tar shard, which is an archive of samples, cannot be read.
    #[error("tar shard {} cannot be read: {refusal}", path.display())]
    Shard {
        /// Path of the tar shard.
        path: PathBuf,
        /// Refusal of the system.
        refusal: Refusal,
    },
    /// No tar shard has a sample.
    #[error(
        "none of the {shards} tar shards in {} has a sample: expected members key.jpg (or .jpeg, .png) and key.cls, the \
         number of its class, one behind the other; found: {fault}",
        folder.display()
    )]
    NoSamples {
        /// Folder of the shards.
        folder: PathBuf,
        /// Number of shards.
        shards: usize,
        /// Description of what is wrong with the first shard.
        fault: String,
    },
    /// A sample in a tar shard has a class number that does not exist.
    #[error("{} is of class {class}: expected {expected}; correct its .cls or the list", sample.display())]
    ClassRange {
        /// Path of the shard, followed by the image's name in it.
        sample: PathBuf,
        /// Number of the sample's class.
        class: u32,
        /// Description of the class numbers that exist.
        expected: String,
    },
    /// The list of class names, which is the file `classes.txt` in a data folder of tar shards, cannot be
    /// used.
    #[error("class list {}: {reason}", path.display())]
    ClassList {
        /// Path of the list of class names.
        path: PathBuf,
        /// Description of what is wrong with the list.
        reason: String,
    },
    /// There is no validation image.
    #[error(
        "data folder {} has {images} training images but none for validation: expected at least one; \
         add images, or a val/ folder",
        folder.display()
    )]
    NoValidation {
        /// The data folder, or the folder in it that the error is about.
        folder: PathBuf,
        /// Number of training images.
        images: usize,
    },
}

const EXPECTED: &str = "expected train/ and val/ with one folder per class, or one folder per class; or tar shards in \
                        their place";
