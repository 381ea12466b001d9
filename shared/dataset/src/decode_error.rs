//! Why an image cannot be decoded, and how large one may be.

use std::path::PathBuf;

use crate::kind::FileKind;
use crate::refusal::Refusal;

/// The largest image that is read. The header is asked before anything is allocated.
pub(crate) const MOST_PIXELS: u64 = 256_000_000;
/// The largest file that is read.
pub(crate) const MOST_BYTES: u64 = 1 << 30;

/// An error: a sample could not be read. The run names it, skips it and goes on.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct SampleError {
    /// Path of the file; for an image in a tar shard, the shard's path and the name there.
    pub path: PathBuf,
    /// The fault of the image.
    pub reason: DecodeError,
}

impl SampleError {
    /// Returns whether the file could not be read at all, so that nothing is known of the image itself.
    pub fn is_of_the_file_system(&self) -> bool {
        matches!(self.reason, DecodeError::Unreadable(_))
    }
}

/// Reasons why an image file cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The image file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(Refusal),
    /// The file is of a kind that is not read.
    #[error("expected a JPEG, PNG, WebP, GIF, BMP or TIFF image, found {found}: {advice}")]
    NotAnImage {
        /// Kind of the file, or its first bytes.
        found: String,
        /// Advice to the user.
        advice: &'static str,
    },
    /// The image is in a coding that is not read.
    #[error("{kind} with {coding}, which is not read: {advice}")]
    UnreadCoding {
        /// Kind of the file.
        kind: FileKind,
        /// Coding of the image.
        coding: String,
        /// Advice to the user.
        advice: &'static str,
    },
    /// The file has more bytes than any image that is read can have.
    #[error("the file has {bytes} bytes; at most {MOST_BYTES} are read")]
    LargeFile {
        /// Length of the file.
        bytes: u64,
    },
    /// The header announces too many pixels.
    #[error(
        "the header says {width} x {height} pixels; at most {} megapixels are read: reduce it",
        MOST_PIXELS / 1_000_000
    )]
    LargeImage {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The header announces more pixels than the file can hold.
    #[error(
        "the header says {width} x {height} pixels, more than a file of {bytes} bytes can hold: it is truncated or damaged"
    )]
    HollowImage {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// Length of the file.
        bytes: u64,
    },
    /// The image has few enough pixels, but decoding it would take too much memory.
    #[error(
        "decoding it takes more memory than an image of its size may: save it anew, with 8 bits a channel"
    )]
    LargePixels,
    /// The image stops before its end.
    #[error("the image is truncated: the file ends after {bytes} bytes, before the image does")]
    Truncated {
        /// Length of the file.
        bytes: u64,
    },
    /// The decoder found an error.
    #[error("the image is damaged: {0}")]
    Damaged(String),
}

impl From<std::io::Error> for DecodeError {
    fn from(error: std::io::Error) -> DecodeError {
        DecodeError::Unreadable(error.into())
    }
}
