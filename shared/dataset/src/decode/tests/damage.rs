//! Files that are cut, damaged, or made to break what reads them.

use rand::RngExt;

use super::*;
use settings::random::stream;

fn truncated(bytes: usize) -> String {
    format!("the image is truncated: the file ends after {bytes} bytes, before the image does")
}

#[test]
fn a_truncated_image_says_where_it_ends() {
    for (name, bytes) in [("rgb", file("rgb")), ("progressive", file("progressive"))] {
        assert_eq!(reason(&bytes[..400]), truncated(400), "{name}");
    }
    let noise =
        RgbImage::from_fn(16, 16, |x, y| Rgb([(x * y * 37) as u8, (x * 91 + y * 53) as u8, (y * 17) as u8]));
    for (kind, format) in FORMATS {
        let bytes = encoded(noise.clone(), format);
        for cut in [30, 60, bytes.len() / 2] {
            assert_eq!(reason(&bytes[..cut]), truncated(cut), "{kind}");
        }
    }
}

/// Wherever a file ends, its picture is the whole one or none.
#[test]
fn a_cut_file_is_whole_or_refused() {
    let noise =
        RgbImage::from_fn(19, 17, |x, y| Rgb([(x * y * 37) as u8, (x * 91 + y * 53) as u8, (y * 17) as u8]));
    let others = FORMATS.map(|(kind, format)| (kind.name(), encoded(noise.clone(), format)));
    let jpegs = ["rgb", "cmyk", "ycck", "grey", "progressive"].map(|name| (name, file(name)));
    for (name, bytes) in jpegs.into_iter().chain(others) {
        let whole = decode(&bytes).unwrap();
        for cut in 0..bytes.len() {
            if let Ok(image) = decode(&bytes[..cut]) {
                assert!(image == whole, "{name} cut to {cut} of {} bytes", bytes.len());
            }
        }
    }
}

#[test]
fn a_jpeg_without_its_end_marker_is_read() {
    for name in ["rgb", "cmyk", "ycck", "grey", "progressive"] {
        let bytes = file(name);
        let cut = &bytes[..bytes.len() - 2];
        assert_eq!(decode(cut).unwrap(), decode(&bytes).unwrap(), "{name}");
        assert_eq!(reason(&cut[..cut.len() - 8]), truncated(cut.len() - 8), "{name}");
    }
}

#[test]
fn bytes_behind_the_end_are_passed_over() {
    let trailing = b"\0\0appended by a camera, \xFF\xD8\xFF\xE0 perhaps";
    let all = FORMATS.map(|(_, format)| encoded(picture(19, 17), format));
    for bytes in all.into_iter().chain([file("rgb"), file("progressive")]) {
        let longer = [&bytes[..], trailing].concat();
        assert_eq!(decode(&longer).unwrap(), decode(&bytes).unwrap());
    }
}

#[test]
fn a_wrong_checksum_does_not_matter() {
    let bytes = png(picture(19, 17));
    let data = bytes.windows(4).position(|name| name == b"IDAT").unwrap();
    let length = u32::from_be_bytes(bytes[data - 4..data].try_into().unwrap()) as usize;
    // The last byte of the pixels' own sum, and the first of the chunk's.
    for at in [data + 4 + length - 1, data + 4 + length] {
        let mut wrong = bytes.clone();
        wrong[at] ^= 1;
        assert_eq!(decode(&wrong).unwrap(), picture(19, 17));
    }
}

/// The header alone decides: nothing else of these files could be decoded.
#[test]
fn an_absurdly_large_image_is_refused_from_its_header() {
    let mut jpeg = file("rgb");
    let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xEA, 0x60, 0xEA, 0x60]);
    let png = chunks(60_000, 60_000, [8, 2, 0], &[]);
    let gif = b"GIF89a\x60\xEA\x60\xEA\0\0\0,\0\0\0\0\x60\xEA\x60\xEA\0\x02\0;".to_vec();
    let tiff = tiff(&picture(1, 1), &[(256, 60_000), (257, 60_000), (278, 60_000)]);
    for bytes in [jpeg, png, gif, tiff] {
        assert_eq!(
            reason(&bytes),
            "the header says 60000 x 60000 pixels; at most 256 megapixels are read: reduce it"
        );
    }
}

