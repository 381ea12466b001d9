//! The decoding of TIFF files to RGB pixels, by strips or tiles: besides the result, no more than one of them
//! is held in memory.
//!
//! The decoder does not support palettes. An image with a palette is presented to it as grey, and the numbers
//! that it returns are looked up here.

use std::borrow::Cow;
use std::io::{Cursor, ErrorKind};

use image::RgbImage;
use image::metadata::Orientation;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::{ByteOrder, CompressionMethod, PhotometricInterpretation, SampleFormat, Tag};
use tiff::{ColorType, TiffError, TiffFormatError, TiffResult, TiffUnsupportedError};

use crate::decode_error::DecodeError;
use crate::ground::over_white;
use crate::kind::FileKind;

type Reader<'a> = Decoder<Cursor<Cow<'a, [u8]>>>;

/// Reads the width and height in pixels from a file's header.
pub(crate) fn dimensions(file: &[u8]) -> Result<[u32; 2], DecodeError> {
    let dimensions = || reader(file)?.dimensions();
    dimensions().map(|(width, height)| [width, height]).map_err(|error| explain(error, file))
}

/// Decodes the first image of a file; returns its pixels and its orientation. One strip or tile may take at
/// most `most_bytes` bytes.
pub(crate) fn decode(file: &[u8], most_bytes: usize) -> Result<(RgbImage, Orientation), DecodeError> {
    picture(file, most_bytes).map_err(|fault| match fault {
        Fault::Unread(coding) => unread(coding),
        Fault::Decoder(error) => explain(error, file),
    })
}

/// The reason why an image cannot be decoded.
enum Fault {
    /// The image uses a coding that this program does not read; the text names it.
    Unread(String),
    Decoder(TiffError),
}

impl From<TiffError> for Fault {
    fn from(error: TiffError) -> Fault {
        Fault::Decoder(error)
    }
}

fn picture(file: &[u8], most_bytes: usize) -> Result<(RgbImage, Orientation), Fault> {
    let mut reader = reader(file)?;
    check_coding(&mut reader)?;
    let orientation = reader.find_tag_unsigned::<u8>(Tag::Orientation).ok().flatten();
    let orientation = orientation.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms);
    let palette = palette(&mut reader)?;
    if palette.is_some() {
        reader = self::reader(as_grey(file, &mut reader))?;
    }
    let mut limits = Limits::default();
    limits.decoding_buffer_size = most_bytes;
    limits.intermediate_buffer_size = most_bytes;
    let mut reader = reader.with_limits(limits);
    let pixel = Pixel::of(&mut reader, palette)?;
    Ok((pixels(&mut reader, &pixel)?, orientation))
}

fn reader<'a>(file: impl Into<Cow<'a, [u8]>>) -> TiffResult<Reader<'a>> {
    Decoder::new(Cursor::new(file.into()))
}

/// Checks that the samples are coded in a way that can be read.
fn check_coding(reader: &mut Reader) -> Result<(), Fault> {
    let compression = reader.find_tag_unsigned(Tag::Compression)?.unwrap_or(1);
    let samples = reader.find_tag_unsigned(Tag::SamplesPerPixel)?.unwrap_or(1u16);
    let compression = match CompressionMethod::from_u16_exhaustive(compression) {
        CompressionMethod::None
        | CompressionMethod::Fax4
        | CompressionMethod::LZW
        | CompressionMethod::Deflate
        | CompressionMethod::OldDeflate
        | CompressionMethod::PackBits => None,
        // The decoder makes three of two.
        CompressionMethod::ModernJPEG if matches!(samples, 1 | 3 | 4) => None,
        CompressionMethod::ModernJPEG => Some(format!("JPEG coding of {samples} samples a pixel")),
        CompressionMethod::Huffman => Some("Huffman coding of fax machines".to_owned()),
        CompressionMethod::Fax3 => Some("fax coding of group 3".to_owned()),
        CompressionMethod::JPEG => Some("JPEG coding of the old style".to_owned()),
        CompressionMethod::ZSTD => Some("Zstandard compression".to_owned()),
        CompressionMethod::WebP => Some("WebP compression".to_owned()),
        _ if compression == 34_925 => Some("LZMA compression".to_owned()),
        _ => Some(format!("compression number {compression}")),
    };
    let interpretation = reader.find_tag_unsigned(Tag::PhotometricInterpretation)?;
    let colours = match interpretation.and_then(PhotometricInterpretation::from_u16) {
        Some(
            PhotometricInterpretation::CIELab
            | PhotometricInterpretation::IccLab
            | PhotometricInterpretation::ItuLab,
        ) => Some("L*a*b* colours".to_owned()),
        Some(PhotometricInterpretation::TransparencyMask) => Some("a mask in place of a picture".to_owned()),
        _ => None,
    };
    compression.or(colours).map_or(Ok(()), |coding| Err(Fault::Unread(coding)))
}

