//! The decoding of image files to RGB pixels as a person sees them: JPEG, PNG, WebP, GIF, BMP and TIFF, which
//! are recognised by their content rather than by their names.
//!
//! Images are rotated and mirrored as the file's orientation says. Grey becomes RGB with three equal
//! channels, CMYK and YCCK are converted as Adobe stores them (inverted), 16 bits are rounded to 8, and
//! transparent pixels are blended with white. Of a file with several images, the first is read.

use std::fs::File;
use std::io::{Cursor, ErrorKind, Read};
use std::path::Path;

use image::error::UnsupportedErrorKind;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};
use png::DecodingError as PngError;

use crate::decode_error::{DecodeError, MOST_BYTES, MOST_PIXELS, SampleError};
use crate::foreign::guarded;
use crate::ground::opaque;
use crate::jpeg::{self, Markers};
use crate::kind::FileKind;
use crate::orientation::turned;

/// Largest number of bytes that the decoding of one image may allocate: 12 bytes per pixel. Three are the
/// result; the rest are for the coefficients of a progressive JPEG or the samples of a TIFF in the meantime.
const MOST_MEMORY: u64 = 12 * MOST_PIXELS;
/// Number of pixels up to which a header is believed if the coding has no strict bound, since so few cost
/// little.
const FEW_PIXELS: u64 = 1 << 24;

/// Reads and decodes an image file.
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

/// Decodes the bytes of an image file.
pub(crate) fn decode(file: &[u8]) -> Result<RgbImage, DecodeError> {
    // The decoders are not ours and the bytes can be anybody's: a panic of theirs costs one sample, not the
    // run.
    guarded(|| decode_known(file, FileKind::of(file)))
        .unwrap_or_else(|| Err(DecodeError::Damaged("the decoder failed on it".into())))
}

fn decode_known(file: &[u8], kind: FileKind) -> Result<RgbImage, DecodeError> {
    let (pixels, orientation) = match kind {
        FileKind::Jpeg => decode_jpeg(file)?,
        FileKind::Png => decode_png(file)?,
        FileKind::Webp => decode_as(ImageFormat::WebP, file, kind)?,
        FileKind::Gif => decode_as(ImageFormat::Gif, file, kind)?,
        FileKind::Bmp => decode_as(ImageFormat::Bmp, file, kind)?,
        FileKind::Tiff => decode_tiff(file)?,
        _ => return Err(not_an_image(file, kind)),
    };
    Ok(turned(pixels, orientation))
}

fn not_an_image(file: &[u8], kind: FileKind) -> DecodeError {
    let found = match kind {
        FileKind::Unknown | FileKind::Text => {
            format!("a file that starts with \"{}\"", file[..file.len().min(8)].escape_ascii())
        }
        _ => kind.to_string(),
    };
    DecodeError::NotAnImage { found, advice: kind.advice() }
}

fn decode_jpeg(file: &[u8]) -> Result<(RgbImage, Orientation), DecodeError> {
    let markers = Markers::of(file);
    if let Some((coding, advice)) = markers.unread_coding() {
        return Err(DecodeError::UnreadCoding { kind: FileKind::Jpeg, coding: coding.to_owned(), advice });
    }
    let pixels = |file: &[u8]| decode_as(ImageFormat::Jpeg, file, FileKind::Jpeg).map(|(pixels, _)| pixels);
    if markers.complete {
        return Ok((pixels(file)?, markers.orientation()));
    }
    // Without its end marker, the picture is whole if its last scan has begun and nothing that could follow
    // changes it.
    let bytes = file.len() as u64;
    if !markers.has_every_scan() {
        return Err(DecodeError::Truncated { bytes });
    }
    let followed_by = |rest: &[u8]| pixels(&[file, rest, &jpeg::END].concat());
    match (followed_by(&[]), followed_by(&[0xA5; 64])) {
        (Ok(one), Ok(other)) if one == other => Ok((one, markers.orientation())),
        (Err(error @ DecodeError::LargeImage { .. }), _) => Err(error),
        (Err(DecodeError::HollowImage { width, height, .. }), _) => {
            Err(DecodeError::HollowImage { width, height, bytes })
        }
        _ => Err(DecodeError::Truncated { bytes }),
    }
}

fn decode_png(file: &[u8]) -> Result<(RgbImage, Orientation), DecodeError> {
    let explain = |error: PngError| match error {
        PngError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            DecodeError::Truncated { bytes: file.len() as u64 }
        }
        PngError::LimitsExceeded => DecodeError::LargePixels,
        error => DecodeError::Damaged(error.to_string().to_lowercase()),
    };
    let (width, height) = crate::png::dimensions(file).map_err(explain)?;
    check_size(FileKind::Png, [width, height], file)?;
    crate::png::decode(file, MOST_MEMORY as usize).map_err(explain)
}

