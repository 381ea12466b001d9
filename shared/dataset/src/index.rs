//! What is in a data folder: class folders and their image files.

use std::path::PathBuf;

/// Why a folder is no data set.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// There is no such folder.
    #[error("data folder {folder:?} is not there: expected a folder with train/ and val/, or with one folder per class")]
    Missing {
        /// The folder.
        folder: PathBuf,
    },
}
