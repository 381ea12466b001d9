//! The data for training and evaluation, which are a folder or the synthetic set, and the rules by which a
//! run reads them.

use std::path::PathBuf;

use anyhow::Context;
use dataset::{Dataset, Rules};
use settings::RunConfiguration;

/// Image size in pixels at which the synthetic set is opened if only its classes and its fingerprint are
/// needed. The fingerprint depends on the size, so every process of a run must use this one.
pub const ANY_SIZE: usize = 64;

/// The data on which a network is trained or evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A folder of images.
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
    /// Returns the synthetic set that every process of a run uses if no folder is named: 20,000 training and
    /// 1,000 validation images.
    pub const fn synthetic() -> Data {
        Data::Synthetic { images: 20_000, validation: 1_000 }
    }

    /// Opens the data set. `rules` are those by which a folder is read; `size` is the side in pixels of the
    /// images of the synthetic set.
    ///
    /// # Errors
    /// If the folder is not a data set.
    pub fn open(&self, size: usize, rules: Rules) -> anyhow::Result<Dataset> {
        match self {
            Data::Folder(folder) => Ok(Dataset::open(folder, rules)?),
            Data::Synthetic { images, validation } => Ok(Dataset::synthetic(*images, *validation, size)),
        }
    }

    /// Checks that the data exist, as far as that can be known without the rules of a run.
    ///
    /// # Errors
    /// If the folder does not exist.
    pub fn check_is_there(&self) -> anyhow::Result<()> {
        match self {
            Data::Folder(folder) => Ok(dataset::check_is_there(folder)?),
            Data::Synthetic { .. } => Ok(()),
        }
    }
}

/// Returns the rules by which a run reads its data.
///
/// # Errors
/// If this release does not know those rules.
pub fn rules(configuration: &RunConfiguration) -> anyhow::Result<Rules> {
    let number = configuration.run.data_rules();
    Rules::of(number).with_context(|| {
        format!(
            "the run reads its data by rules {number}, this release knows up to {}: start it from the server's release",
            Rules::NEWEST.number()
        )
    })
}
