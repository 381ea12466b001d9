//! Whether a JPEG file is whole: the decoder fills what is missing with grey and says nothing.

/// Walks the markers from the start of the file to the end-of-image marker; false if the file ends before it.
///
/// Segments are stepped over by their length, so that a thumbnail's end marker inside one does not count.
pub(crate) fn is_complete(bytes: &[u8]) -> bool {
    let mut at = 2; // behind the start-of-image marker
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.windows(2).position(is_marker)) {
        at += found + 2;
        if bytes[at - 1] == 0xD9 {
            return true;
        }
        let Some(&[high, low]) = bytes.get(at..at + 2) else { return false };
        at += usize::from(u16::from_be_bytes([high, low]));
    }
    false
}

/// A marker that has a length or ends the image: not a stuffed zero, a fill byte or a restart marker.
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
            assert!(is_complete(&bytes), "{file}");
            for cut in 0..bytes.len() {
                assert!(!is_complete(&bytes[..cut]), "{file} cut to {cut} bytes");
            }
        }
    }

    #[test]
    fn the_end_of_a_thumbnail_is_not_the_end() {
        let thumbnail = [0xFF, 0xE1, 0, 6, 0xFF, 0xD8, 0xFF, 0xD9];
        let start = [&[0xFF, 0xD8], &thumbnail[..]].concat();
        assert!(!is_complete(&start));
        assert!(is_complete(&[&start[..], &[0xFF, 0xD9]].concat()));
    }
}
