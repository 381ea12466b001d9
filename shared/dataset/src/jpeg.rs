//! The markers of a JPEG file. They show whether the file is complete: the decoder silently fills what is
//! missing with grey.

use image::metadata::Orientation;

/// The end-of-image marker.
pub(crate) const END: [u8; 2] = [0xFF, 0xD9];

/// The markers of a JPEG file.
#[derive(Debug, Default)]
pub(crate) struct Markers<'a> {
    frame: Option<Frame>,
    /// For each component of which there was a scan, its id, and a bit mask of those of its 64 coefficients
    /// that are complete to the last bit.
    scanned: Vec<(u8, u64)>,
    /// The Exif metadata that cameras write, which has the form of a TIFF.
    exif: Option<&'a [u8]>,
    /// Whether the end-of-image marker is present.
    pub(crate) complete: bool,
}

/// The coding of the image, as its frame header gives it.
#[derive(Clone, Copy, Debug)]
struct Frame {
    /// Number of the frame's marker.
    marker: u8,
    /// Number of bits of a sample.
    bits: u8,
    /// Number of components: one for grey, three for colours.
    components: u8,
}

impl Frame {
    fn is_progressive(self) -> bool {
        self.marker == 0xC2
    }
}

impl<'a> Markers<'a> {
    /// Walks the markers from the start of the file to the end-of-image marker.
    ///
    /// Segments are skipped by their length, so that the end marker of a thumbnail inside one does not count.
    pub(crate) fn of(file: &'a [u8]) -> Markers<'a> {
        let mut markers = Markers::default();
        let mut at = 2; // behind the start-of-image marker
        while let Some(found) = file.get(at..).and_then(|rest| rest.windows(2).position(is_marker)) {
            at += found + 2;
            let marker = file[at - 1];
            if marker == END[1] {
                markers.complete = true;
                break;
            }
            let Some(&[high, low]) = file.get(at..at + 2) else { break };
            let length = usize::from(u16::from_be_bytes([high, low]));
            markers.add(marker, file.get(at + 2..at + length).unwrap_or_default());
            at += length;
        }
        markers
    }

    fn add(&mut self, marker: u8, data: &'a [u8]) {
        match marker {
            // Between the frame markers lie those of Huffman tables, of extensions and of arithmetic coding.
            0xC4 | 0xC8 | 0xCC => {}
            0xC0..=0xCF | 0xF7 => {
                if let (None, Some(&[bits, _, _, _, _, components])) = (self.frame, data.first_chunk()) {
                    self.frame = Some(Frame { marker, bits, components });
                }
            }
            0xDA => self.add_scan(data),
            0xE1 => self.exif = self.exif.or(data.strip_prefix(b"Exif\0\0")),
            _ => {}
        }
    }

    /// Adds the header of a scan: the components in it and, for a progressive image, the range of
    /// coefficients and the bit down to which they are given.
    fn add_scan(&mut self, header: &[u8]) {
        let (Some(frame), Some((&count, rest))) = (self.frame, header.split_first()) else { return };
        let Some((components, rest)) = rest.split_at_checked(2 * usize::from(count)) else { return };
        let given = match *rest {
            [first, last, bit] if frame.is_progressive() => {
                let range = (u64::MAX << first.min(63)) & (u64::MAX >> (63 - last.min(63)));
                if bit & 0x0F == 0 { range } else { 0 }
            }
            _ => u64::MAX,
        };
        for component in components.chunks_exact(2) {
            match self.scanned.iter_mut().find(|(name, _)| *name == component[0]) {
                Some((_, coefficients)) => *coefficients |= given,
                None => self.scanned.push((component[0], given)),
            }
        }
    }

    /// Returns whether the headers of all scans that the image needs are present.
    pub(crate) fn has_every_scan(&self) -> bool {
        let whole = self.scanned.iter().filter(|(_, coefficients)| *coefficients == u64::MAX).count();
        self.frame.is_some_and(|frame| whole >= frame.components.into())
    }

    /// Returns the orientation of the image; damaged metadata is ignored.
    pub(crate) fn orientation(&self) -> Orientation {
        self.exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
    }

    /// Returns the name of the image's coding and advice for the user if that coding cannot be read,
    /// otherwise `None`.
    pub(crate) fn unread_coding(&self) -> Option<(&'static str, &'static str)> {
        const SAVE: &str = "save it anew as a usual JPEG or as PNG";
        let Frame { marker, bits, .. } = self.frame?;
        match marker {
            0xC0..=0xC2 if bits == 8 => None,
            0xC0..=0xC2 => Some(("samples of more than 8 bits", SAVE)),
            0xC9 | 0xCA => {
                Some(("arithmetic coding", "make it a usual JPEG without loss by jpegtran -optimize"))
            }
            0xC3 | 0xCB | 0xF7 => Some(("lossless coding", SAVE)),
            _ => Some(("hierarchical coding", SAVE)),
        }
    }
}

/// Returns whether two bytes are a marker that has a length or ends the image, rather than a stuffed zero, a
/// fill byte or a restart marker.
fn is_marker(pair: &[u8]) -> bool {
    pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0x01 | 0xFF | 0xD0..=0xD8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_only_with_its_end_marker() {
        for file in ["rgb", "cmyk", "ycck", "grey", "progressive"] {
            let path = format!("{}/tests/data/{file}.jpg", env!("CARGO_MANIFEST_DIR"));
            let bytes = std::fs::read(path).unwrap();
            assert!(Markers::of(&bytes).complete, "{file}");
            for cut in 0..bytes.len() {
                assert!(!Markers::of(&bytes[..cut]).complete, "{file} cut to {cut} bytes");
            }
        }
    }

    #[test]
    fn the_end_of_a_thumbnail_is_not_the_end() {
        let thumbnail = [0xFF, 0xE1, 0, 6, 0xFF, 0xD8, 0xFF, 0xD9];
        let start = [&[0xFF, 0xD8], &thumbnail[..]].concat();
        assert!(!Markers::of(&start).complete);
        assert!(Markers::of(&[&start[..], &END].concat()).complete);
    }

    #[test]
    fn a_coding_that_is_not_read_has_a_name() {
        let coding = |marker: u8, bits: u8| {
            let file = [0xFF, 0xD8, 0xFF, 0xC4, 0, 3, 9, 0xFF, marker, 0, 8, bits, 0, 9, 0, 9, 1];
            Markers::of(&file).unread_coding().map(|(coding, _)| coding)
        };
        for marker in [0xC0, 0xC1, 0xC2] {
            assert_eq!(coding(marker, 8), None);
            assert_eq!(coding(marker, 12), Some("samples of more than 8 bits"));
        }
        for (markers, name) in [
            (&[0xC9, 0xCA][..], "arithmetic coding"),
            (&[0xC3, 0xCB, 0xF7], "lossless coding"),
            (&[0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF], "hierarchical coding"),
        ] {
            for &marker in markers {
                assert_eq!(coding(marker, 8), Some(name), "{marker:X}");
            }
        }
    }
}
