//! The data for training and evaluation, which are a folder or the synthetic set, and the rules by which a
//! run reads them.

use std::path::PathBuf;

use anyhow::Context;
use dataset::{Dataset, Rules};
use settings::RunConfiguration;

/// Side of the network's input, in pixels, for which the synthetic set is opened if only its classes and its
/// fingerprint (a hash for comparing data sets) are needed. The fingerprint depends on it, so every process
/// of a run must use this one.
pub const ANY_SIZE: usize = 64;

/// The data on which a network is trained or evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A data folder, which has images in class folders or in tar shards (archives of samples).
    Folder(PathBuf),
    /// The synthetic set, whose images the program generates itself.
    Synthetic {
        /// Number of training images.
        images: usize,
        /// Number of validation images.
        validation: usize,
    },
}

impl Data {
    /// Returns the synthetic set, whose images the program draws itself, in the size that every process of a
    /// run uses if no data folder is named: 20,000 training and 1,000 validation images.
    pub const fn synthetic() -> Data {
        Data::Synthetic { images: 20_000, validation: 1_000 }
    }

    /// Opens the data set. `rules` are those by which a data folder is read; `size` is the side in pixels of
    /// the network inputs for which the images of the synthetic set are drawn.
    ///
    /// # Errors
    /// If the data folder cannot be used as a data set.
    pub fn open(&self, size: usize, rules: Rules) -> anyhow::Result<Dataset> {
        match self {
            Data::Folder(folder) => Ok(Dataset::open(folder, rules)?),
            Data::Synthetic { images, validation } => Ok(Dataset::synthetic(*images, *validation, size)),
        }
    }

    /// Checks that the data folder can be listed and is not empty, without opening it as a data set. The
    /// synthetic set always passes.
    ///
    /// # Errors
    /// If the data folder does not exist, is not a folder, cannot be listed, or is empty.
    pub fn check_is_there(&self) -> anyhow::Result<()> {
        match self {
            Data::Folder(folder) => Ok(dataset::check_is_there(folder)?),
            Data::Synthetic { .. } => Ok(()),
        }
    }
}

/// Returns the version of the rules by which a run with this configuration reads a data folder: which files
/// are samples, and which of them are held out for validation.
///
/// # Errors
/// If this release does not know the version that the configuration gives.
pub fn rules(configuration: &RunConfiguration) -> anyhow::Result<Rules> {
    let number = configuration.run.data_rules();
    Rules::of(number).with_context(|| {
        format!(
            "the run reads its data by rules {number}, this release knows up to {}: start it from the server's release",
            Rules::NEWEST.number()
        )
    })
}
