//! Formats of few bits: the number of values, 4 bytes, then groups of 256 values with a scale each, as the
//! kernels code them.

use std::sync::Arc;

use bytes::Bytes;
use kernels::{Bits, Isa, add_dequantised, dequantise, quantise};

use super::Codec;
use crate::proto;

/// Bytes of the number of values.
const COUNT: usize = size_of::<u32>();

/// The codec of a number of bits.
pub(super) struct Quantised(pub(super) Bits);

impl Codec for Quantised {
    fn number(&self) -> proto::Wire {
        match self.0 {
            Bits::Eight => proto::Wire::Bits8,
            Bits::Four => proto::Wire::Bits4,
            Bits::One => proto::Wire::Bits1,
        }
    }

    fn size(&self, values: usize) -> usize {
        COUNT + self.0.size(values)
    }

    fn encode(&self, values: Arc<Vec<f32>>) -> Bytes {
        self.leave(&mut Arc::unwrap_or_clone(values))
    }

    fn leave(&self, values: &mut [f32]) -> Bytes {
        let mut bytes = vec![0; self.size(values.len())];
        let (count, codes) = bytes.split_at_mut(COUNT);
        count.copy_from_slice(&(values.len() as u32).to_le_bytes());
        quantise(Isa::detect(), self.0, values, codes);
        bytes.into()
    }

    fn count(&self, bytes: &[u8]) -> Result<usize, String> {
        let Some((count, _)) = bytes.split_first_chunk::<COUNT>() else {
            return Err(format!("at least {COUNT} bytes"));
        };
        let values = u32::from_le_bytes(*count) as usize;
        let expected = self.size(values);
        if bytes.len() != expected {
            return Err(format!("{expected} bytes with the {values} values that it begins with"));
        }
        Ok(values)
    }

    fn copy(&self, bytes: &[u8], to: &mut [f32]) {
        dequantise(Isa::detect(), self.0, &bytes[COUNT..], to);
    }

    fn add(&self, bytes: &[u8], to: &mut [f32]) {
        add_dequantised(Isa::detect(), self.0, &bytes[COUNT..], to);
    }

    fn append(&self, bytes: &[u8], to: &mut Vec<f32>) {
        let (before, values) = (to.len(), self.count(bytes).expect("counted before"));
        to.resize(before + values, 0.0);
        self.copy(bytes, &mut to[before..]);
    }
}
