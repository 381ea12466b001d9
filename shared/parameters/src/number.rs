//! The number types in which model files store their values, and how each of them becomes f32.

use half::{bf16, f16};

/// The number types that model files store values in, all little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberType {
    /// IEEE half precision: 16 bits, of which 10 are the fraction.
    F16,
    /// The upper half of an f32: 16 bits, of which 7 are the fraction.
    Bf16,
    /// IEEE single precision, in which this program computes.
    F32,
    /// IEEE double precision.
    F64,
}

impl NumberType {
    /// Size of one value in bytes.
    pub fn size(self) -> usize {
        match self {
            NumberType::F16 | NumberType::Bf16 => 2,
            NumberType::F32 => 4,
            NumberType::F64 => 8,
        }
    }

    /// Decodes values of this type, each as the nearest f32; a number that is too large for f32 becomes
    /// infinite. Returns `None` if the length of `bytes` is not a multiple of [`size`](Self::size).
    pub fn decode(self, bytes: &[u8]) -> Option<Vec<f32>> {
        match self {
            NumberType::F16 => each(bytes, |value| f16::from_le_bytes(value).to_f32()),
            NumberType::Bf16 => each(bytes, |value| bf16::from_le_bytes(value).to_f32()),
            NumberType::F32 => each(bytes, f32::from_le_bytes),
            NumberType::F64 => each(bytes, |value| f64::from_le_bytes(value) as f32),
        }
    }
}

fn each<const SIZE: usize>(bytes: &[u8], decode: impl Fn([u8; SIZE]) -> f32) -> Option<Vec<f32>> {
    let (values, rest) = bytes.as_chunks();
    rest.is_empty().then(|| values.iter().map(|&value| decode(value)).collect())
}

#[cfg(test)]
mod tests {
    use NumberType::{Bf16, F16, F32, F64};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_of_every_type_become_f32() {
        // 1.5, -2 and the smallest half that is not zero, 2^-24.
        assert_eq!(F16.decode(&[0x00, 0x3e, 0x00, 0xc0, 0x01, 0x00]), Some(vec![1.5, -2.0, 2f32.powi(-24)]));
        assert_eq!(Bf16.decode(&[0xc0, 0x3f, 0x00, 0xc0]), Some(vec![1.5, -2.0]));
        assert_eq!(F32.decode(&0.1f32.to_le_bytes()), Some(vec![0.1]));
        assert_eq!(F64.decode(&0.1f64.to_le_bytes()), Some(vec![0.1]));
        assert_eq!(F64.decode(&1e300f64.to_le_bytes()), Some(vec![f32::INFINITY]));
        for number in [F16, Bf16, F32, F64] {
            assert_eq!(number.decode(&[]), Some(vec![]));
            assert_eq!(number.decode(&[0; 17]), None, "{number:?}");
        }
    }

    proptest! {
        #[test]
        fn what_a_type_can_hold_is_kept(values in proptest::collection::vec(-2048i16..2048, 0..40)) {
            let expected: Vec<f32> = values.iter().map(|&value| f32::from(value)).collect();
            let halves: Vec<u8> = expected.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
            let doubles: Vec<u8> = values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect();
            prop_assert_eq!(F16.decode(&halves), Some(expected.clone()));
            prop_assert_eq!(F64.decode(&doubles), Some(expected));
        }
    }
}
