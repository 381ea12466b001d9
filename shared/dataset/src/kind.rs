//! Kinds of files, which are recognised by their first bytes rather than by their names.

use std::fmt;

/// The kind of a file, recognised by its first bytes.
///
/// Messages show its [name](FileKind::name): displayed, a kind is its name with an article, as in "an SVG
/// drawing", and an `s` appended to the name makes its plural.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// JPEG, of any coding.
    Jpeg,
    /// PNG, including animated PNG.
    Png,
    /// WebP, lossy or lossless.
    Webp,
    /// A GIF image, which this program reads.
    Gif,
    /// BMP, a bitmap of Windows.
    Bmp,
    /// TIFF, including BigTIFF, which has offsets of 64 bits.
    Tiff,
    /// HEIC or another HEIF, as phones store photographs.
    Heic,
    /// An AVIF image, which this program does not read.
    Avif,
    /// A JPEG XL image, which this program does not read.
    JpegXl,
    /// A JPEG 2000 image, which this program does not read.
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
    /// An OpenEXR image, which this program does not read.
    OpenExr,
    /// A PDF document.
    Pdf,
    /// A PostScript document.
    PostScript,
    /// A video in any container.
    Video,
    /// An HTML page, which servers often send instead of the image that was asked for.
    Html,
    /// A Git LFS pointer, which takes the place of a large file that was not fetched.
    GitLfs,
    /// A file that macOS writes beside another to hold its metadata; its name is that of the other after
    /// `._`.
    AppleDouble,
    /// An archive or a compressed file.
    Archive,
    /// A text file in UTF-8 or UTF-16 that is of no other kind.
    Text,
    /// A file without any bytes.
    Empty,
    /// A file of a kind that is not recognised.
    Unknown,
}

impl FileKind {
    /// Number of bytes at the start of a file that suffice to recognise its kind.
    pub const FIRST_BYTES: usize = 1024;

    /// Returns the kind of the file that starts with the bytes `file`. If these are fewer than
    /// [`FileKind::FIRST_BYTES`] of a longer file, it may be [`FileKind::Unknown`].
    pub fn of(file: &[u8]) -> FileKind {
        let start = &file[..file.len().min(FileKind::FIRST_BYTES)];
        if start.is_empty() {
            return FileKind::Empty;
        }
        let fits = |(_, at, bytes): &&(FileKind, usize, &[u8])| {
            start.get(*at..).is_some_and(|rest| rest.starts_with(bytes))
        };
        match SIGNATURES.iter().find(fits) {
            Some((FileKind::Tiff, ..)) if is_camera_raw(start) => FileKind::CameraRaw,
            Some((FileKind::Bmp, ..)) if !has_bitmap_header(start) => written(start),
            // Letters that a text may have there too.
            Some((FileKind::Video, 4, _)) if start[0] != 0 => written(start),
            Some((_, 8, _)) if !start.starts_with(b"RIFF") => written(start),
            Some((_, 4, b"ftyp")) => boxed(start),
            Some((kind, ..)) => *kind,
            None => written(start),
        }
    }

