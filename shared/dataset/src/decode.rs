//! From an image file to RGB pixels: JPEG and PNG, told apart by content, whatever the file's name.
//!
//! Grey is spread over the channels, CMYK and YCCK are converted as Adobe stores them (inverted), 16 bits are
//! rounded to 8, alpha is dropped. An EXIF orientation is ignored: the pixels are taken as they are stored.

use std::fs::File;
use std::io::{Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, RgbImage};

use crate::foreign::guarded;
use crate::jpeg;

/// The largest image that is read. The header is asked before anything is allocated.
const MOST_PIXELS: u64 = 100_000_000;
/// The largest file that is read, and the most that the pixels of one may take (64 bits per pixel at most).
pub(crate) const MOST_BYTES: u64 = 1 << 30;

/// A sample that could not be read. It is skipped and named; the run goes on.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct SampleError {
    /// The file; of an image in a tar shard, its name there behind the shard's path.
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
pub(crate) fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    // The decoders are not ours and the bytes can be anybody's: a panic of theirs costs one sample, not the run.
    guarded(|| decode_known(bytes, format(bytes)?))
        .unwrap_or_else(|| Err(DecodeError::Damaged("the decoder failed on it".into())))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;
    use image::{GrayAlphaImage, GrayImage, ImageBuffer, Luma, LumaA, Rgb, Rgba, RgbaImage};
    use rand::RngExt;

    /// 24 x 16: three columns of colour, each lighter in the lower half.
    fn file(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/data/{name}.jpg", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn reason(bytes: &[u8]) -> String {
        decode(bytes).unwrap_err().to_string()
    }

    #[test]
    fn every_kind_of_jpeg_comes_out_in_its_colours() {
        let colours =
            [[220, 30, 40], [40, 190, 60], [30, 60, 210], [237, 142, 147], [147, 222, 157], [142, 157, 232]];
        // Inks can be no lighter than the black of the YCCK file, 230, lets through.
        let under_black = colours.map(|colour| colour.map(|value| value.min(230)));
        let grey = [88, 130, 68, 171, 192, 161].map(|value| [value; 3]);
        for (name, expected) in [
            ("rgb", colours),
            ("progressive", colours),
            ("cmyk", colours),
            ("ycck", under_black),
            ("grey", grey),
        ] {
            let image = decode(&file(name)).unwrap();
            assert_eq!(image.dimensions(), (24, 16), "{name}");
            let places = [3, 12].into_iter().flat_map(|y| [3, 12, 20].map(|x| (x, y)));
            for ((x, y), colour) in places.zip(expected) {
                let found = image.get_pixel(x, y).0;
                let near = found.iter().zip(colour).all(|(a, b)| a.abs_diff(b) <= 4);
                assert!(near, "{name} at ({x}, {y}): expected {colour:?}, found {found:?}");
            }
        }
    }

    #[test]
    fn every_kind_of_png_becomes_rgb() {
        let cases = [
            ("grey", png(GrayImage::from_pixel(3, 2, Luma([7]))), [7, 7, 7]),
            ("grey with alpha", png(GrayAlphaImage::from_pixel(3, 2, LumaA([7, 0]))), [7, 7, 7]),
            ("rgb", png(RgbImage::from_pixel(3, 2, Rgb([1, 2, 3]))), [1, 2, 3]),
            ("rgb with alpha", png(RgbaImage::from_pixel(3, 2, Rgba([1, 2, 3, 4]))), [1, 2, 3]),
            ("grey of 16 bits", png(ImageBuffer::from_pixel(3, 2, Luma([0x8080u16]))), [128; 3]),
            ("rgb of 16 bits", png(ImageBuffer::from_pixel(3, 2, Rgb([0u16, 0x4040, 0xFFFF]))), [0, 64, 255]),
        ];
        for (name, bytes, expected) in cases {
            let image = decode(&bytes).unwrap();
            assert_eq!(image, RgbImage::from_pixel(3, 2, Rgb(expected)), "{name}");
        }
    }

    #[test]
    fn what_is_no_image_says_what_it_is() {
        assert_eq!(reason(b""), "expected a jpeg or png image, found an empty file");
        assert_eq!(
            reason(b"<!DOCTYPE html>"),
            "expected a jpeg or png image, found a file that starts with \"<!DOCTYP\"; convert or remove it"
        );
        assert_eq!(
            reason(b"GIF89a\x01\x00\x01\x00"),
            "expected a jpeg or png image, found gif; convert or remove it"
        );
    }

    #[test]
    fn a_truncated_image_says_where_it_ends() {
        for (name, bytes) in [("rgb", file("rgb")), ("progressive", file("progressive"))] {
            let text = reason(&bytes[..400]);
            assert_eq!(
                text, "the image is truncated: the file ends after 400 bytes, before the image does",
                "{name}"
            );
        }
        let noise = RgbImage::from_fn(16, 16, |x, y| {
            Rgb([(x * y * 37) as u8, (x * 91 + y * 53) as u8, (y * 17) as u8])
        });
        let bytes = png(noise);
        for cut in [20, 60, bytes.len() / 2, bytes.len() - 20] {
            let text = reason(&bytes[..cut]);
            let expected =
                format!("the image is truncated: the file ends after {cut} bytes, before the image does");
            assert_eq!(text, expected);
        }
    }

    /// The header alone decides: nothing else of these files could be decoded.
    #[test]
    fn an_absurdly_large_image_is_refused_from_its_header() {
        let mut jpeg = file("rgb");
        let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
        jpeg[frame + 5..frame + 9].copy_from_slice(&[0xEA, 0x60, 0xEA, 0x60]);
        let mut png = png(GrayImage::new(1, 1));
        png[16..24].copy_from_slice(&[0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60]);
        let sum = crc32(&png[12..29]).to_be_bytes();
        png[29..33].copy_from_slice(&sum);
        for bytes in [jpeg, png] {
            assert_eq!(
                reason(&bytes),
                "the header says 60000 x 60000 pixels; at most 100 megapixels are read: reduce it"
            );
        }
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |sum, byte| {
            (0..8)
                .fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg()))
        })
    }

    /// Whatever the bytes, there is an answer; damage inside the pixels may pass, damage to the header may not
    /// give an image of another size than it says.
    #[test]
    fn damaged_files_are_refused_or_read_but_never_panic() {
        let originals = [
            file("rgb"),
            file("cmyk"),
            file("progressive"),
            png(GrayImage::from_fn(9, 9, |x, y| Luma([(x * y) as u8]))),
        ];
        let mut refused = 0;
        for case in 0..1024u64 {
            let mut random = stream(9, "damage", &[case]);
            let mut bytes = originals[case as usize % originals.len()].clone();
            for _ in 0..random.random_range(1..6) {
                let at = random.random_range(0..bytes.len());
                bytes[at] = random.random();
            }
            let known = format(&bytes).and_then(|format| decode_known(&bytes, format));
            refused += usize::from(known.is_err());
        }
        assert!((100..1000).contains(&refused), "{refused} of 1024 damaged files were refused");
    }
}
