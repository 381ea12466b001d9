//! The number formats of the wire: a block's values as little-endian f32 or bf16.
//!
//! On little-endian machines f32 values are sent from where they lie, and arrive with one copy to their
//! destination (a buffer from the network need not be aligned for f32).

use bytes::Bytes;

use crate::{Wire, fields::FieldError, proto};

/// Values of f32 that lend out their own memory as bytes.
struct Floats<V>(V);

impl<V: AsRef<Vec<f32>>> AsRef<[u8]> for Floats<V> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(self.0.as_ref())
    }
}

/// Values of bf16, as their bits, that lend out their own memory as bytes.
struct Halves(Vec<u16>);

impl AsRef<[u8]> for Halves {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// Encodes values for the wire; those of f32 are not copied on little-endian machines.
pub(crate) fn encode(wire: Wire, values: impl AsRef<Vec<f32>> + Send + 'static) -> Bytes {
    match wire {
        Wire::F32 if cfg!(target_endian = "little") => Bytes::from_owner(Floats(values)),
        Wire::F32 => values.as_ref().iter().flat_map(|value| value.to_le_bytes()).collect(),
        Wire::Bf16 => {
            let halves = values.as_ref().iter().map(|value| nearest(*value).to_le()).collect();
            Bytes::from_owner(Halves(halves))
        }
    }
}

/// Checks that the bytes of a message's field are whole values.
pub(crate) fn check(
    wire: Wire,
    bytes: &[u8],
    message: &'static str,
    field: &'static str,
) -> Result<(), FieldError> {
    let width = wire.bytes();
    if bytes.len().is_multiple_of(width) {
        return Ok(());
    }
    let expected = format!("a multiple of {width} bytes");
    Err(FieldError::new(message, field, expected, format!("{} bytes", bytes.len())))
}

/// Appends the values that travelled as `bytes` to `to`.
pub(crate) fn extend(wire: Wire, bytes: &[u8], to: &mut Vec<f32>) {
    match wire {
        Wire::F32 => to.extend(floats(bytes)),
        Wire::Bf16 => to.extend(halves(bytes)),
    }
}

/// Copies the values that travelled as `bytes` to `to`, which has as many.
pub(crate) fn copy(wire: Wire, bytes: &[u8], to: &mut [f32]) {
    match wire {
        Wire::F32 => to.iter_mut().zip(floats(bytes)).for_each(|(to, value)| *to = value),
        Wire::Bf16 => to.iter_mut().zip(halves(bytes)).for_each(|(to, value)| *to = value),
    }
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    let (values, _) = bytes.as_chunks();
    values.iter().map(|value| f32::from_le_bytes(*value))
}

fn halves(bytes: &[u8]) -> impl Iterator<Item = f32> {
    let (values, _) = bytes.as_chunks();
    values.iter().map(|value| f32::from_bits(u32::from(u16::from_le_bytes(*value)) << 16))
}

/// Returns the bits of the nearest bf16, ties to even.
///
/// There is no branch, so that loops over it become vector code: the 16 bits that are lost carry over when
/// they are more than half of the last bit that stays, and a NaN is kept from carrying over to infinity.
fn nearest(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16;
    let quiet = (bits >> 16) as u16 | 0x40;
    if value.is_nan() { quiet } else { rounded }
}

impl From<Wire> for proto::Wire {
    fn from(wire: Wire) -> proto::Wire {
        match wire {
            Wire::F32 => proto::Wire::F32,
            Wire::Bf16 => proto::Wire::Bf16,
        }
    }
}

/// Reads the number format of `message` from its number.
pub(crate) fn format(number: i32, message: &'static str) -> Result<Wire, FieldError> {
    match proto::Wire::try_from(number) {
        Ok(proto::Wire::F32) => Ok(Wire::F32),
        Ok(proto::Wire::Bf16) => Ok(Wire::Bf16),
        Ok(proto::Wire::Unspecified) | Err(_) => {
            Err(FieldError::new(message, "wire", "1 (f32) or 2 (bf16)", number))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(wire: Wire, values: &[f32]) -> Vec<f32> {
        let bytes = encode(wire, values.to_vec());
        check(wire, &bytes, "GradientBlock", "gradient").unwrap();
        let (mut added, mut copied) = (vec![0.5], vec![0.0; values.len()]);
        extend(wire, &bytes, &mut added);
        copy(wire, &bytes, &mut copied);
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&added[1..]), bits(&copied));
        copied
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn f32_keeps_every_bit_and_bf16_the_nearest(bits in prop::collection::vec(any::<u32>(), 0..100)) {
            let values: Vec<f32> = bits.iter().map(|&b| f32::from_bits(b)).collect();
            let exact: Vec<u32> = there_and_back(Wire::F32, &values).iter().map(|v| v.to_bits()).collect();
            prop_assert_eq!(&exact, &bits);
            for (value, rounded) in values.iter().zip(there_and_back(Wire::Bf16, &values)) {
                if value.is_nan() {
                    prop_assert!(rounded.is_nan());
                } else {
                    // Nearest, ties to even, by integers: add just under half of the last kept bit.
                    let bits = u64::from(value.to_bits());
                    let expected = ((bits + 0x7fff + (bits >> 16 & 1)) >> 16 << 16) as u32;
                    prop_assert_eq!(rounded.to_bits(), expected);
                }
            }
        }
    }

    #[test]
    fn the_bytes_are_little_endian() {
        assert_eq!(encode(Wire::F32, vec![1.0, -2.5])[..], [0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0]);
        assert_eq!(encode(Wire::Bf16, vec![1.0, -2.5])[..], [0x80, 0x3f, 0x20, 0xc0]);
    }

    #[test]
    fn a_broken_length_and_an_unknown_format_name_the_field() {
        let text = |wire| check(wire, &[0; 7], "GradientBlock", "gradient").unwrap_err().to_string();
        assert_eq!(text(Wire::F32), "GradientBlock.gradient: expected a multiple of 4 bytes, found 7 bytes");
        assert_eq!(text(Wire::Bf16), "GradientBlock.gradient: expected a multiple of 2 bytes, found 7 bytes");
        let text = |number| format(number, "PushRequest").unwrap_err().to_string();
        assert_eq!(text(0), "PushRequest.wire: expected 1 (f32) or 2 (bf16), found 0");
        assert_eq!(text(9), "PushRequest.wire: expected 1 (f32) or 2 (bf16), found 9");
    }
}