/// Returns the palette of an image, or `None` if it has none.
fn palette(reader: &mut Reader) -> TiffResult<Option<Vec<[u8; 3]>>> {
    let interpretation = reader.find_tag_unsigned(Tag::PhotometricInterpretation)?;
    if interpretation != Some(PhotometricInterpretation::RGBPalette.to_u16()) {
        return Ok(None);
    }
    // All the reds, then all the greens and all the blues, of 16 bits; but some write no more than 8.
    let map = reader.get_tag_u16_vec(Tag::ColorMap)?;
    let shift = if map.iter().all(|&sample| sample < 256) { 0 } else { 8 };
    let colours = map.len() / 3;
    let colour = |at| [0, 1, 2].map(|channel| (map[channel * colours + at] >> shift) as u8);
    Ok(Some((0..colours).map(colour).collect()))
}

/// Returns the bytes of the file, changed in one entry of its first directory: the samples are declared to be
/// grey.
fn as_grey(file: &[u8], reader: &mut Reader) -> Vec<u8> {
    let mut file = file.to_vec();
    let little = reader.byte_order() == ByteOrder::LittleEndian;
    let short = |value: u16| if little { value.to_le_bytes() } else { value.to_be_bytes() };
    let tag = short(Tag::PhotometricInterpretation.to_u16());
    // Numbers of entries and offsets have 64 bits in the larger form of TIFF.
    let (count, entry) = if file[2..4].contains(&43) { (8, 20) } else { (2, 12) };
    let directory = reader.ifd_pointer().map_or(0, |pointer| pointer.0 as usize + count);
    let entries = file.get_mut(directory..).unwrap_or_default().chunks_exact_mut(entry);
    for entry in entries.filter(|entry| entry.starts_with(&tag)).take(1) {
        let value = entry.len() - if count == 8 { 8 } else { 4 };
        entry[2..4].copy_from_slice(&short(3)); // of 16 bits
        entry[value..value + 2].copy_from_slice(&short(PhotometricInterpretation::BlackIsZero.to_u16()));
    }
    file
}

/// The meaning of the samples of a pixel.
struct Pixel {
    colour: Colour,
    /// Kind of the alpha sample that follows those of the colour, if there is one.
    alpha: Option<Alpha>,
    /// Number of samples of a pixel.
    samples: usize,
    /// Number of bits of a sample.
    bits: u8,
}

enum Colour {
    Grey,
    Palette(Vec<[u8; 3]>),
    Rgb,
    Cmyk,
    YCbCr,
}

#[derive(Clone, Copy)]
enum Alpha {
    Straight,
    /// The colours of each pixel are already multiplied by its alpha (its opacity).
    Multiplied,
}