fn decode_tiff(file: &[u8]) -> Result<(RgbImage, Orientation), DecodeError> {
    let [width, height] = crate::tiff::dimensions(file)?;
    check_size(FileKind::Tiff, [width, height], file)?;
    // The whole picture may lie in one strip, of up to 16 bytes a pixel, and in tables beside it.
    let strip = 16 * u64::from(width) * u64::from(height) + (64 << 20);
    crate::tiff::decode(file, strip.min(MOST_MEMORY - 3 * MOST_PIXELS) as usize)
}

fn decode_as(
    format: ImageFormat,
    file: &[u8],
    kind: FileKind,
) -> Result<(RgbImage, Orientation), DecodeError> {
    let decoded = || {
        let mut reader = ImageReader::with_format(Cursor::new(file), format);
        reader.no_limits(); // until the size is known
        let mut decoder = reader.into_decoder()?;
        let (width, height) = decoder.dimensions();
        if let Err(error) = check_size(kind, [width, height], file) {
            return Ok(Err(error));
        }
        // The samples twice, once as the file has them and once as they come out, and tables beside them.
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some((2 * decoder.total_bytes() + (64 << 20)).min(MOST_MEMORY));
        decoder.set_limits(limits)?;
        // Of a JPEG, the orientation is known from its markers already.
        let orientation = match kind {
            FileKind::Jpeg => Orientation::NoTransforms,
            _ => decoder.orientation().unwrap_or(Orientation::NoTransforms),
        };
        DynamicImage::from_decoder(decoder).map(|image| Ok((opaque(image), orientation)))
    };
    decoded().unwrap_or_else(|error| Err(explain(error, kind, file)))
}

/// Checks that the width and height in a header are not too large to be read, and that the file can have so
/// many pixels.
fn check_size(kind: FileKind, [width, height]: [u32; 2], file: &[u8]) -> Result<(), DecodeError> {
    let pixels = u64::from(width) * u64::from(height);
    let bytes = file.len() as u64;
    if pixels == 0 {
        return Err(DecodeError::Damaged(format!("the header says {width} x {height} pixels")));
    }
    if pixels > MOST_PIXELS {
        return Err(DecodeError::LargeImage { width, height });
    }
    if pixels > most_pixels(kind, bytes) {
        return Err(DecodeError::HollowImage { width, height, bytes });
    }
    Ok(())
}

/// Returns the largest number of pixels that a file of `bytes` bytes can have, at the highest compression
/// that its coding allows.
fn most_pixels(kind: FileKind, bytes: u64) -> u64 {
    match kind {
        // A bit for each block of 8 x 8.
        FileKind::Jpeg => bytes * 8 * 64,
        // Twelve bits for a string that is one longer each time, up to 4096; but a picture may be smaller
        // than its screen.
        FileKind::Gif => (bytes * 4096 * 8 / 12).max(FEW_PIXELS),
        // Two bytes for 255 pixels, or for the rest of them.
        FileKind::Bmp => (bytes * 128).max(FEW_PIXELS),
        // Deflate shortens by 1032, and a byte has eight pixels of one bit. Fax codes and lossless WebP have
        // no such bound, but of what has more pixels than this, nothing could be learnt.
        _ => (bytes * 8 * 1032).max(FEW_PIXELS),
    }
}

fn explain(error: ImageError, kind: FileKind, file: &[u8]) -> DecodeError {
    let text = match &error {
        ImageError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            return DecodeError::Truncated { bytes: file.len() as u64 };
        }
        ImageError::Limits(_) => return DecodeError::LargePixels,
        ImageError::Unsupported(error) => {
            let coding = match error.kind() {
                UnsupportedErrorKind::GenericFeature(feature) => {
                    feature.trim_end_matches(" is unsupported").to_lowercase()
                }
                kind => format!("{kind:?}").to_lowercase(),
            };
            return DecodeError::UnreadCoding { kind, coding, advice: kind.advice() };
        }
        error => error.to_string().to_lowercase(),
    };
    // Decoders say so in words of their own, or stumble over what is missing.
    if text.contains("unexpected end") || is_shorter_than_it_says(kind, file) {
        return DecodeError::Truncated { bytes: file.len() as u64 };
    }
    DecodeError::Damaged(text)
}

/// Returns whether a file is a WebP that is shorter than the length in its header.
fn is_shorter_than_it_says(kind: FileKind, file: &[u8]) -> bool {
    let length = file.get(4..8).map(|bytes| u32::from_le_bytes(bytes.try_into().expect("four bytes")));
    kind == FileKind::Webp && length.is_some_and(|length| u64::from(length) + 8 > file.len() as u64)
}

#[cfg(test)]
mod tests;
