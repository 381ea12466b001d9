mod codings;
mod damage;
mod tiffs;

use std::io::Write;

use super::*;
use flate2::{Compression, write::ZlibEncoder};
use image::codecs::gif::GifEncoder;
use image::{Frame, GrayAlphaImage, GrayImage, ImageBuffer, ImageEncoder, Luma, LumaA, Rgb, Rgba, RgbaImage};
use tiffs::tiff;

const FORMATS: [(FileKind, ImageFormat); 5] = [
    (FileKind::Png, ImageFormat::Png),
    (FileKind::Webp, ImageFormat::WebP),
    (FileKind::Gif, ImageFormat::Gif),
    (FileKind::Bmp, ImageFormat::Bmp),
    (FileKind::Tiff, ImageFormat::Tiff),
];

/// 24 x 16: three columns of colour, each lighter in the lower half.
fn file(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/data/{name}.jpg", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    encoded(image, ImageFormat::Png)
}

/// Makes a picture without symmetry, in few enough colours for a palette.
fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([(x % 8 * 30) as u8, (y % 5 * 50) as u8, (x / 4 % 3 * 90) as u8])
    })
}

fn reason(bytes: &[u8]) -> String {
    decode(bytes).unwrap_err().to_string()
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg()))
    })
}

fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let named = [name, data].concat();
    [&(data.len() as u32).to_be_bytes(), &named[..], &crc32(&named).to_be_bytes()].concat()
}

/// Makes a PNG of chunks between its header and its end.
fn chunks(width: u32, height: u32, [bits, colour, interlace]: [u8; 3], between: &[Vec<u8>]) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[bits, colour, 0, 0, interlace]].concat();
    let signature = b"\x89PNG\r\n\x1A\n".to_vec();
    [signature, chunk(b"IHDR", &header), between.concat(), chunk(b"IEND", b"")].concat()
}

fn deflated(data: &[u8]) -> Vec<u8> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    packed.write_all(data).unwrap();
    packed.finish().unwrap()
}

/// Metadata with a single entry, the orientation, in either order of bytes.
fn exif(orientation: u16) -> [Vec<u8>; 2] {
    let little = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0";
    let big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01";
    [
        [&little[..], &orientation.to_le_bytes(), &[0; 6]].concat(),
        [&big[..], &orientation.to_be_bytes(), &[0; 6]].concat(),
    ]
}

/// Makes a JPEG with metadata behind its first marker.
fn with_exif(jpeg: &[u8], exif: &[u8]) -> Vec<u8> {
    let length = (8 + exif.len() as u16).to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, b"Exif\0\0", exif, &jpeg[2..]].concat()
}

