//! bf16: the upper 16 bits of 32-bit floats, little-endian, rounded to nearest, ties to even.

use std::sync::Arc;

use bytes::Bytes;

use super::{Codec, whole};
use crate::proto;

/// Bytes of a value.
const WIDTH: usize = size_of::<u16>();

/// The codec of bf16.
pub(super) struct Bfloat16;

impl Codec for Bfloat16 {
    fn number(&self) -> proto::Wire {
        proto::Wire::Bf16
    }

    fn size(&self, values: usize) -> usize {
        values * WIDTH
    }

    fn encode(&self, values: Arc<Vec<f32>>) -> Bytes {
        Bytes::from_owner(Halves(values.iter().map(|value| nearest(*value).to_le()).collect()))
    }

    fn leave(&self, values: &mut [f32]) -> Bytes {
        let rounded: Vec<u16> = values.iter().map(|value| nearest(*value).to_le()).collect();
        for (value, rounded) in values.iter_mut().zip(&rounded) {
            let rest = *value - widened(u16::from_le(*rounded));
            // What rounds to infinity is refused where it arrives; nothing of it stays.
            *value = if rest.is_finite() { rest } else { 0.0 };
        }
        Bytes::from_owner(Halves(rounded))
    }

    fn count(&self, bytes: &[u8]) -> Result<usize, String> {
        whole(bytes, WIDTH)
    }

    fn copy(&self, bytes: &[u8], to: &mut [f32]) {
        to.iter_mut().zip(halves(bytes)).for_each(|(to, value)| *to = value);
    }

    fn add(&self, bytes: &[u8], to: &mut [f32]) {
        to.iter_mut().zip(halves(bytes)).for_each(|(to, value)| *to += value);
    }

    fn append(&self, bytes: &[u8], to: &mut Vec<f32>) {
        to.extend(halves(bytes));
    }
}

/// Values of bf16, as their bits, that lend out their own memory as bytes.
struct Halves(Vec<u16>);

impl AsRef<[u8]> for Halves {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

fn halves(bytes: &[u8]) -> impl Iterator<Item = f32> {
    let (values, _) = bytes.as_chunks();
    values.iter().map(|value| widened(u16::from_le_bytes(*value)))
}

fn widened(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
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