impl Pixel {
    fn of(reader: &mut Reader, palette: Option<Vec<[u8; 3]>>) -> Result<Pixel, Fault> {
        let kind = reader.colortype()?;
        let bits = kind.bit_depth();
        let format = reader.find_tag_unsigned_vec::<u16>(Tag::SampleFormat)?;
        let format = format.and_then(|formats| formats.first().copied()).unwrap_or(1);
        let is_read = match (SampleFormat::from_u16_exhaustive(format), kind) {
            (SampleFormat::Uint, ColorType::YCbCr(_)) => bits == 8,
            (SampleFormat::Uint, ColorType::Gray(_)) => matches!(bits, 1 | 2 | 4 | 8 | 16),
            (SampleFormat::Uint, _) => matches!(bits, 8 | 16),
            (SampleFormat::IEEEFP, ColorType::RGB(_) | ColorType::RGBA(_)) => bits == 32,
            _ => false,
        };
        if !is_read || (palette.is_some() && bits > 8) {
            return Err(Fault::Unread(match SampleFormat::from_u16_exhaustive(format) {
                SampleFormat::IEEEFP => format!("samples of {bits} bits in floating point"),
                SampleFormat::Int => format!("samples of {bits} bits with a sign"),
                _ => format!("samples of {bits} bits"),
            }));
        }
        let extra = reader.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples)?.unwrap_or_default();
        let alpha = match (extra.first(), kind) {
            (Some(1), _) => Some(Alpha::Multiplied),
            (Some(2), _) | (None, ColorType::RGBA(_) | ColorType::CMYKA(_)) => Some(Alpha::Straight),
            _ => None,
        };
        let colour = match (palette, kind) {
            (Some(colours), _) if colours.len() < 1 << bits => {
                let found = colours.len();
                return Err(Fault::Unread(format!(
                    "a palette of {found} colours for samples of {bits} bits"
                )));
            }
            (Some(colours), _) => Colour::Palette(colours),
            (None, ColorType::Gray(_) | ColorType::Multiband { .. }) => Colour::Grey,
            (None, ColorType::CMYK(_) | ColorType::CMYKA(_)) => Colour::Cmyk,
            (None, ColorType::YCbCr(_)) => Colour::YCbCr,
            (None, _) => Colour::Rgb,
        };
        Ok(Pixel { colour, alpha, samples: kind.num_samples().into(), bits })
    }

    /// Returns the number of samples that form the colour.
    fn colours(&self) -> usize {
        match self.colour {
            Colour::Grey | Colour::Palette(_) => 1,
            Colour::Rgb | Colour::YCbCr => 3,
            Colour::Cmyk => 4,
        }
    }

    /// Returns the number to which the largest value of a sample with few bits is scaled; numbers of a
    /// palette are not scaled.
    fn largest(&self) -> u8 {
        match self.colour {
            Colour::Palette(_) => (1u16 << self.bits).wrapping_sub(1) as u8,
            _ => u8::MAX,
        }
    }

    /// Converts samples of 8 bits to RGB pixels.
    fn write(&self, samples: &[u8], out: &mut [u8]) {
        for (pixel, out) in samples.chunks_exact(self.samples).zip(out.chunks_exact_mut(3)) {
            let colour = match &self.colour {
                Colour::Grey => [pixel[0]; 3],
                Colour::Palette(colours) => colours[usize::from(pixel[0])],
                Colour::Rgb => [pixel[0], pixel[1], pixel[2]],
                Colour::Cmyk => from_inks([pixel[0], pixel[1], pixel[2], pixel[3]]),
                Colour::YCbCr => from_ycbcr([pixel[0], pixel[1], pixel[2]]),
            };
            out.copy_from_slice(&match (self.alpha, pixel.get(self.colours())) {
                (Some(Alpha::Straight), Some(&alpha)) => colour.map(|sample| over_white(sample, alpha)),
                (Some(Alpha::Multiplied), Some(&alpha)) => {
                    colour.map(|sample| sample.saturating_add(255 - alpha))
                }
                _ => colour,
            });
        }
    }
}

