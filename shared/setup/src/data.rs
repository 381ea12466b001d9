//! Data that are trained and measured on, a folder or the drawn set, and how a run's settings have them read.

use std::path::PathBuf;

use anyhow::Context;
use dataset::{Dataset, Rules};
use settings::RunConfiguration;

/// The drawn set's fingerprint does not depend on the size that it is drawn at; before the run's is known, any will do.
pub const ANY_SIZE: usize = 64;

/// Data that a network is trained or measured on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A folder of photographs.
    Folder(PathBuf),
    /// The set that the program draws itself.
    Drawn {
        /// Training images.
        images: usize,
        /// Validation images.
        validation: usize,
    },
}

impl Data {
    /// The drawn set that every process of a run uses where no folder is named.
    pub const fn embedded() -> Data {
        Data::Drawn { images: 20_000, validation: 1_000 }
    }

    /// Opens the data for crops of `size` pixels.
    ///
    /// # Errors
    /// A folder that is no data set.
    pub fn open(&self, size: usize, rules: Rules) -> anyhow::Result<Dataset> {
        match self {
            Data::Folder(folder) => Ok(Dataset::open(folder, rules)?),
            Data::Drawn { images, validation } => Ok(Dataset::drawn(*images, *validation, size)),
        }
    }

    /// Checks that a folder can be opened at all, which a worker can say before it knows its run.
    ///
    /// # Errors
    /// A folder that is not there.
    pub fn check_is_there(&self) -> anyhow::Result<()> {
        match self {
            Data::Folder(folder) => Ok(dataset::check_is_there(folder)?),
            Data::Drawn { .. } => Ok(()),
        }
    }
}

/// The rules by which a run reads its data.
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