    /// Returns the name of the kind, without an article, such as "JPEG image"; an appended `s` makes its
    /// plural.
    pub fn name(self) -> &'static str {
        self.facts().1
    }

    /// Returns whether this program can read files of this kind as images.
    pub fn is_read(self) -> bool {
        matches!(
            self,
            FileKind::Jpeg | FileKind::Png | FileKind::Webp | FileKind::Gif | FileKind::Bmp | FileKind::Tiff
        )
    }

    /// Returns advice for the user about a file of this kind that cannot be read, such as "convert it to
    /// JPEG".
    pub fn advice(self) -> &'static str {
        self.facts().2
    }

    /// Returns the article, the name, and the advice for a file of this kind.
    fn facts(self) -> (&'static str, &'static str, &'static str) {
        const CONVERT: &str = "convert it to JPEG or PNG";
        const REMOVE: &str = "remove it";
        match self {
            FileKind::Jpeg => ("a", "JPEG image", CONVERT),
            FileKind::Png => ("a", "PNG image", CONVERT),
            FileKind::Webp => ("a", "WebP image", CONVERT),
            FileKind::Gif => ("a", "GIF image", CONVERT),
            FileKind::Bmp => ("a", "BMP image", CONVERT),
            FileKind::Tiff => ("a", "TIFF image", CONVERT),
            FileKind::Heic => ("a", "HEIC photograph", "convert it to JPEG"),
            FileKind::Avif => ("an", "AVIF image", CONVERT),
            FileKind::JpegXl => ("a", "JPEG XL image", CONVERT),
            FileKind::Jpeg2000 => ("a", "JPEG 2000 image", CONVERT),
            FileKind::CameraRaw => ("a", "camera raw file", "develop it to JPEG"),
            FileKind::Photoshop => ("a", "Photoshop document", "export it as PNG"),
            FileKind::Gimp => ("a", "GIMP document", "export it as PNG"),
            FileKind::Svg => ("an", "SVG drawing", "export it as PNG"),
            FileKind::Icon => ("an", "icon", CONVERT),
            FileKind::Netpbm => ("a", "Netpbm image", CONVERT),
            FileKind::OpenExr => ("an", "OpenEXR image", CONVERT),
            FileKind::Pdf => ("a", "PDF document", "export its pictures or remove it"),
            FileKind::PostScript => ("a", "PostScript document", "export its pictures or remove it"),
            FileKind::Video => ("a", "video", "export its pictures or remove it"),
            FileKind::Html => ("an", "HTML page", "download the picture again or remove the file"),
            FileKind::GitLfs => ("a", "Git LFS pointer", "fetch the picture with git lfs pull"),
            FileKind::AppleDouble => ("a", "macOS metadata file", REMOVE),
            FileKind::Archive => ("an", "archive", "unpack it or remove it"),
            FileKind::Text => ("a", "text file", REMOVE),
            FileKind::Empty => ("an", "empty file", "get it again or remove it"),
            FileKind::Unknown => ("an", "unknown file", "convert it to JPEG or PNG, or remove it"),
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (article, name, _) = self.facts();
        write!(f, "{article} {name}")
    }
}

/// The bytes by which a kind is recognised, and their position in the file. The first entry that fits
/// decides.
const SIGNATURES: &[(FileKind, usize, &[u8])] = &[
    (FileKind::Jpeg, 0, b"\xFF\xD8\xFF"),
    (FileKind::Png, 0, b"\x89PNG\r\n\x1A\n"),
    (FileKind::Webp, 8, b"WEBP"),
    (FileKind::Gif, 0, b"GIF87a"),
    (FileKind::Gif, 0, b"GIF89a"),
    (FileKind::Bmp, 0, b"BM"),
    (FileKind::CameraRaw, 0, b"IIU\0"),
    (FileKind::CameraRaw, 0, b"IIRO\x08"),
    (FileKind::CameraRaw, 0, b"IIRS\x08"),
    (FileKind::CameraRaw, 0, b"MMOR\0"),
    (FileKind::CameraRaw, 0, b"FUJIFILMCCD-RAW"),
    (FileKind::CameraRaw, 0, b"\0MRM"),
    (FileKind::CameraRaw, 0, b"FOVb"),
    (FileKind::Tiff, 0, b"II*\0"),
    (FileKind::Tiff, 0, b"MM\0*"),
    (FileKind::Tiff, 0, b"II+\0"),
    (FileKind::Tiff, 0, b"MM\0+"),
    (FileKind::JpegXl, 0, b"\xFF\x0A"),
    (FileKind::JpegXl, 0, b"\0\0\0\x0CJXL \r\n\x87\n"),
    (FileKind::Jpeg2000, 0, b"\0\0\0\x0CjP  \r\n\x87\n"),
    (FileKind::Jpeg2000, 0, b"\xFF\x4F\xFF\x51"),
    (FileKind::Photoshop, 0, b"8BPS"),
    (FileKind::Gimp, 0, b"gimp xcf "),
    (FileKind::Icon, 0, b"\0\0\x01\0"),
    (FileKind::Icon, 0, b"\0\0\x02\0"),
    (FileKind::OpenExr, 0, b"\x76\x2F\x31\x01"),
    (FileKind::Pdf, 0, b"%PDF-"),
    (FileKind::PostScript, 0, b"%!PS"),
    (FileKind::PostScript, 0, b"\xC5\xD0\xD3\xC6"),
    (FileKind::Video, 4, b"ftyp"),
    (FileKind::Video, 4, b"moov"),
    (FileKind::Video, 4, b"mdat"),
    (FileKind::Video, 4, b"wide"),
    (FileKind::Video, 0, b"\x1A\x45\xDF\xA3"),
    (FileKind::Video, 8, b"AVI "),
    (FileKind::Video, 0, b"\0\0\x01\xBA"),
    (FileKind::Video, 0, b"\0\0\x01\xB3"),
    (FileKind::Video, 0, b"FLV\x01"),
    (FileKind::Video, 0, b"\x30\x26\xB2\x75\x8E\x66\xCF\x11"),
    (FileKind::AppleDouble, 0, b"\0\x05\x16\x07"),
    (FileKind::Archive, 0, b"PK\x03\x04"),
    (FileKind::Archive, 0, b"\x1F\x8B"),
    (FileKind::Archive, 4, b"1AY&SY"),
    (FileKind::Archive, 0, b"\xFD7zXZ\0"),
    (FileKind::Archive, 0, b"\x28\xB5\x2F\xFD"),
    (FileKind::Archive, 0, b"7z\xBC\xAF\x27\x1C"),
    (FileKind::Archive, 0, b"Rar!\x1A\x07"),
    (FileKind::Archive, 257, b"ustar"),
];

