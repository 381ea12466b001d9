//! Kinds of files, told by their first bytes and not by their names.

use std::fmt;

/// The kind of a file, as its first bytes tell it.
///
/// Its [name](Kind::name) stands in messages: `{kind}` is the name behind its article, as in "an SVG
/// drawing", and an `s` makes the plural of every name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// JPEG, of whatever coding.
    Jpeg,
    /// PNG, also with several pictures.
    Png,
    /// WebP, lossy or lossless.
    Webp,
    /// GIF.
    Gif,
    /// BMP, a bitmap of Windows.
    Bmp,
    /// TIFF, also BigTIFF with its offsets of 64 bits.
    Tiff,
    /// HEIC or another HEIF: a still picture of a phone.
    Heic,
    /// AVIF.
    Avif,
    /// JPEG XL.
    JpegXl,
    /// JPEG 2000.
    Jpeg2000,
    /// The raw data of a camera's sensor, of any maker.
    CameraRaw,
    /// A document of Photoshop.
    Photoshop,
    /// A document of GIMP.
    Gimp,
    /// SVG, not compressed.
    Svg,
    /// An icon of Windows.
    Icon,
    /// An image of Netpbm: PBM, PGM or PPM.
    Netpbm,
    /// OpenEXR.
    OpenExr,
    /// PDF.
    Pdf,
    /// PostScript.
    PostScript,
    /// A film in any container.
    Video,
    /// HTML: often what a server says instead of sending the picture.
    Html,
    /// A Git LFS pointer, which stands in the place of a large file that was not fetched.
    GitLfs,
    /// A file of macOS about another file, named `._` and the other's name.
    AppleDouble,
    /// An archive or a compressed file.
    Archive,
    /// Text in UTF-8 or UTF-16.
    Text,
    /// A file without any bytes.
    Empty,
    /// A file of none of these kinds.
    Unknown,
}

impl Kind {
    /// Number of first bytes of a file that are enough to tell its kind.
    pub const FIRST_BYTES: usize = 1024;

    /// Returns the kind of the file that starts with these bytes. With fewer than [`Kind::FIRST_BYTES`] of a
    /// longer file it may be unknown.
    pub fn of(file: &[u8]) -> Kind {
        let start = &file[..file.len().min(Kind::FIRST_BYTES)];
        if start.is_empty() {
            return Kind::Empty;
        }
        let fits = |(_, at, bytes): &&(Kind, usize, &[u8])| {
            start.get(*at..).is_some_and(|rest| rest.starts_with(bytes))
        };
        match SIGNATURES.iter().find(fits) {
            Some((Kind::Tiff, ..)) if is_camera_raw(start) => Kind::CameraRaw,
            Some((Kind::Bmp, ..)) if !has_bitmap_header(start) => written(start),
            // Letters that a text may have there too.
            Some((Kind::Video, 4, _)) if start[0] != 0 => written(start),
            Some((_, 8, _)) if !start.starts_with(b"RIFF") => written(start),
            Some((_, 4, b"ftyp")) => boxed(start),
            Some((kind, ..)) => *kind,
            None => written(start),
        }
    }