/// Converts CMYK to RGB.
fn from_inks([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    let light = 1.0 - f32::from(black) / 255.0;
    [cyan, magenta, yellow].map(|ink| ((255.0 - f32::from(ink)) * light) as u8)
}

/// Converts YCbCr to RGB as BT.601 defines it, which JPEG uses.
fn from_ycbcr([luma, blue, red]: [u8; 3]) -> [u8; 3] {
    let [luma, blue, red] = [f32::from(luma), f32::from(blue) - 128.0, f32::from(red) - 128.0];
    [luma + 1.402 * red, luma - 0.344_136 * blue - 0.714_136 * red, luma + 1.772 * blue]
        .map(|sample| sample.round() as u8)
}

fn pixels(reader: &mut Reader, pixel: &Pixel) -> TiffResult<RgbImage> {
    let (width, height) = reader.dimensions()?;
    let (across, down) = reader.chunk_dimensions();
    if across == 0 || down == 0 {
        return Err(TiffFormatError::InconsistentSizesEncountered.into());
    }
    let columns = width.div_ceil(across);
    let parts = columns * height.div_ceil(down);
    // Each sample may have strips of its own: those of one plane lie behind those of the plane before.
    let planes = match reader.find_tag_unsigned::<u16>(Tag::PlanarConfiguration)? {
        Some(2) => pixel.samples,
        _ => 1,
    };
    let mut image = RgbImage::new(width, height);
    let stride = 3 * width as usize;
    let (mut row, mut samples) = (Vec::new(), Vec::new());
    for part in 0..parts {
        let (part_width, part_height) = reader.chunk_data_dimensions(part);
        let (part_width, part_height) = (part_width as usize, part_height as usize);
        let (left, top) = (part % columns * across, part / columns * down);
        let planes = (0..planes as u32)
            .map(|plane| reader.read_chunk(plane * parts + part))
            .collect::<TiffResult<Vec<_>>>()?;
        let across = pixel.samples / planes.len(); // samples of a pixel that lie side by side
        for y in 0..part_height {
            samples.resize(part_width * pixel.samples, 0);
            for (at, plane) in planes.iter().enumerate() {
                eight_bits(plane, y, part_width * across, pixel, &mut row);
                if planes.len() == 1 {
                    std::mem::swap(&mut samples, &mut row);
                } else {
                    samples[at..].iter_mut().step_by(planes.len()).zip(&row).for_each(|(out, &s)| *out = s);
                }
            }
            let start = (top as usize + y) * stride + 3 * left as usize;
            pixel.write(&samples, &mut image.as_mut()[start..][..3 * part_width]);
        }
    }
    Ok(image)
}

/// Writes row `y` of a part, whose rows have `count` samples each, to `row` with 8 bits per sample.
fn eight_bits(part: &DecodingResult, y: usize, count: usize, pixel: &Pixel, row: &mut Vec<u8>) {
    row.clear();
    match part {
        DecodingResult::U8(samples) if pixel.bits < 8 => {
            let bits = usize::from(pixel.bits);
            let bytes = (count * bits).div_ceil(8);
            let most = (1u16 << bits) - 1;
            let scale = (u16::from(pixel.largest()) / most) as u8;
            row.extend((0..count).map(|at| {
                let (byte, shift) = (at * bits / 8, 8 - bits - at * bits % 8);
                (samples[y * bytes + byte] >> shift & most as u8) * scale
            }));
        }
        DecodingResult::U8(samples) => row.extend_from_slice(&samples[y * count..][..count]),
        DecodingResult::U16(samples) => {
            let narrow = |&sample: &u16| ((u32::from(sample) + 128) / 257) as u8;
            row.extend(samples[y * count..][..count].iter().map(narrow));
        }
        DecodingResult::F32(samples) => {
            row.extend(samples[y * count..][..count].iter().map(|sample| (sample * 255.0).round() as u8));
        }
        _ => unreachable!("pictures of other samples are refused before"),
    }
}

fn unread(coding: String) -> DecodeError {
    DecodeError::UnreadCoding { kind: FileKind::Tiff, coding, advice: FileKind::Tiff.advice() }
}

fn explain(error: TiffError, file: &[u8]) -> DecodeError {
    match error {
        TiffError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            DecodeError::Truncated { bytes: file.len() as u64 }
        }
        TiffError::LimitsExceeded => DecodeError::LargePixels,
        TiffError::UnsupportedError(TiffUnsupportedError::ChromaSubsampling) => {
            unread("chroma subsampling outside JPEG".to_owned())
        }
        TiffError::UnsupportedError(error) => {
            let text = error.to_string().to_lowercase();
            unread(text.trim_end_matches('.').trim_end_matches(" is unsupported").to_owned())
        }
        error => DecodeError::Damaged(error.to_string().to_lowercase()),
    }
}
