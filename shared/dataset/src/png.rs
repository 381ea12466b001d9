//! The decoding of PNG files to RGB pixels, row by row, so that besides the result hardly anything is held in
//! memory.
//!
//! Texts and colour profiles, which may unpack to any length, are skipped, and checksums are not compared,
//! since other programs show an image even if one is wrong.

use std::io::Cursor;

use image::RgbImage;
use image::metadata::Orientation;
use png::{BitDepth, ColorType, Decoder, DecodingError, InterlaceInfo, Limits, Transformations};

use crate::ground::over_white;

/// Reads the width and height in pixels from a file's header.
pub(crate) fn dimensions(file: &[u8]) -> Result<(u32, u32), DecodingError> {
    let mut decoder = decoder(file, usize::MAX);
    decoder.read_header_info().map(|header| header.size())
}

/// Decodes a file; returns its pixels and its orientation. Besides the pixels, at most `most_bytes` bytes are
/// allocated.
pub(crate) fn decode(file: &[u8], most_bytes: usize) -> Result<(RgbImage, Orientation), DecodingError> {
    let mut decoder = decoder(file, most_bytes);
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info()?;
    let (width, height) = reader.info().size();
    let (colour, depth) = reader.output_color_type();
    let mut pixels = RgbImage::new(width, height);
    let stride = 3 * width as usize;
    let mut narrow = Vec::new();
    let mut rgb = vec![0; stride];
    let mut line = 0;
    while let Some(row) = reader.next_interlaced_row()? {
        let samples = match depth {
            BitDepth::Sixteen => {
                narrow.clear();
                narrow.extend(row.data().chunks_exact(2).map(|pair| eight_bits([pair[0], pair[1]])));
                &narrow[..]
            }
            _ => row.data(),
        };
        match row.interlace() {
            InterlaceInfo::Null(_) => {
                to_rgb(samples, colour, &mut pixels.as_mut()[line * stride..][..stride]);
                line += 1;
            }
            InterlaceInfo::Adam7(pass) => {
                let rgb = &mut rgb[..3 * samples.len() / colour.samples()];
                to_rgb(samples, colour, rgb);
                png::expand_interlaced_row(&mut pixels, stride, rgb, pass, 24);
            }
        }
    }
    // The metadata may lie behind the pixels. What is wrong there is no fault of theirs.
    let _ = reader.finish();
    let exif = reader.info().exif_metadata.as_deref();
    Ok((pixels, exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)))
}

fn decoder(file: &[u8], most_bytes: usize) -> Decoder<Cursor<&[u8]>> {
    let mut decoder = Decoder::new_with_limits(Cursor::new(file), Limits { bytes: most_bytes });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.ignore_checksums(true);
    decoder
}

/// Rounds a sample of 16 bits to 8.
fn eight_bits(sample: [u8; 2]) -> u8 {
    ((u32::from(u16::from_be_bytes(sample)) + 128) / 257) as u8
}

/// Converts a row of samples of 8 bits to RGB.
fn to_rgb(samples: &[u8], colour: ColorType, out: &mut [u8]) {
    let out = out.chunks_exact_mut(3);
    match colour {
        ColorType::Grayscale => out.zip(samples).for_each(|(out, &grey)| out.fill(grey)),
        ColorType::GrayscaleAlpha => {
            out.zip(samples.chunks_exact(2))
                .for_each(|(out, pixel)| out.fill(over_white(pixel[0], pixel[1])));
        }
        // A palette was expanded to one of these.
        ColorType::Rgb | ColorType::Indexed => {
            out.zip(samples.chunks_exact(3)).for_each(|(out, pixel)| out.copy_from_slice(pixel));
        }
        ColorType::Rgba => out.zip(samples.chunks_exact(4)).for_each(|(out, pixel)| {
            out.iter_mut().zip(pixel).for_each(|(out, &sample)| *out = over_white(sample, pixel[3]));
        }),
    }
}
