//! Any model file that can be read, told apart by content and not by name.

use std::io;
use std::path::{Path, PathBuf};

use parameters::checkpoint::{Checkpoint, CheckpointError, MOST_BYTES};

use crate::caffe::{self, CaffeError};

/// The formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A checkpoint as this program writes it.
    Safetensors,
    /// A `.caffemodel`.
    Caffe,
}

/// Why a file is no model.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The file cannot be read.
    #[error("cannot read model file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is a safetensors file that cannot be used, or the tensors of either kind are none that a model can
    /// have.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// It is no safetensors file, and no Caffe model either.
    #[error(
        "model file {} ({bytes} bytes) is neither a safetensors file nor a whole caffe model: {reason}; get or write it \
         again",
        path.display()
    )]
    Caffe {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: usize,
        /// What does not fit.
        reason: CaffeError,
    },
}

/// Reads a model file: its tensors, with metadata if it is a safetensors file, and which kind it is.
///
/// # Errors
/// A file that cannot be read, of which only a part is there, or in which a tensor holds values that are not
/// finite.
pub fn read(path: &Path) -> Result<(Kind, Checkpoint), FormatError> {
    let bytes =
        files::read(path, MOST_BYTES).map_err(|source| FormatError::Read { path: path.into(), source })?;
    if is_safetensors(&bytes) {
        return Ok((Kind::Safetensors, Checkpoint::parse(&bytes, path)?.finite(path)?));
    }
    match caffe::parse(&bytes) {
        Ok(checkpoint) => Ok((Kind::Caffe, checkpoint.finite(path)?)),
        Err(reason) => Err(FormatError::Caffe { path: path.into(), bytes: bytes.len(), reason }),
    }
}

/// A safetensors file starts with the length of its header in 8 bytes, and the header with a brace.
fn is_safetensors(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
}