#[test]
fn every_kind_of_jpeg_comes_out_in_its_colours() {
    let colours =
        [[220, 30, 40], [40, 190, 60], [30, 60, 210], [237, 142, 147], [147, 222, 157], [142, 157, 232]];
    // Inks can be no lighter than the black of the YCCK file, 230, lets through.
    let under_black = colours.map(|colour| colour.map(|value| value.min(230)));
    let grey = [88, 130, 68, 171, 192, 161].map(|value| [value; 3]);
    for (name, expected) in
        [("rgb", colours), ("progressive", colours), ("cmyk", colours), ("ycck", under_black), ("grey", grey)]
    {
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
fn every_kind_of_png_becomes_rgb_on_white() {
    let palette = [chunk(b"PLTE", &[9, 8, 7, 0, 0, 0]), chunk(b"tRNS", &[255, 0])];
    let indexed = |index: u8| {
        let row = [0, index * 0b1110_0000]; // the filter, and a bit for each pixel
        let data = chunk(b"IDAT", &deflated(&row.repeat(2)));
        chunks(3, 2, [1, 3, 0], &[&palette[..], &[data]].concat())
    };
    let cases = [
        ("grey", png(GrayImage::from_pixel(3, 2, Luma([7]))), [7, 7, 7]),
        ("grey with alpha", png(GrayAlphaImage::from_pixel(3, 2, LumaA([7, 0]))), [255; 3]),
        ("rgb", png(RgbImage::from_pixel(3, 2, Rgb([1, 2, 3]))), [1, 2, 3]),
        ("ink on nothing", png(RgbaImage::from_pixel(3, 2, Rgba([0; 4]))), [255; 3]),
        ("half transparent", png(RgbaImage::from_pixel(3, 2, Rgba([0, 100, 255, 128]))), [127, 177, 255]),
        ("opaque", png(RgbaImage::from_pixel(3, 2, Rgba([1, 2, 3, 255]))), [1, 2, 3]),
        ("grey of 16 bits", png(ImageBuffer::from_pixel(3, 2, Luma([0x8080u16]))), [128; 3]),
        ("rgb of 16 bits", png(ImageBuffer::from_pixel(3, 2, Rgb([0u16, 0x4040, 0xFFFF]))), [0, 64, 255]),
        ("16 bits, nothing", png(ImageBuffer::from_pixel(3, 2, Rgba([0u16; 4]))), [255; 3]),
        ("palette", indexed(0), [9, 8, 7]),
        ("palette, nothing", indexed(1), [255; 3]),
    ];
    for (name, bytes, expected) in cases {
        let image = decode(&bytes).unwrap();
        assert_eq!(image, RgbImage::from_pixel(3, 2, Rgb(expected)), "{name}");
    }
}

#[test]
fn an_interlaced_png_is_put_together() {
    let image = RgbaImage::from_fn(13, 11, |x, y| Rgba([x as u8, y as u8, 7, if x == y { 0 } else { 255 }]));
    let passes =
        [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];
    for depth in [8u8, 16] {
        let mut data = Vec::new();
        for [left, top, across, down] in passes {
            for y in (top..11u32).step_by(down as usize) {
                data.push(0); // the filter
                for x in (left..13u32).step_by(across as usize) {
                    let samples = image.get_pixel(x, y).0;
                    data.extend(samples.iter().flat_map(|&sample| vec![sample; usize::from(depth) / 8]));
                }
            }
        }
        let file = chunks(13, 11, [depth, 6, 1], &[chunk(b"IDAT", &deflated(&data))]);
        assert_eq!(decode(&file).unwrap(), decode(&png(image.clone())).unwrap(), "{depth} bits");
    }
}

#[test]
fn each_format_shows_what_its_png_twin_does() {
    for image in [picture(37, 23), picture(1, 1), picture(8, 40)] {
        for (kind, format) in FORMATS {
            let bytes = encoded(image.clone(), format);
            assert_eq!(FileKind::of(&bytes), kind);
            assert_eq!(decode(&bytes).unwrap(), image, "{kind}");
        }
        assert_eq!(decode(&tiff(&image, &[])).unwrap(), image);
    }
}

#[test]
fn transparent_pixels_lie_on_white_in_each_format() {
    let drawing = RgbaImage::from_fn(20, 14, |x, y| Rgba([0, 0, 0, if x.abs_diff(y) < 3 { 255 } else { 0 }]));
    let expected = RgbImage::from_fn(20, 14, |x, y| Rgb(if x.abs_diff(y) < 3 { [0; 3] } else { [255; 3] }));
    for (kind, format) in FORMATS {
        assert_eq!(decode(&encoded(drawing.clone(), format)).unwrap(), expected, "{kind}");
    }
}

#[test]
fn the_first_of_several_pictures_is_read() {
    let frames =
        [[200, 10, 20, 255], [0, 255, 0, 255]].map(|colour| RgbaImage::from_pixel(9, 7, Rgba(colour)));
    let mut gif = Vec::new();
    GifEncoder::new(&mut gif).encode_frames(frames.clone().map(Frame::new)).unwrap();
    let riff = |name: &[u8; 4], data: &[u8]| {
        [&name[..], &(data.len() as u32).to_le_bytes(), data, &vec![0; data.len() % 2]].concat()
    };
    let mut webp =
        [b"WEBP".to_vec(), riff(b"VP8X", &[2, 0, 0, 0, 8, 0, 0, 6, 0, 0]), riff(b"ANIM", &[0; 6])].concat();
    for frame in frames {
        let still = encoded(DynamicImage::from(frame).into_rgb8(), ImageFormat::WebP);
        // Place, size, time and flags of the frame, then its picture, as it lies behind the still file's own
        // header.
        let frame = [&[0, 0, 0, 0, 0, 0, 8, 0, 0, 6, 0, 0, 100, 0, 0, 2][..], &still[12..]].concat();
        webp.extend(riff(b"ANMF", &frame));
    }
    let expected = RgbImage::from_pixel(9, 7, Rgb([200, 10, 20]));
    assert_eq!(decode(&gif).unwrap(), expected);
    assert_eq!(decode(&riff(b"RIFF", &webp)).unwrap(), expected);
}

/// Turns a picture as a camera stores it that says `orientation` of it.
fn stored(upright: &RgbImage, orientation: Orientation) -> RgbImage {
    let mut image = DynamicImage::from(upright.clone());
    image.apply_orientation(match orientation {
        Orientation::Rotate90 => Orientation::Rotate270,
        Orientation::Rotate270 => Orientation::Rotate90,
        its_own_inverse => its_own_inverse,
    });
    image.into_rgb8()
}

#[test]
fn each_of_the_eight_orientations_is_turned_upright_in_each_format_that_has_them() {
    let upright = picture(21, 10);
    for value in 1..=8 {
        let stored = stored(&upright, Orientation::from_exif(value as u8).unwrap());
        let (width, height) = stored.dimensions();
        for exif in exif(value) {
            let mut png = Vec::new();
            let mut encoder = image::codecs::png::PngEncoder::new(&mut png);
            encoder.set_exif_metadata(exif.clone()).unwrap();
            encoder.write_image(&stored, width, height, image::ExtendedColorType::Rgb8).unwrap();
            assert_eq!(decode(&png).unwrap(), upright, "PNG, {value}");

            let mut webp = Vec::new();
            let mut encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut webp);
            encoder.set_exif_metadata(exif.clone()).unwrap();
            encoder.write_image(&stored, width, height, image::ExtendedColorType::Rgb8).unwrap();
            assert_eq!(decode(&webp).unwrap(), upright, "WebP, {value}");

            let jpeg = encoded(stored.clone(), ImageFormat::Jpeg);
            let lying = decode(&jpeg).unwrap();
            let found = decode(&with_exif(&jpeg, &exif)).unwrap();
            assert_eq!(found.dimensions(), upright.dimensions(), "JPEG, {value}");
            assert_eq!(super::tests::stored(&found, Orientation::from_exif(value as u8).unwrap()), lying);
        }
        assert_eq!(decode(&tiff(&stored, &[(274, value.into())])).unwrap(), upright, "TIFF, {value}");
    }
}

#[test]
fn metadata_of_a_png_may_lie_behind_its_pixels() {
    let upright = picture(21, 10);
    let mut file = png(stored(&upright, Orientation::Rotate90));
    let end = file.len() - 12;
    let exif = chunk(b"eXIf", &exif(6)[0]);
    file.splice(end..end, exif);
    assert_eq!(decode(&file).unwrap(), upright);
}

#[test]
fn with_broken_metadata_a_picture_is_taken_as_it_lies() {
    let jpeg = encoded(picture(21, 10), ImageFormat::Jpeg);
    let lying = decode(&jpeg).unwrap();
    let [little, big] = exif(6);
    let mut far = little.clone();
    far[4..8].fill(0xFF);
    let mut many = big[..10].to_vec();
    many[8..10].fill(0xFF);
    let mut other_kind = little.clone();
    other_kind[12] = 2;
    for exif in [exif(0)[0].clone(), exif(9)[1].clone(), exif(600)[0].clone(), far, many, other_kind] {
        assert_eq!(decode(&with_exif(&jpeg, &exif)).unwrap(), lying, "{}", exif.escape_ascii());
    }
    for cut in 0..18 {
        assert_eq!(decode(&with_exif(&jpeg, &little[..cut])).unwrap(), lying, "cut to {cut} bytes");
    }
    for length in [0u16, 1, 2, 5] {
        // A segment that ends within its own name.
        let bytes =
            [&jpeg[..2], &[0xFF, 0xE1], &(length + 2).to_be_bytes(), &b"Exif\0"[..length.into()], &jpeg[2..]];
        assert_eq!(decode(&bytes.concat()).unwrap(), lying, "{length}");
    }
}

#[test]
fn what_is_no_image_says_what_it_is() {
    let expected = "expected a JPEG, PNG, WebP, GIF, BMP or TIFF image, found";
    for (bytes, found) in [
        (&b""[..], "an empty file: get it again or remove it"),
        (b"<!DOCTYPE html>", "an HTML page: download the picture again or remove the file"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC photograph: convert it to JPEG"),
        (b"\0\0\0\x1Cftypavif\0\0\0\0avifmif1miaf", "an AVIF image: convert it to JPEG or PNG"),
        (b"%PDF-1.7\n", "a PDF document: export its pictures or remove it"),
        (b"<svg viewBox=\"0 0 9 9\"/>", "an SVG drawing: export it as PNG"),
        (b"404 not found", "a file that starts with \"404 not \": remove it"),
        (b"\x01\x02", "a file that starts with \"\\x01\\x02\": convert it to JPEG or PNG, or remove it"),
    ] {
        assert_eq!(reason(bytes), format!("{expected} {found}"));
    }
}

#[test]
fn a_coding_that_is_not_read_is_not_called_damaged() {
    let mut arithmetic = file("rgb");
    let frame = arithmetic.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    arithmetic[frame + 1] = 0xC9;
    assert_eq!(
        reason(&arithmetic),
        "a JPEG image with arithmetic coding, which is not read: make it a usual JPEG without loss by jpegtran -optimize"
    );
    let mut twelve_bits = file("rgb");
    twelve_bits[frame + 4] = 12;
    assert!(
        reason(&twelve_bits).starts_with("a JPEG image with samples of more than 8 bits, which is not read")
    );
    let strange = reason(&tiff(&picture(4, 4), &[(259, 34_676)]));
    assert!(
        strange.starts_with("a TIFF image with ") && strange.contains(", which is not read: "),
        "{strange}"
    );
}
