//! What is trained and measured on: a folder, or the drawn set.

use std::path::PathBuf;

use dataset::{Dataset, Rules};

/// The drawn set's fingerprint does not depend on the size that it is drawn at; before the run's is known, any will do.
pub(crate) const ANY_SIZE: usize = 64;

/// What a worker trains on.
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
    /// The drawn set as every process of a run uses it where no folder is named.
    pub const fn embedded() -> Data {
        Data::Drawn { images: 20_000, validation: 1_000 }
    }

    /// Opens it for crops of `size` pixels.
    pub(crate) fn open(&self, size: usize, rules: Rules) -> anyhow::Result<Dataset> {
        match self {
            Data::Folder(folder) => Ok(Dataset::open(folder, rules)?),
            Data::Drawn { images, validation } => Ok(Dataset::drawn(*images, *validation, size)),
        }
    }

    /// Whether a folder can be opened at all: what a worker can say before it knows its run.
    pub(crate) fn check_is_there(&self) -> anyhow::Result<()> {
        match self {
            Data::Folder(folder) => Ok(dataset::check_is_there(folder)?),
            Data::Drawn { .. } => Ok(()),
        }
    }
}
