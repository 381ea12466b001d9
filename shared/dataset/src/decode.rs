//! From an image file to RGB pixels: JPEG and PNG, told apart by content, whatever the file's name.
//!
//! Grey is spread over the channels, CMYK and YCCK are converted as Adobe stores them (inverted), 16 bits are
//! rounded to 8, alpha is dropped. An EXIF orientation is ignored: the pixels are taken as they are stored.

use std::fs::File;
use std::io::{Cursor, ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, RgbImage};

use crate::jpeg;

/// The largest image that is read. The header is asked before anything is allocated.
const MOST_PIXELS: u64 = 100_000_000;
/// The largest file that is read, and the most that the pixels of one may take (64 bits per pixel at most).
const MOST_BYTES: u64 = 1 << 30;

/// A sample that could not be read. It is skipped and named; the run goes on.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct SampleError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub reason: DecodeError,
}

/// What is wrong with an image file.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The file system refused.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// There are no bytes.
    #[error("expected a jpeg or png image, found an empty file")]
    Empty,
    /// Another format, or no image at all.
    #[error("expected a jpeg or png image, found {found}; convert or remove it")]
    NotAnImage {
        /// The format's name, or the first bytes.
        found: String,
    },
    /// More bytes than any image that is read can have.
    #[error("the file has {bytes} bytes; at most {MOST_BYTES} are read")]
    LargeFile {
        /// Its length.
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
    /// The image stops before its end.
    #[error("the image is truncated: the file ends after {bytes} bytes, before the image does")]
    Truncated {
        /// Length of the file.
        bytes: u64,
    },
    /// The decoder gave up.
    #[error("the image is damaged: {0}")]
    Damaged(String),
}

/// Reads and decodes a file.
pub(crate) fn read(path: &Path) -> Result<RgbImage, SampleError> {
    read_bytes(path)
        .and_then(|bytes| decode(&bytes))
        .map_err(|reason| SampleError { path: path.to_owned(), reason })
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, DecodeError> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    if length > MOST_BYTES {
        return Err(DecodeError::LargeFile { bytes: length });
    }
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Decodes the bytes of a file.
fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    // The decoders are not ours and the bytes can be anybody's: a panic of theirs costs one sample, not the run.
    catch_unwind(AssertUnwindSafe(|| decode_known(bytes, format(bytes)?)))
        .unwrap_or_else(|_| Err(DecodeError::Damaged("the decoder failed on it".into())))
}

fn format(bytes: &[u8]) -> Result<ImageFormat, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Jpeg | ImageFormat::Png)) => Ok(format),
        Ok(other) => Err(DecodeError::NotAnImage { found: format!("{other:?}").to_lowercase() }),
        Err(_) => {
            let start = bytes[..bytes.len().min(8)].escape_ascii();
            Err(DecodeError::NotAnImage { found: format!("a file that starts with \"{start}\"") })
        }
    }
}

fn decode_known(bytes: &[u8], format: ImageFormat) -> Result<RgbImage, DecodeError> {
    let truncated = DecodeError::Truncated { bytes: bytes.len() as u64 };
    if format == ImageFormat::Jpeg && !jpeg::is_complete(bytes) {
        return Err(truncated);
    }
    let explain = |error: ImageError| match error {
        ImageError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => truncated,
        error => DecodeError::Damaged(error.to_string().to_lowercase()),
    };
    let pixels = || {
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        let mut limits = image::Limits::no_limits();
        limits.max_alloc = Some(MOST_BYTES);
        reader.limits(limits);
        let decoder = reader.into_decoder()?;
        let (width, height) = decoder.dimensions();
        if u64::from(width) * u64::from(height) > MOST_PIXELS {
            return Ok(Err(DecodeError::LargeImage { width, height }));
        }
        DynamicImage::from_decoder(decoder).map(|image| Ok(image.into_rgb8()))
    };
    pixels().unwrap_or_else(|error| Err(explain(error)))
}
