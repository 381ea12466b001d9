//! The reader of model files in any supported format, which it recognises by their content rather than by
//! their name, and of the models in the folders of runs and snapshots.

use std::io;
use std::path::{Path, PathBuf};

use parameters::checkpoint::{Checkpoint, CheckpointError, MOST_BYTES};

use crate::caffe::{self, CaffeError};
use crate::folder;
use crate::other::Other;

/// The format of a model file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// A safetensors file, the format in which Downpour writes its models.
    Safetensors,
    /// A Caffe model (`.caffemodel`).
    Caffe,
}

/// The reasons why a file cannot be used as a model.
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
    /// The file is a safetensors file that cannot be used, or a tensor of the file, be it a safetensors file
    /// or a Caffe model, holds values that are not finite.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The path is that of a folder which holds no model that can be read.
    #[error("folder {} {reason}", path.display())]
    Folder {
        /// Path of the folder.
        path: PathBuf,
        /// What it lacks, or what is wrong with it, and what to do about it.
        reason: String,
    },
    /// The file is of a kind that is known, and that holds no model that can be read.
    #[error(
        "model file {} ({bytes} bytes) is {}; expected a safetensors file or a caffe model of GoogLeNet: {}",
        path.display(), other.what, other.advice
    )]
    Other {
        /// Path of the file.
        path: PathBuf,
        /// Size of the file in bytes.
        bytes: usize,
        /// The kind of the file, and what to do about it.
        other: Other,
    },
    /// The file is a whole Caffe model with a layer that GoogLeNet does not have.
    #[error(
        "model file {} is a caffe model of another network: {reason}; expected a model of GoogLeNet",
        path.display()
    )]
    Network {
        /// Path of the file.
        path: PathBuf,
        /// The layer that GoogLeNet does not have.
        reason: CaffeError,
    },
    /// The file is neither a safetensors file nor a whole Caffe model, nor of another kind that is known.
    #[error(
        "model file {} ({bytes} bytes) is neither a safetensors file nor a whole caffe model: {reason}; get or write it \
         again",
        path.display()
    )]
    Caffe {
        /// Path of the file.
        path: PathBuf,
        /// Size of the file in bytes.
        bytes: usize,
        /// The reason why the file is not a Caffe model.
        reason: CaffeError,
    },
}

/// Reads the model that `path` names, as [`read_bytes`] does; returns its format and its tensors, with its metadata
/// if it is a safetensors file.
///
/// # Errors
/// If the file cannot be read, is neither a whole safetensors file nor a whole Caffe model, or holds values
/// that are not finite.
pub fn read(path: &Path) -> Result<(FileFormat, Checkpoint), FormatError> {
    parse(&read_bytes(path)?, path)
}

/// Reads the bytes of the model that `path` names, for [`parse`] and for other uses such as a digest: of a file
/// those in it, in the folder of a run those of the file that is [named](folder::named) by it, of a snapshot those
/// of the model file that its average makes.
///
/// # Errors
/// If the file cannot be read or has more than [`MOST_BYTES`] bytes, or if a folder holds no whole model.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, FormatError> {
    let path = &*folder::named(path);
    if path.is_dir() {
        return folder::average(path);
    }
    files::read(path, MOST_BYTES).map_err(|error| FormatError::Read { path: path.into(), error })
}

/// Parses a model from the bytes of its file, with the same result as [`read`]. `path` is only named in
/// errors, as the file that the bytes come from.
///
/// # Errors
/// If the bytes are neither a whole safetensors file nor a whole Caffe model, or hold values that are not
/// finite.
pub fn parse(bytes: &[u8], path: &Path) -> Result<(FileFormat, Checkpoint), FormatError> {
    if is_safetensors(bytes) {
        return Ok((FileFormat::Safetensors, Checkpoint::parse(bytes, path)?.finite(path)?));
    }
    match caffe::parse(bytes) {
        Ok(checkpoint) => Ok((FileFormat::Caffe, checkpoint.finite(path)?)),
        Err(reason) => Err(refusal(bytes, path.into(), reason)),
    }
}

/// Returns the error of a file that is no safetensors file and, for `reason`, no Caffe model either.
fn refusal(content: &[u8], path: PathBuf, reason: CaffeError) -> FormatError {
    let bytes = content.len();
    match (reason, Other::of(content)) {
        (_, Some(other)) => FormatError::Other { path, bytes, other },
        (reason @ CaffeError::Layer { .. }, None) => FormatError::Network { path, reason },
        (reason, None) => FormatError::Caffe { path, bytes, reason },
    }
}

/// Returns whether the bytes start like a safetensors file: 8 bytes with the length of a header, the highest
/// of which is 0, then the header's opening brace.
fn is_safetensors(bytes: &[u8]) -> bool {
    bytes.get(7..9) == Some(b"\0{")
}
