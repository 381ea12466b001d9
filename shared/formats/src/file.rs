//! Reader of model files in any format, which it tells by their content and not by their name.

use std::io;
use std::path::{Path, PathBuf};

use parameters::checkpoint::{Checkpoint, CheckpointError, MOST_BYTES};

use crate::caffe::{self, CaffeError};

/// The format of a model file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// A safetensors file, as this program writes it.
    Safetensors,
    /// A Caffe model (`.caffemodel`).
    Caffe,
}

/// Reasons why a file is no model that can be used.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The model file cannot be read.
    #[error("cannot read model file {}: {error}", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system.
        error: io::Error,
    },
    /// The file is a safetensors file that cannot be used, or a tensor of either format is not finite.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The file is no safetensors file, and no Caffe model either.
    #[error(
        "model file {} ({bytes} bytes) is neither a safetensors file nor a whole caffe model: {reason}; get or write it \
         again",
        path.display()
    )]
    Caffe {
        /// Path of the file.
        path: PathBuf,
        /// Length of the file.
        bytes: usize,
        /// Reason why the file is no Caffe model.
        reason: CaffeError,
    },
}

/// Reads a model file; returns its format and its tensors, with metadata if it is a safetensors file.
///
/// # Errors
/// A file that cannot be read, is in no known format, is only a part of a file, or holds values that are not
/// finite.
pub fn read(path: &Path) -> Result<(FileFormat, Checkpoint), FormatError> {
    parse(&read_bytes(path)?, path)
}

/// Reads the bytes of a model file, for [`parse`] and whatever else the caller makes of them, such as a
/// digest.
///
/// # Errors
/// A file that cannot be read, or is larger than any model.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, FormatError> {
    files::read(path, MOST_BYTES).map_err(|error| FormatError::Read { path: path.into(), error })
}

/// Reads a model from the bytes of its file, as [`read`] does; errors name `path`.
///
/// # Errors
/// Bytes in no known format, only a part of a file, or values that are not finite.
pub fn parse(bytes: &[u8], path: &Path) -> Result<(FileFormat, Checkpoint), FormatError> {
    if is_safetensors(bytes) {
        return Ok((FileFormat::Safetensors, Checkpoint::parse(bytes, path)?.finite(path)?));
    }
    match caffe::parse(bytes) {
        Ok(checkpoint) => Ok((FileFormat::Caffe, checkpoint.finite(path)?)),
        Err(reason) => Err(FormatError::Caffe { path: path.into(), bytes: bytes.len(), reason }),
    }
}

/// Returns whether the bytes start as a safetensors file does: 8 bytes with the length of a header, then its
/// brace.
fn is_safetensors(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
}
