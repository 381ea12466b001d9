//! The values of a block as bytes: little-endian f32 or bf16.
//!
//! On little-endian machines f32 values go out as the memory that they are, and come in with one copy (a buffer
//! from the network need not be aligned for f32).

use bytes::Bytes;
use half::bf16;

use crate::{Wire, convert::FieldError, proto};

/// A vector that can be lent out as bytes, so that it is sent without being copied.
struct Raw<T>(Vec<T>);

impl<T: bytemuck::NoUninit> AsRef<[u8]> for Raw<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// The values as they travel.
pub(crate) fn encode(wire: Wire, mut values: Vec<f32>) -> Bytes {
    match wire {
        Wire::F32 => {
            swap_on_big_endian(&mut values);
            Bytes::from_owner(Raw(values))
        }
        Wire::Bf16 => {
            let halves: Vec<u16> = values.iter().map(|&v| bf16::from_f32(v).to_bits().to_le()).collect();
            Bytes::from_owner(Raw(halves))
        }
    }
}

/// The values that travelled as `bytes` in `field` of `message`.
pub(crate) fn decode(
    wire: Wire,
    bytes: &[u8],
    message: &'static str,
    field: &'static str,
) -> Result<Vec<f32>, FieldError> {
    let width = match wire {
        Wire::F32 => 4,
        Wire::Bf16 => 2,
    };
    if !bytes.len().is_multiple_of(width) {
        let expected = format!("a multiple of {width} bytes");
        return Err(FieldError::new(message, field, expected, format!("{} bytes", bytes.len())));
    }
    Ok(match wire {
        Wire::F32 => {
            let value = |four: &[u8]| f32::from_le_bytes(four.try_into().expect("four bytes"));
            bytes.chunks_exact(4).map(value).collect()
        }
        Wire::Bf16 => {
            bytes.chunks_exact(2).map(|pair| bf16::from_le_bytes([pair[0], pair[1]]).to_f32()).collect()
        }
    })
}

/// The format behind its number in `message`.
pub(crate) fn format(number: i32, message: &'static str) -> Result<Wire, FieldError> {
    match proto::Wire::try_from(number) {
        Ok(proto::Wire::F32) => Ok(Wire::F32),
        Ok(proto::Wire::Bf16) => Ok(Wire::Bf16),
        Ok(proto::Wire::Unspecified) | Err(_) => {
            Err(FieldError::new(message, "wire", "1 (f32) or 2 (bf16)", number))
        }
    }
}

/// Turns values between the machine's order and little-endian; nothing to do on most machines.
fn swap_on_big_endian(values: &mut [f32]) {
    if cfg!(target_endian = "big") {
        for value in values {
            *value = f32::from_bits(value.to_bits().swap_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(wire: Wire, values: &[f32]) -> Vec<f32> {
        decode(wire, &encode(wire, values.to_vec()), "GradientBlock", "gradient").unwrap()
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
        let text = |wire| decode(wire, &[0; 7], "GradientBlock", "gradient").unwrap_err().to_string();
        assert_eq!(text(Wire::F32), "GradientBlock.gradient: expected a multiple of 4 bytes, found 7 bytes");
        assert_eq!(text(Wire::Bf16), "GradientBlock.gradient: expected a multiple of 2 bytes, found 7 bytes");
        let text = |number| format(number, "PushRequest").unwrap_err().to_string();
        assert_eq!(text(0), "PushRequest.wire: expected 1 (f32) or 2 (bf16), found 0");
        assert_eq!(text(9), "PushRequest.wire: expected 1 (f32) or 2 (bf16), found 9");
    }
}
