//! Data that are trained and measured on, a folder or the synthetic set, and how a run's settings have them
//! read.

use std::path::PathBuf;

use anyhow::Context;
use dataset::{Dataset, Rules};
use settings::RunConfiguration;

/// Size at which the synthetic set is opened where only its classes and its fingerprint are asked for. The
/// fingerprint depends on the size, so that every process of a run takes this one.
pub const ANY_SIZE: usize = 64;

/// Data that a network is trained or measured on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A folder of photographs.
    Folder(PathBuf),
    /// The synthetic set, which the program draws itself.
    Synthetic {
        /// Training images.
        images: usize,
        /// Validation images.
        validation: usize,
    },
}

impl Data {
    /// Returns the synthetic set that every process of a run uses where no folder is named.
    pub const fn synthetic() -> Data {
        Data::Synthetic { images: 20_000, validation: 1_000 }
    }

    /// Opens the data for crops of `size` pixels.
    ///
    /// # Errors
    /// A folder that is no data set.
    pub fn open(&self, size: usize, rules: Rules) -> anyhow::Result<Dataset> {
        match self {
            Data::Folder(folder) => Ok(Dataset::open(folder, rules)?),
            Data::Synthetic { images, validation } => Ok(Dataset::synthetic(*images, *validation, size)),
        }
    }

    /// Checks that the data can be opened at all, as far as that can be known without the rules of a run.
    ///
    /// # Errors
    /// A folder that is not there.
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
/// Rules that this release does not know.
pub fn rules(configuration: &RunConfiguration) -> anyhow::Result<Rules> {
    let number = configuration.run.data_rules();
    Rules::of(number).with_context(|| {
        format!(
            "the run reads its data by rules {number}, this release knows up to {}: start it from the server's release",
            Rules::NEWEST.number()
        )
    })
}
