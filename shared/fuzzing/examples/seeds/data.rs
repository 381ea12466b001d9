//! Images, tar shards, and the lists beside them.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use tar::{Builder, EntryType, Header};

use crate::{Seed, seed, tiff};

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let named = [kind, data].concat();
    let mut sum = Crc::new();
    sum.update(&named);
    [&(data.len() as u32).to_be_bytes(), &named[..], &sum.sum().to_be_bytes()].concat()
}

/// A PNG file of any header, with other chunks before its pixels.
fn png(width: u32, height: u32, [bits, colour, interlace]: [u8; 3], others: &[u8], pixels: &[u8]) -> Vec<u8> {
    let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let header = chunk(b"IHDR", &[&sides[..], &[bits, colour, 0, 0, interlace]].concat());
    let pixels = chunk(b"IDAT", &compressed(pixels));
    [b"\x89PNG\r\n\x1a\n", &header[..], others, &pixels, &chunk(b"IEND", b"")].concat()
}

pub fn image() -> Vec<Seed> {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dataset/tests/data");
    let jpeg = |name: &str| fs::read(files.join(name).with_extension("jpg")).unwrap();
    let names = ["cmyk", "grey", "progressive", "rgb", "ycck"];
    let mut seeds: Vec<Seed> = names.iter().map(|name| seed(&format!("{name}.jpg"), jpeg(name))).collect();
    let all = [
        ImageFormat::Bmp,
        ImageFormat::Gif,
        ImageFormat::Jpeg,
        ImageFormat::Png,
        ImageFormat::Tiff,
        ImageFormat::WebP,
    ];
    let grey = GrayImage::from_fn(9, 7, |x, y| Luma([(x * y) as u8]));
    let colours = RgbImage::from_fn(40, 30, |x, y| Rgb([x as u8 * 6, y as u8 * 8, (x * y) as u8]));
    let alpha = RgbaImage::from_fn(5, 5, |x, y| Rgba([x as u8, y as u8, 9, (x * y) as u8]));
    let sixteen = ImageBuffer::from_fn(6, 4, |x, y| Rgb([x as u16 * 9999, y as u16, 0x8080]));
    let palette = [chunk(b"PLTE", &[0, 0, 0, 255, 0, 0]), chunk(b"tRNS", &[0])].concat();
    let profile = |bytes: &[u8]| chunk(b"iCCP", &[b"p\0\0", &compressed(bytes)[..]].concat());
    let text = |bytes: &[u8]| chunk(b"zTXt", &[b"t\0\0", &compressed(bytes)[..]].concat());
    // Segments behind the start of the image: the orientation of a camera, and a frame of 60,000 by 60,000
    // pixels.
    let exif = b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let turned = [&jpeg("rgb")[..2], exif, &jpeg("rgb")[2..]].concat();
    let mut vast = jpeg("rgb");
    let frame = vast.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    vast[frame + 5..frame + 9].copy_from_slice(&[0xea, 0x60, 0xea, 0x60]);
    seeds.extend(all.map(|format| {
        let extension = format.extensions_str()[0];
        seed(&format!("colours.{extension}"), encoded(colours.clone(), format))
    }));
    seeds.extend([
        seed("cut.jpg", &jpeg("progressive")[..400]),
        seed("turned.jpg", turned),
        seed("60000-by-60000.jpg", vast),
        seed("grey.png", encoded(grey, ImageFormat::Png)),
        seed("alpha.png", encoded(alpha, ImageFormat::Png)),
        seed("16-bit.png", encoded(DynamicImage::ImageRgb16(sixteen), ImageFormat::Png)),
        seed("palette-of-1-bit.png", png(9, 2, [1, 3, 0], &palette, &[0, 0xaa, 0x80, 0, 0x55, 0])),
        seed("interlaced.png", png(3, 3, [8, 0, 1], b"", &[0; 18])),
        seed("one-by-20000.png", png(1, 20_000, [8, 0, 0], b"", &[0; 40_000])),
        seed("60000-by-60000.png", png(60_000, 60_000, [8, 2, 0], b"", b"")),
        seed("no-pixels.png", png(0, 0, [8, 2, 0], b"", b"")),
        seed("profile-of-256-MiB.png", png(1, 1, [8, 2, 0], &profile(&vec![0; 256 << 20]), &[0; 4])),
        seed("text.png", png(1, 1, [8, 2, 0], &text(&[b' '; 5000]), &[0; 4])),
        seed("256-MiB-behind-one-pixel.png", png(1, 1, [8, 2, 0], b"", &vec![0; 256 << 20])),
        seed("web-page.jpg", "<!DOCTYPE html><html></html>"),
        seed("a-film.mp4", *b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2"),
    ]);
    seeds.extend(tiff::seeds());
    seeds
}

fn shard(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

/// The header of a member of any kind that says to have so many bytes.
fn header(kind: EntryType, name: &str, size: u64) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_cksum();
    header.as_bytes().to_vec()
}

pub fn tar() -> Vec<Seed> {
    let picture = encoded(GrayImage::from_pixel(4, 4, Luma([99])), ImageFormat::Png);
    let whole = shard(&[("1.png", &picture), ("1.cls", b"0"), ("2.png", &picture), ("2.cls", b"1\n")]);
    let long = format!("{}/{}.png", "folder".repeat(20), "key".repeat(40));
    let links =
        [header(EntryType::Link, "1.png", 0), header(EntryType::Directory, "d.png", 0), whole.clone()];
    let sparse = [header(EntryType::GNUSparse, "1.png", 1 << 40), vec![0; 1024]];
    let unlisted = [header(EntryType::Regular, "1.cls", u64::MAX >> 1), whole.clone()];
    vec![
        seed("two-samples", whole.clone()),
        seed("cut", &whole[..whole.len() / 2]),
        seed("long-names", shard(&[(&long, &picture), (&long.replace("png", "cls"), b"0")])),
        seed("largest-class", shard(&[("1.png", &picture), ("1.cls", b"99999")])),
        seed("class-over-all", shard(&[("1.png", &picture), ("1.cls", b"4294967295")])),
        seed("no-class", shard(&[("1.png", &picture), ("2.cls", b"0"), ("3.png", &picture)])),
        seed("broken-image", shard(&[("1.png", &picture[..30]), ("1.cls", b"0")])),
        seed("links", links.concat()),
        seed("sparse-of-1-TiB", sparse.concat()),
        seed("member-of-8-EiB", unlisted.concat()),
        seed(
            "long-name-of-3-GiB",
            [header(EntryType::GNULongName, "././@LongLink", 3 << 30), vec![b'a'; 1024]].concat(),
        ),
        seed("extension-of-3-GiB", [header(EntryType::XHeader, "pax", 3 << 30), vec![b'1'; 1024]].concat()),
        seed("web-page", "<!DOCTYPE html>".repeat(100)),
    ]
}

/// An element of a MATLAB 5 file.
fn element(kind: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = [kind.to_le_bytes(), (data.len() as u32).to_le_bytes()].concat();
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn matrix(class: u8, sides: [u32; 2], name: &str, rest: &[u8]) -> Vec<u8> {
    let sides = element(5, &sides.map(u32::to_le_bytes).concat());
    let flags = element(6, &[class, 0, 0, 0, 0, 0, 0, 0]);
    element(14, &[flags, sides, element(1, name.as_bytes()), rest.to_vec()].concat())
}

/// A file with an array of structures of these fields, as it is or compressed.
fn matlab(sides: [u32; 2], fields: &[&str], values: &[u8], packed: bool) -> Vec<u8> {
    let names: Vec<u8> =
        fields.iter().flat_map(|name| name.bytes().chain(std::iter::repeat(0)).take(32)).collect();
    let fields = [&element(5, &32u32.to_le_bytes())[..], &element(1, &names), values].concat();
    let array = matrix(2, sides, "synsets", &fields);
    let array = if packed { packed_element(&array) } else { array };
    [&[b' '; 124][..], b"\x00\x01IM", &array].concat()
}

fn packed_element(array: &[u8]) -> Vec<u8> {
    let packed = compressed(array);
    [&15u32.to_le_bytes()[..], &(packed.len() as u32).to_le_bytes(), &packed].concat()
}

pub fn synsets() -> Vec<Seed> {
    let text = |text: &str| {
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        matrix(4, [1, text.len() as u32], "", &element(4, &units))
    };
    let synset = |id: f64, wnid: &str, words: &str| {
        [matrix(6, [1, 1], "", &element(9, &id.to_le_bytes())), text(wnid), text(words)].concat()
    };
    let fields = ["ILSVRC2012_ID", "WNID", "words"];
    let two = [synset(1.0, "n02119789", "kit fox"), synset(2.0, "n02100735", "English setter")].concat();
    let odd = [synset(f64::NAN, "n1", ""), synset(-1e300, "n1", "")].concat();
    let bomb = [&[b' '; 124][..], b"\x00\x01IM", &packed_element(&vec![0; 128 << 20])].concat();
    vec![
        seed("two-synsets", matlab([2, 1], &fields, &two, true)),
        seed("two-synsets-as-they-are", matlab([2, 1], &fields, &two, false)),
        seed("numbers-that-are-none", matlab([2, 1], &fields, &odd, false)),
        seed("2-to-the-62-empty-structures", matlab([0x7fff_ffff, 0x7fff_ffff], &[], b"", false)),
        seed("2-to-the-31-structures", matlab([0x7fff_ffff, 1], &fields, &two, false)),
        seed("2000-fields", matlab([1, 1], &["f"; 2000], &[0; 16_000], true)),
        seed("element-of-4-GiB", [&[b' '; 124][..], b"\x00\x01IM\x0e\0\0\0\xff\xff\xff\xff"].concat()),
        seed("128-MiB-compressed", bomb),
    ]
}

pub fn lists() -> Vec<Seed> {
    vec![
        seed("classes", "n01440764 tench, Tinca tinca\r\ndaisy\n\n"),
        seed("words", "n02119789 kit fox, Vulpes macrotis\nn02100735 English setter\n"),
        seed("truth", "1\n2\n"),
        seed("truth-of-windows", "2\r\n1\r\n"),
        seed("truth-out-of-range", "0\n4294967296\n"),
        seed("the-same-twice", "daisy\ndaisy\n"),
        seed("byte-order-mark", "\u{feff}1\n2\n"),
        seed("no-utf-8", *b"caf\xe9\n1"),
        seed("nothing", ""),
        seed("line-breaks", "\n".repeat(5000)),
    ]
}
