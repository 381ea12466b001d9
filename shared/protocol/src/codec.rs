//! Codecs, which encode the values of a block as bytes for transfer and decode them.
//!
//! A codec is a file of its own. It has a name in the settings (`run.gradient_wire`), a number in `shards.proto`, and
//! an entry in the table that [`of`] reads; nothing else knows what its bytes look like, or how many there
//! are.

mod bfloat16;
mod float32;
mod quantised;
mod sparse;

use std::sync::Arc;

use bytes::Bytes;
use kernels::{Bits, Share};

use self::{bfloat16::Bfloat16, float32::Float32, quantised::Quantised, sparse::Sparse};
use crate::{Wire, fields::FieldError, proto};

/// A codec between values and bytes.
pub(crate) trait Codec: Sync {
    /// Returns the codec's number in messages.
    fn number(&self) -> proto::Wire;

    /// Returns how many bytes `values` values become: at most, where that depends on the values.
    fn size(&self, values: usize) -> usize;

    /// Encodes the values of a block.
    fn encode(&self, values: Arc<Vec<f32>>) -> Bytes;

    /// Encodes the values of a block, and overwrites each with what the code leaves over of it: the value less
    /// the one that arrives.
    fn leave(&self, values: &mut [f32]) -> Bytes;

    /// Returns how many values `bytes` hold.
    ///
    /// # Errors
    /// If `bytes` is not a whole number of values; the text says what was expected.
    fn count(&self, bytes: &[u8]) -> Result<usize, String>;

    /// Copies the values that travelled as `bytes` to `to`, which has as many.
    fn copy(&self, bytes: &[u8], to: &mut [f32]);

    /// Adds the values that travelled as `bytes` to those in `to`, which are as many.
    fn add(&self, bytes: &[u8], to: &mut [f32]);

    /// Appends the values that travelled as `bytes` to `to`.
    fn append(&self, bytes: &[u8], to: &mut Vec<f32>);
}

/// Returns the codec of a number format.
pub(crate) fn of(wire: Wire) -> &'static dyn Codec {
    match wire {
        Wire::F32 => &Float32,
        Wire::Bf16 => &Bfloat16,
        Wire::Bits8 => &Quantised(Bits::Eight),
        Wire::Bits4 => &Quantised(Bits::Four),
        Wire::Bits1 => &Quantised(Bits::One),
        Wire::TopPercent => &Sparse(Share::Percent),
        Wire::TopPermille => &Sparse(Share::Permille),
    }
}

/// Returns how many bytes `values` numbers of a block take when they are encoded in the format `wire`: at most, where
/// that depends on the numbers.
pub fn encoded_size(wire: Wire, values: usize) -> usize {
    of(wire).size(values)
}

/// Returns the number of a format in messages.
pub(crate) fn number(wire: Wire) -> i32 {
    of(wire).number().into()
}

/// Reads the number format of gradients, parameters or their differences in `message` from its number.
pub(crate) fn any_format(number: i32, message: &'static str) -> Result<Wire, FieldError> {
    format(number, Wire::ALL, message)
}

/// Reads the number format of whole values in `message` from its number.
pub(crate) fn whole_format(number: i32, message: &'static str) -> Result<Wire, FieldError> {
    format(number, &Wire::WHOLE, message)
}

fn format(number: i32, wires: &[Wire], message: &'static str) -> Result<Wire, FieldError> {
    let known = wires.iter().find(|wire| self::number(**wire) == number);
    known.copied().ok_or_else(|| {
        let formats: Vec<String> =
            wires.iter().map(|wire| format!("{} ({wire})", self::number(*wire))).collect();
        FieldError::new(message, "wire", formats.join(" or "), number)
    })
}

/// Returns the number of values in `bytes`, of which each takes `width`.
fn whole(bytes: &[u8], width: usize) -> Result<usize, String> {
    if bytes.len().is_multiple_of(width) {
        return Ok(bytes.len() / width);
    }
    Err(format!("a multiple of {width} bytes"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(wire: Wire, values: &[f32]) -> Vec<f32> {
        let codec = of(wire);
        let bytes = codec.encode(Arc::new(values.to_vec()));
        assert_eq!(codec.count(&bytes), Ok(values.len()));
        assert_eq!(codec.size(values.len()), bytes.len());
        let (mut appended, mut copied) = (vec![0.5], vec![0.0; values.len()]);
        codec.append(&bytes, &mut appended);
        codec.copy(&bytes, &mut copied);
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&appended[1..]), bits(&copied));
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

    proptest! {
        #[test]
        fn what_is_left_over_is_what_did_not_arrive(
            values in prop::collection::vec(-1f32..1.0, 1..600), exponent in -20i32..10,
        ) {
            let values: Vec<f32> = values.iter().map(|value| value * 10f32.powi(exponent)).collect();
            for &wire in Wire::ALL {
                let mut rest = values.clone();
                let bytes = of(wire).leave(&mut rest);
                prop_assert_eq!(&bytes, &of(wire).encode(Arc::new(values.clone())));
                prop_assert_eq!(of(wire).count(&bytes), Ok(values.len()));
                let size = of(wire).size(values.len());
                let varies = wire.is_of_largest();
                prop_assert!(bytes.len() == size || varies && bytes.len() < size, "{}: {}", wire, bytes.len());
                let mut arrived = vec![0.0; values.len()];
                of(wire).copy(&bytes, &mut arrived);
                let mut sums = values.clone();
                of(wire).add(&bytes, &mut sums);
                prop_assert!(sums.iter().zip(&values).zip(&arrived).all(|((sum, one), other)| *sum == one + other));
                let mut appended = vec![0.5];
                of(wire).append(&bytes, &mut appended);
                prop_assert_eq!(&appended[1..], &arrived[..]);
                let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                for ((value, arrived), rest) in values.iter().zip(&arrived).zip(&rest) {
                    prop_assert!((value - arrived - rest).abs() <= 1e-6 * largest, "{}: {}", wire, value);
                }
            }
        }
    }

    #[test]
    fn the_bytes_are_little_endian() {
        let bytes = |wire| of(wire).encode(Arc::new(vec![1.0, -2.5]));
        assert_eq!(bytes(Wire::F32)[..], [0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0]);
        assert_eq!(bytes(Wire::Bf16)[..], [0x80, 0x3f, 0x20, 0xc0]);
    }

    #[test]
    fn a_broken_length_and_an_unknown_format_say_what_was_expected() {
        assert_eq!(of(Wire::F32).count(&[0; 7]), Err("a multiple of 4 bytes".into()));
        assert_eq!(of(Wire::Bf16).count(&[0; 7]), Err("a multiple of 2 bytes".into()));
        assert_eq!(of(Wire::Bits4).count(&[0; 3]), Err("at least 4 bytes".into()));
        let expected = "136 bytes with the 256 values that it begins with";
        assert_eq!(of(Wire::Bits4).count(&[0, 1, 0, 0, 9]), Err(expected.into()));
        let text = |number| whole_format(number, "BlockValues").unwrap_err().to_string();
        assert_eq!(text(0), "BlockValues.wire: expected 1 (f32) or 2 (bf16), found 0");
        assert_eq!(text(9), "BlockValues.wire: expected 1 (f32) or 2 (bf16), found 9");
    }

    #[test]
    fn every_format_has_a_number_of_its_own() {
        for wire in Wire::ALL {
            assert_eq!(any_format(number(*wire), "GradientBlock").as_ref(), Ok(wire));
        }
    }
}
