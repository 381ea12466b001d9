//! Numbers of bytes as text with a binary unit.

use std::fmt;

use crate::Count;

/// A number of bytes; displayed, it has a binary unit and at least two digits from 1 KiB on: "780 KiB", "1.5
/// GiB", "4,658 GiB".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// The units, the largest first. There is none above GiB, the usual unit of memory.
const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bytes(bytes) = *self;
        let Some((unit, size)) = UNITS.into_iter().find(|(_, size)| bytes >= *size) else {
            return write!(f, "{bytes} bytes");
        };
        if bytes < 10 * size {
            return write!(f, "{:.1} {unit}", bytes as f64 / size as f64);
        }
        write!(f, "{} {unit}", Count(bytes / size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_in_the_unit_that_fits() {
        let cases = [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1 << 10, "1.0 KiB"),
            (780 << 10, "780 KiB"),
            (3 << 29, "1.5 GiB"),
            (23 << 30, "23 GiB"),
            (4658 << 30, "4,658 GiB"),
            (u64::MAX, "17,179,869,183 GiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }
}