#[test]
fn a_header_that_claims_more_than_its_file_can_hold_is_refused() {
    let mut jpeg = file("rgb");
    let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0x27, 0x10, 0x27, 0x10]);
    let mut fewer = jpeg.clone();
    fewer[frame + 5..frame + 9].copy_from_slice(&[2, 0x58, 3, 0x20]); // rows, then columns
    assert_eq!(
        reason(&fewer),
        format!(
            "the header says 800 x 600 pixels, more than a file of {} bytes can hold: it is truncated or damaged",
            fewer.len()
        )
    );
    let mut unended = jpeg.clone();
    unended.truncate(jpeg.len() - 2);
    let mut bmp = encoded(picture(1, 1), ImageFormat::Bmp);
    bmp[18..26].copy_from_slice(&[0x10, 0x27, 0, 0, 0x10, 0x27, 0, 0]);
    // Width and height less 1 in 14 bits each, behind the mark of a lossless picture.
    let mut webp = encoded(picture(1, 1), ImageFormat::WebP);
    let mark = webp.iter().position(|&byte| byte == 0x2F).unwrap();
    webp[mark + 1..mark + 5].copy_from_slice(&(9_999u32 | 9_999 << 14).to_le_bytes());
    let gif = b"GIF89a\x10\x27\x10\x27\0\0\0,\0\0\0\0\x10\x27\x10\x27\0\x02\0;".to_vec();
    let sides = [(256, 10_000), (257, 10_000), (278, 10_000)];
    let tiled =
        tiff(&picture(1, 1), &[&sides[..], &[(322, 65_520), (323, 65_520), (324, 8), (325, 3)]].concat());
    for bytes in [
        jpeg,
        unended,
        chunks(10_000, 10_000, [16, 6, 0], &[]),
        bmp,
        webp,
        gif,
        tiff(&picture(1, 1), &sides),
        tiled,
    ] {
        let (text, length) = (reason(&bytes), bytes.len());
        let expected = format!(
            "the header says 10000 x 10000 pixels, more than a file of {length} bytes can hold: it is truncated or damaged"
        );
        assert_eq!(text, expected);
    }
}

/// Nothing could be cropped from it.
#[test]
fn an_image_without_a_pixel_is_refused_in_each_format() {
    let mut bmp = encoded(picture(1, 1), ImageFormat::Bmp);
    bmp[18..22].fill(0);
    let mut jpeg = file("rgb");
    let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 7].fill(0);
    let gif = b"GIF89a\0\0\x05\0\0\0\0,\0\0\0\0\0\0\x05\0\0\x02\0;".to_vec();
    let mut webp = encoded(picture(1, 1), ImageFormat::WebP);
    webp.truncate(12);
    let pixels = chunk(b"IDAT", &deflated(&[0]));
    for bytes in [bmp, jpeg, gif, webp, chunks(0, 1, [8, 2, 0], &[pixels]), tiff(&picture(1, 1), &[(257, 0)])]
    {
        assert!(decode(&bytes).is_err(), "\"{}\"", bytes.escape_ascii());
    }
}

/// Of a picture of one pixel, nothing that packs 16 MiB into a few bytes is unpacked.
#[test]
fn texts_and_profiles_of_a_png_are_not_unpacked() {
    let packed = deflated(&vec![0; 16 << 20]);
    let pixels = chunk(b"IDAT", &deflated(&[0, 1, 2, 3]));
    for (name, start) in
        [(b"iCCP", &b"profile\0\0"[..]), (b"zTXt", b"text\0\0"), (b"iTXt", b"text\0\x01\0\0\0")]
    {
        let file = chunks(1, 1, [8, 2, 0], &[chunk(name, &[start, &packed].concat()), pixels.clone()]);
        let (image, _) = crate::png::decode(&file, 1 << 16).unwrap();
        assert_eq!(image.get_pixel(0, 0).0, [1, 2, 3]);
    }
}

/// Of a tile or strip that claims a gigabyte in a small picture, nothing is allocated.
#[test]
fn a_tiff_with_absurd_parts_is_refused() {
    for more in [
        &[(322, 65_520), (323, 65_520), (324, 8), (325, u32::MAX)][..],
        &[(279, u32::MAX)],
        &[(278, 1)],
        &[(277, 60_000)],
    ] {
        let bytes = tiff(&picture(9, 9), more);
        assert!(decode(&bytes).is_err(), "{more:?}");
    }
}

/// Whatever the bytes, there is an answer; damage inside the pixels may pass, damage to the header may not
/// give an image of another size than it says.
#[test]
fn damaged_files_are_refused_or_read_but_never_panic() {
    let small = FORMATS.map(|(_, format)| encoded(picture(9, 9), format));
    let exif = with_exif(&file("rgb"), &exif(6)[0]);
    let originals: Vec<_> =
        small.into_iter().chain([file("rgb"), file("cmyk"), file("progressive"), exif]).collect();
    let mut refused = 0;
    for case in 0..2048u64 {
        let mut random = stream(9, "damage", &[case]);
        let mut bytes = originals[case as usize % originals.len()].clone();
        for _ in 0..random.random_range(1..6) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        refused += usize::from(decode_known(&bytes, FileKind::of(&bytes)).is_err());
    }
    assert!((200..2000).contains(&refused), "{refused} of 2048 damaged files were refused");
}
