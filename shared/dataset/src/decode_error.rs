//! The reasons why an image cannot be decoded, and the limits on its size.

use std::path::PathBuf;

use crate::kind::FileKind;
use crate::refusal::Refusal;

/// Largest number of pixels of an image that is read. The header is checked before anything is allocated.
pub(crate) const MOST_PIXELS: u64 = 256_000_000;
/// Largest size of a file that is read, in bytes.
pub(crate) const MOST_BYTES: u64 = 1 << 30;

/// An error: a sample could not be read. A run reports such samples and skips them.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct SampleError {
    /// Path of the image file; for an image in a tar shard, the shard's path and the image's name within it.
    pub path: PathBuf,
    /// Reason why the image could not be read or decoded.
    pub reason: DecodeError,
}

impl SampleError {
    /// Returns whether the system could not open or read the file of the sample at all, so that nothing is
    /// known about the image in it.
    pub fn is_of_the_file_system(&self) -> bool {
        matches!(self.reason, DecodeError::Unreadable(_) | DecodeError::Away(_))
    }
}

/// The reasons why an image file cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The system could not open or read the image file, or the tar shard that holds the image.
    #[error("cannot be read: {0}")]
    Unreadable(Refusal),
    /// The image file lies on another machine, which did not give it.
    #[error("did not come: {0}")]
    Away(String),
    /// The image file lies on another machine, which could not read it; the text is the reason that it gave.
    #[error("{0}")]
    Elsewhere(String),
    /// The file is of a kind that is not read as an image, such as a video.
    #[error("expected a JPEG, PNG, WebP, GIF, BMP or TIFF image, found {found}: {advice}")]
    NotAnImage {
        /// Description of the file: its kind, such as "a PDF document", or its first bytes.
        found: String,
        /// Advice to the user.
        advice: &'static str,
    },
    /// The image file is of a kind that this program reads, but in a coding that it does not read, such as
    /// lossless JPEG.
    #[error("{kind} with {coding}, which is not read: {advice}")]
    UnreadCoding {
        /// Kind of the file.
        kind: FileKind,
        /// Coding of the image.
        coding: String,
        /// Advice to the user.
        advice: &'static str,
    },
    /// The file has more bytes than are read of any image file, which are 1 GiB.
    #[error("the file has {bytes} bytes; at most {MOST_BYTES} are read")]
    LargeFile {
        /// Size of the file in bytes.
        bytes: u64,
    },
    /// The header of the image file announces more pixels than an image that is read may have.
    #[error(
        "the header says {width} x {height} pixels; at most {} megapixels are read: reduce it",
        MOST_PIXELS / 1_000_000
    )]
    LargeImage {
        /// Width that the header announces, in pixels.
        width: u32,
        /// Height that the header announces, in pixels.
        height: u32,
    },
    /// The header announces more pixels than the file can hold.
    #[error(
        "the header says {width} x {height} pixels, more than a file of {bytes} bytes can hold: it is truncated or damaged"
    )]
    HollowImage {
        /// Width that the header announces, in pixels.
        width: u32,
        /// Height that the header announces, in pixels.
        height: u32,
        /// Size of the file in bytes.
        bytes: u64,
    },
    /// The image has few enough pixels, but decoding it would take too much memory.
    #[error(
        "decoding it takes more memory than an image of its size may: save it anew, with 8 bits a channel"
    )]
    LargePixels,
    /// The image file is truncated: it ends before the image does.
    #[error("the image is truncated: the file ends after {bytes} bytes, before the image does")]
    Truncated {
        /// Size of the file in bytes.
        bytes: u64,
    },
    /// The image file is damaged; the text is the decoder's error.
    #[error("the image is damaged: {0}")]
    Damaged(String),
}

impl From<std::io::Error> for DecodeError {
    fn from(error: std::io::Error) -> DecodeError {
        DecodeError::Unreadable(error.into())
    }
}