/// Returns the kind of a file in the ISO base media format, by the brands that it lists.
fn boxed(start: &[u8]) -> FileKind {
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
        FileKind::Avif
    } else if named(&[
        b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1",
    ]) {
        FileKind::Heic
    } else if named(&[b"crx "]) {
        FileKind::CameraRaw
    } else {
        FileKind::Video
    }
}

/// Returns whether a file that begins with the letters of a bitmap, as a text may, is one: the second header
/// of a bitmap has one of a few lengths.
fn has_bitmap_header(start: &[u8]) -> bool {
    let length = start.get(14..18).map(|bytes| u32::from_le_bytes(bytes.try_into().expect("four bytes")));
    matches!(length, Some(12 | 16 | 40 | 52 | 56 | 64 | 108 | 124))
}

/// Returns whether a file in the form of a TIFF is a camera's raw file: one of Canon has a mark; others have
/// the version tag of a digital negative, or a reduced copy in the first directory, where a TIFF has the
/// image.
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

/// Returns the kind of a file without a signature: one that is written as text, or [`FileKind::Unknown`].
fn written(start: &[u8]) -> FileKind {
    if let [b'P', b'1'..=b'7', space, ..] = start
        && space.is_ascii_whitespace()
    {
        return FileKind::Netpbm;
    }
    if start.starts_with(b"\xFF\xFE") || start.starts_with(b"\xFE\xFF") {
        return FileKind::Text; // the mark in front of UTF-16
    }
    let start = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start);
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // The last letter may be cut.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).expect("it is valid up to there")
        }
        Err(_) => return FileKind::Unknown,
    };
    if text.chars().any(|letter| letter.is_control() && !matches!(letter, '\t' | '\n' | '\r' | '\x0C')) {
        return FileKind::Unknown;
    }
    let text = text.trim_start().to_ascii_lowercase();
    let (marked, has) = (text.starts_with('<'), |word| text.contains(word));
    match () {
        () if marked && (has("<!doctype html") || has("<html") || has("<head")) => FileKind::Html,
        () if marked && has("<svg") => FileKind::Svg,
        () if text.starts_with("version https://git-lfs") => FileKind::GitLfs,
        () => FileKind::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a box of brands, as in the first bytes of what phones and cameras write.
    fn brands(brands: &[&[u8; 4]]) -> Vec<u8> {
        let length = 8 + 4 * (brands.len() as u32 + 1);
        let mut bytes = [&length.to_be_bytes()[..], b"ftyp", brands[0], &[0; 4]].concat();
        brands[1..].iter().for_each(|brand| bytes.extend_from_slice(*brand));
        bytes.extend(b"\0\0\0\x08metaavif");
        bytes
    }

    /// Makes a TIFF whose one directory has one tag of 32 bits.
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
        let cases: &[(&[u8], FileKind)] = &[
            (b"\xFF\xD8\xFF\xE0\0\x10JFIF\0", FileKind::Jpeg),
            (b"\x89PNG\r\n\x1A\n\0\0\0\rIHDR", FileKind::Png),
            (b"RIFF\x24\0\0\0WEBPVP8 ", FileKind::Webp),
            (b"GIF89a\x01\0\x01\0", FileKind::Gif),
            (&bitmap(40), FileKind::Bmp),
            (&bitmap(124), FileKind::Bmp),
            (&little, FileKind::Tiff),
            (&big, FileKind::Tiff),
            (b"II+\0\x08\0\0\0", FileKind::Tiff),
            (&brands(&[b"heic", b"mif1", b"heic"]), FileKind::Heic),
            (&brands(&[b"mif1", b"heic", b"hevc"]), FileKind::Heic),
            (&brands(&[b"avif", b"mif1", b"miaf"]), FileKind::Avif),
            (&brands(&[b"mif1", b"avif"]), FileKind::Avif),
            (&brands(&[b"crx ", b"isom"]), FileKind::CameraRaw),
            (&brands(&[b"qt  "]), FileKind::Video),
            (&brands(&[b"isom", b"avc1"]), FileKind::Video),
            (b"\xFF\x0A\xFA\x1F", FileKind::JpegXl),
            (b"\0\0\0\x0CjP  \r\n\x87\n", FileKind::Jpeg2000),
            (b"8BPS\0\x01", FileKind::Photoshop),
            (b"gimp xcf v011\0", FileKind::Gimp),
            (b"<?xml version=\"1.0\"?>\n<svg width=\"4\">", FileKind::Svg),
            (b"\xEF\xBB\xBF\n<SVG>", FileKind::Svg),
            (b"\0\0\x01\0\x01\0", FileKind::Icon),
            (b"P6 48 40 255\n\xFF\x80", FileKind::Netpbm),
            (b"\x76\x2F\x31\x01\x02", FileKind::OpenExr),
            (b"%PDF-1.7\n%\xE2\xE3", FileKind::Pdf),
            (b"%!PS-Adobe-3.0 EPSF-3.0", FileKind::PostScript),
            (b"\x1A\x45\xDF\xA3\x01", FileKind::Video),
            (b"RIFF\x24\0\0\0AVI LIST", FileKind::Video),
            (b"<!DOCTYPE html>\n<html><svg>", FileKind::Html),
            (b"  <html lang=\"en\">", FileKind::Html),
            (b"<?xml version=\"1.0\"?><!DOCTYPE html PUBLIC>", FileKind::Html),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:", FileKind::GitLfs),
            (b"\0\x05\x16\x07\0\x02\0\0Mac OS X", FileKind::AppleDouble),
            (b"PK\x03\x04\x14\0", FileKind::Archive),
            (b"\x1F\x8B\x08\0", FileKind::Archive),
            (b"BZh91AY&SY", FileKind::Archive),
            (b"", FileKind::Empty),
            (b"rose, 12\r\n", FileKind::Text),
            ("fleur d'été".as_bytes(), FileKind::Text),
            (b"\xFF\xFEr\0o\0", FileKind::Text),
            (b"\x01\x02\x03", FileKind::Unknown),
            (&[0; 600], FileKind::Unknown),
            (b"\xE9t\xE9", FileKind::Unknown),
        ];
        for &(bytes, kind) in cases {
            assert_eq!(FileKind::of(bytes), kind, "\"{}\"", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_negative_in_the_form_of_a_tiff_is_a_cameras() {
        for (tag, value) in [(254, 1), (50706, 0x0104_0000)] {
            for file in tiff(tag, value) {
                assert_eq!(FileKind::of(&file), FileKind::CameraRaw, "tag {tag}");
            }
        }
        assert_eq!(FileKind::of(b"II*\0\x10\0\0\0CR\x02\0"), FileKind::CameraRaw);
        // A page of several, which is no small copy.
        for file in tiff(254, 2) {
            assert_eq!(FileKind::of(&file), FileKind::Tiff);
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
            assert_eq!(FileKind::of(text.as_bytes()), FileKind::Text, "{text}");
        }
    }

    #[test]
    fn a_letter_across_the_last_of_the_first_bytes_is_text_all_the_same() {
        for shift in 0..4 {
            let text = "x".repeat(shift) + &"€".repeat(FileKind::FIRST_BYTES);
            assert_eq!(FileKind::of(text.as_bytes()), FileKind::Text, "shifted by {shift}");
        }
    }

    #[test]
    fn a_kind_has_a_name_in_singular_and_plural() {
        assert_eq!(FileKind::Svg.to_string(), "an SVG drawing");
        assert_eq!(
            format!("12 {}s: {}", FileKind::Heic.name(), FileKind::Heic.advice()),
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
                    FileKind::of(&file);
                }
            }
        }
    }
}