    /// Returns the kind's name, without an article; its plural ends in `s`.
    pub fn name(self) -> &'static str {
        self.facts().1
    }

    /// Returns whether files of this kind are decoded.
    pub fn is_read(self) -> bool {
        matches!(self, Kind::Jpeg | Kind::Png | Kind::Webp | Kind::Gif | Kind::Bmp | Kind::Tiff)
    }

    /// Returns what to do with a file of this kind that cannot be read.
    pub fn advice(self) -> &'static str {
        self.facts().2
    }

    /// Article, name, and what to do with it.
    fn facts(self) -> (&'static str, &'static str, &'static str) {
        const CONVERT: &str = "convert it to JPEG or PNG";
        const REMOVE: &str = "remove it";
        match self {
            Kind::Jpeg => ("a", "JPEG image", CONVERT),
            Kind::Png => ("a", "PNG image", CONVERT),
            Kind::Webp => ("a", "WebP image", CONVERT),
            Kind::Gif => ("a", "GIF image", CONVERT),
            Kind::Bmp => ("a", "BMP image", CONVERT),
            Kind::Tiff => ("a", "TIFF image", CONVERT),
            Kind::Heic => ("a", "HEIC photograph", "convert it to JPEG"),
            Kind::Avif => ("an", "AVIF image", CONVERT),
            Kind::JpegXl => ("a", "JPEG XL image", CONVERT),
            Kind::Jpeg2000 => ("a", "JPEG 2000 image", CONVERT),
            Kind::CameraRaw => ("a", "camera raw file", "develop it to JPEG"),
            Kind::Photoshop => ("a", "Photoshop document", "export it as PNG"),
            Kind::Gimp => ("a", "GIMP document", "export it as PNG"),
            Kind::Svg => ("an", "SVG drawing", "export it as PNG"),
            Kind::Icon => ("an", "icon", CONVERT),
            Kind::Netpbm => ("a", "Netpbm image", CONVERT),
            Kind::OpenExr => ("an", "OpenEXR image", CONVERT),
            Kind::Pdf => ("a", "PDF document", "export its pictures or remove it"),
            Kind::PostScript => ("a", "PostScript document", "export its pictures or remove it"),
            Kind::Video => ("a", "video", "export its pictures or remove it"),
            Kind::Html => ("an", "HTML page", "download the picture again or remove the file"),
            Kind::GitLfs => ("a", "Git LFS pointer", "fetch the picture with git lfs pull"),
            Kind::AppleDouble => ("a", "macOS metadata file", REMOVE),
            Kind::Archive => ("an", "archive", "unpack it or remove it"),
            Kind::Text => ("a", "text file", REMOVE),
            Kind::Empty => ("an", "empty file", "get it again or remove it"),
            Kind::Unknown => ("an", "unknown file", "convert it to JPEG or PNG, or remove it"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (article, name, _) = self.facts();
        write!(f, "{article} {name}")
    }
}

/// The bytes by which a kind begins, and where they lie; the first that fit decide.
const SIGNATURES: &[(Kind, usize, &[u8])] = &[
    (Kind::Jpeg, 0, b"\xFF\xD8\xFF"),
    (Kind::Png, 0, b"\x89PNG\r\n\x1A\n"),
    (Kind::Webp, 8, b"WEBP"),
    (Kind::Gif, 0, b"GIF87a"),
    (Kind::Gif, 0, b"GIF89a"),
    (Kind::Bmp, 0, b"BM"),
    (Kind::CameraRaw, 0, b"IIU\0"),
    (Kind::CameraRaw, 0, b"IIRO\x08"),
    (Kind::CameraRaw, 0, b"IIRS\x08"),
    (Kind::CameraRaw, 0, b"MMOR\0"),
    (Kind::CameraRaw, 0, b"FUJIFILMCCD-RAW"),
    (Kind::CameraRaw, 0, b"\0MRM"),
    (Kind::CameraRaw, 0, b"FOVb"),
    (Kind::Tiff, 0, b"II*\0"),
    (Kind::Tiff, 0, b"MM\0*"),
    (Kind::Tiff, 0, b"II+\0"),
    (Kind::Tiff, 0, b"MM\0+"),
    (Kind::JpegXl, 0, b"\xFF\x0A"),
    (Kind::JpegXl, 0, b"\0\0\0\x0CJXL \r\n\x87\n"),
    (Kind::Jpeg2000, 0, b"\0\0\0\x0CjP  \r\n\x87\n"),
    (Kind::Jpeg2000, 0, b"\xFF\x4F\xFF\x51"),
    (Kind::Photoshop, 0, b"8BPS"),
    (Kind::Gimp, 0, b"gimp xcf "),
    (Kind::Icon, 0, b"\0\0\x01\0"),
    (Kind::Icon, 0, b"\0\0\x02\0"),
    (Kind::OpenExr, 0, b"\x76\x2F\x31\x01"),
    (Kind::Pdf, 0, b"%PDF-"),
    (Kind::PostScript, 0, b"%!PS"),
    (Kind::PostScript, 0, b"\xC5\xD0\xD3\xC6"),
    (Kind::Video, 4, b"ftyp"),
    (Kind::Video, 4, b"moov"),
    (Kind::Video, 4, b"mdat"),
    (Kind::Video, 4, b"wide"),
    (Kind::Video, 0, b"\x1A\x45\xDF\xA3"),
    (Kind::Video, 8, b"AVI "),
    (Kind::Video, 0, b"\0\0\x01\xBA"),
    (Kind::Video, 0, b"\0\0\x01\xB3"),
    (Kind::Video, 0, b"FLV\x01"),
    (Kind::Video, 0, b"\x30\x26\xB2\x75\x8E\x66\xCF\x11"),
    (Kind::AppleDouble, 0, b"\0\x05\x16\x07"),
    (Kind::Archive, 0, b"PK\x03\x04"),
    (Kind::Archive, 0, b"\x1F\x8B"),
    (Kind::Archive, 4, b"1AY&SY"),
    (Kind::Archive, 0, b"\xFD7zXZ\0"),
    (Kind::Archive, 0, b"\x28\xB5\x2F\xFD"),
    (Kind::Archive, 0, b"7z\xBC\xAF\x27\x1C"),
    (Kind::Archive, 0, b"Rar!\x1A\x07"),
    (Kind::Archive, 257, b"ustar"),
];

/// The kind of a file of the ISO base media format, by the brands that it names.
fn boxed(start: &[u8]) -> Kind {
    let length =
        u32::from_be_bytes(*start.first_chunk().expect("a signature behind them was found")) as usize;
    let brands = start.get(8..length.min(start.len())).unwrap_or_default();
    let named = |wanted: &[&[u8; 4]]| {
        // Between the first brand and the others lies a version.
        brands
            .chunks_exact(4)
            .enumerate()
            .any(|(at, brand)| at != 1 && wanted.iter().any(|wanted| brand == *wanted))
    };
    if named(&[b"avif", b"avis"]) {
        Kind::Avif
    } else if named(&[
        b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1",
    ]) {
        Kind::Heic
    } else if named(&[b"crx "]) {
        Kind::CameraRaw
    } else {
        Kind::Video
    }
}

/// Whether two letters that many a text begins with are a bitmap's: its second header has one of a few
/// lengths.
fn has_bitmap_header(start: &[u8]) -> bool {
    let length = start.get(14..18).map(|bytes| u32::from_le_bytes(bytes.try_into().expect("four bytes")));
    matches!(length, Some(12 | 16 | 40 | 52 | 56 | 64 | 108 | 124))
}

/// Whether a file in the form of a TIFF is a camera's: of Canon by its mark; of others because it is a
/// negative by its version tag, or has a small copy in the first place, where a TIFF has the picture.
fn is_camera_raw(start: &[u8]) -> bool {
    const NEW_SUBFILE_TYPE: u16 = 254;
    const DNG_VERSION: u16 = 50706;
    let little = start[0] == b'I';
    let two = |at: usize| {
        let bytes: [u8; 2] = start.get(at..at + 2)?.try_into().ok()?;
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let four = |at: usize| {
        let bytes: [u8; 4] = start.get(at..at + 4)?.try_into().ok()?;
        Some(if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    if start.get(8..10) == Some(b"CR") {
        return true;
    }
    if two(2) != Some(42) {
        return false; // offsets of 64 bits, which cameras do not write
    }
    let directory = four(4).map_or(usize::MAX, |at| at as usize).min(start.len());
    let entries = (0..two(directory).unwrap_or(0).into()).map(|number: usize| directory + 2 + 12 * number);
    entries.map_while(|at| Some((two(at)?, four(at + 8)?))).any(|(tag, value)| match tag {
        NEW_SUBFILE_TYPE => value & 1 == 1,
        DNG_VERSION => true,
        _ => false,
    })
}

/// The kind of a file without a signature: written in letters, or unknown.
fn written(start: &[u8]) -> Kind {
    if let [b'P', b'1'..=b'7', space, ..] = start
        && space.is_ascii_whitespace()
    {
        return Kind::Netpbm;
    }
    if start.starts_with(b"\xFF\xFE") || start.starts_with(b"\xFE\xFF") {
        return Kind::Text; // the mark in front of UTF-16
    }
    let start = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start);
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // The last letter may be cut.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).expect("it is valid up to there")
        }
        Err(_) => return Kind::Unknown,
    };
    if text.chars().any(|letter| letter.is_control() && !matches!(letter, '\t' | '\n' | '\r' | '\x0C')) {
        return Kind::Unknown;
    }
    let text = text.trim_start().to_ascii_lowercase();
    let (marked, has) = (text.starts_with('<'), |word| text.contains(word));
    match () {
        () if marked && (has("<!doctype html") || has("<html") || has("<head")) => Kind::Html,
        () if marked && has("<svg") => Kind::Svg,
        () if text.starts_with("version https://git-lfs") => Kind::GitLfs,
        () => Kind::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A box of brands, as in the first bytes of what phones and cameras write.
    fn brands(brands: &[&[u8; 4]]) -> Vec<u8> {
        let length = 8 + 4 * (brands.len() as u32 + 1);
        let mut bytes = [&length.to_be_bytes()[..], b"ftyp", brands[0], &[0; 4]].concat();
        brands[1..].iter().for_each(|brand| bytes.extend_from_slice(*brand));
        bytes.extend(b"\0\0\0\x08metaavif");
        bytes
    }

    /// A TIFF whose one directory has one tag of 32 bits.
    fn tiff(tag: u16, value: u32) -> [Vec<u8>; 2] {
        let little =
            [&b"II*\0\x08\0\0\0\x01\0"[..], &tag.to_le_bytes(), b"\x04\0\x01\0\0\0", &value.to_le_bytes()];
        let big =
            [&b"MM\0*\0\0\0\x08\0\x01"[..], &tag.to_be_bytes(), b"\0\x04\0\0\0\x01", &value.to_be_bytes()];
        [little.concat(), big.concat()]
    }

    fn bitmap(header: u32) -> Vec<u8> {
        [&b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0"[..], &header.to_le_bytes()].concat()
    }

    #[test]
    fn each_kind_is_told_by_its_first_bytes() {
        let [little, big] = tiff(256, 640);
        let cases: &[(&[u8], Kind)] = &[
            (b"\xFF\xD8\xFF\xE0\0\x10JFIF\0", Kind::Jpeg),
            (b"\x89PNG\r\n\x1A\n\0\0\0\rIHDR", Kind::Png),
            (b"RIFF\x24\0\0\0WEBPVP8 ", Kind::Webp),
            (b"GIF89a\x01\0\x01\0", Kind::Gif),
            (&bitmap(40), Kind::Bmp),
            (&bitmap(124), Kind::Bmp),
            (&little, Kind::Tiff),
            (&big, Kind::Tiff),
            (b"II+\0\x08\0\0\0", Kind::Tiff),
            (&brands(&[b"heic", b"mif1", b"heic"]), Kind::Heic),
            (&brands(&[b"mif1", b"heic", b"hevc"]), Kind::Heic),
            (&brands(&[b"avif", b"mif1", b"miaf"]), Kind::Avif),
            (&brands(&[b"mif1", b"avif"]), Kind::Avif),
            (&brands(&[b"crx ", b"isom"]), Kind::CameraRaw),
            (&brands(&[b"qt  "]), Kind::Video),
            (&brands(&[b"isom", b"avc1"]), Kind::Video),
            (b"\xFF\x0A\xFA\x1F", Kind::JpegXl),
            (b"\0\0\0\x0CjP  \r\n\x87\n", Kind::Jpeg2000),
            (b"8BPS\0\x01", Kind::Photoshop),
            (b"gimp xcf v011\0", Kind::Gimp),
            (b"<?xml version=\"1.0\"?>\n<svg width=\"4\">", Kind::Svg),
            (b"\xEF\xBB\xBF\n<SVG>", Kind::Svg),
            (b"\0\0\x01\0\x01\0", Kind::Icon),
            (b"P6 48 40 255\n\xFF\x80", Kind::Netpbm),
            (b"\x76\x2F\x31\x01\x02", Kind::OpenExr),
            (b"%PDF-1.7\n%\xE2\xE3", Kind::Pdf),
            (b"%!PS-Adobe-3.0 EPSF-3.0", Kind::PostScript),
            (b"\x1A\x45\xDF\xA3\x01", Kind::Video),
            (b"RIFF\x24\0\0\0AVI LIST", Kind::Video),
            (b"<!DOCTYPE html>\n<html><svg>", Kind::Html),
            (b"  <html lang=\"en\">", Kind::Html),
            (b"<?xml version=\"1.0\"?><!DOCTYPE html PUBLIC>", Kind::Html),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:", Kind::GitLfs),
            (b"\0\x05\x16\x07\0\x02\0\0Mac OS X", Kind::AppleDouble),
            (b"PK\x03\x04\x14\0", Kind::Archive),
            (b"\x1F\x8B\x08\0", Kind::Archive),
            (b"BZh91AY&SY", Kind::Archive),
            (b"", Kind::Empty),
            (b"rose, 12\r\n", Kind::Text),
            ("fleur d'été".as_bytes(), Kind::Text),
            (b"\xFF\xFEr\0o\0", Kind::Text),
            (b"\x01\x02\x03", Kind::Unknown),
            (&[0; 600], Kind::Unknown),
            (b"\xE9t\xE9", Kind::Unknown),
        ];
        for &(bytes, kind) in cases {
            assert_eq!(Kind::of(bytes), kind, "\"{}\"", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_negative_in_the_form_of_a_tiff_is_a_cameras() {
        for (tag, value) in [(254, 1), (50706, 0x0104_0000)] {
            for file in tiff(tag, value) {
                assert_eq!(Kind::of(&file), Kind::CameraRaw, "tag {tag}");
            }
        }
        assert_eq!(Kind::of(b"II*\0\x10\0\0\0CR\x02\0"), Kind::CameraRaw);
        // A page of several, which is no small copy.
        for file in tiff(254, 2) {
            assert_eq!(Kind::of(&file), Kind::Tiff);
        }
    }

    #[test]
    fn words_are_no_pictures() {
        for text in [
            "BMW and other cars",
            "far wide",
            "a large moov",
            "see the WEBP",
            "MMORPG",
            "P1: a list",
            "II* v",
        ] {
            assert_eq!(Kind::of(text.as_bytes()), Kind::Text, "{text}");
        }
    }

    #[test]
    fn a_letter_across_the_last_of_the_first_bytes_is_text_all_the_same() {
        for shift in 0..4 {
            let text = "x".repeat(shift) + &"€".repeat(Kind::FIRST_BYTES);
            assert_eq!(Kind::of(text.as_bytes()), Kind::Text, "shifted by {shift}");
        }
    }

    #[test]
    fn a_kind_has_a_name_in_singular_and_plural() {
        assert_eq!(Kind::Svg.to_string(), "an SVG drawing");
        assert_eq!(
            format!("12 {}s: {}", Kind::Heic.name(), Kind::Heic.advice()),
            "12 HEIC photographs: convert it to JPEG"
        );
    }

    /// However a file is cut or filled, some kind comes out.
    #[test]
    fn whatever_the_bytes_there_is_a_kind() {
        let starts = SIGNATURES.iter().map(|(_, at, bytes)| [&vec![0; *at], *bytes].concat());
        for start in starts.chain(tiff(254, 1)) {
            for length in 0..64 {
                for fill in [0, 0xFF] {
                    let mut file = start.clone();
                    file.resize(length, fill);
                    Kind::of(&file);
                }
            }
        }
    }
}
