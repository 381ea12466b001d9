//! Formats of the largest values alone: the number of values of the block, 4 bytes, then a scale and those
//! that are sent, as the kernels code them.

use std::sync::Arc;

use bytes::Bytes;
use kernels::{Isa, Share, largest};

use super::Codec;
use crate::proto;

/// Bytes of the number of values.
const COUNT: usize = size_of::<u32>();

/// The codec of a share of the values.
pub(super) struct Sparse(pub(super) Share);

impl Codec for Sparse {
    fn number(&self) -> proto::Wire {
        match self.0 {
            Share::Percent => proto::Wire::TopPercent,
            Share::Permille => proto::Wire::TopPermille,
        }
    }

    fn size(&self, values: usize) -> usize {
        COUNT + self.0.size(values)
    }

    fn encode(&self, values: Arc<Vec<f32>>) -> Bytes {
        self.leave(&mut Arc::unwrap_or_clone(values))
    }

    fn leave(&self, values: &mut [f32]) -> Bytes {
        let mut bytes = Vec::with_capacity(self.size(values.len()));
        bytes.extend((values.len() as u32).to_le_bytes());
        largest::encode(Isa::detect(), self.0, values, &mut bytes);
        bytes.into()
    }

    fn count(&self, bytes: &[u8]) -> Result<usize, String> {
        let Some((count, entries)) = bytes.split_first_chunk::<COUNT>() else {
            return Err(format!("at least {COUNT} bytes"));
        };
        let values = u32::from_le_bytes(*count) as usize;
        if !largest::holds(entries, values) {
            return Err(format!(
                "a scale, gaps and codes that end within the {values} values that it begins with"
            ));
        }
        Ok(values)
    }

    fn copy(&self, bytes: &[u8], to: &mut [f32]) {
        largest::decode(&bytes[COUNT..], to);
    }

    fn add(&self, bytes: &[u8], to: &mut [f32]) {
        largest::add(&bytes[COUNT..], to);
    }

    fn append(&self, bytes: &[u8], to: &mut Vec<f32>) {
        let (before, values) = (to.len(), self.count(bytes).expect("counted before"));
        to.resize(before + values, 0.0);
        self.copy(bytes, &mut to[before..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODEC: Sparse = Sparse(Share::Percent);

    fn bytes(values: u32, entries: &[u8]) -> Vec<u8> {
        [&values.to_le_bytes(), &[0, 0, 0x80, 0x3f], entries].concat()
    }

    #[test]
    fn values_are_added_where_they_were_sent() {
        let bytes = bytes(300, &[1, 3, 255, 42, 0xfe]);
        assert_eq!(CODEC.count(&bytes), Ok(300));
        let mut sums = vec![0.5; 300];
        CODEC.add(&bytes, &mut sums);
        let mut expected = vec![0.5; 300];
        (expected[1], expected[299]) = (3.5, -1.5);
        assert_eq!(sums, expected);
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        assert_eq!(CODEC.count(&[0; 3]), Err("at least 4 bytes".into()));
        let expected =
            Err("a scale, gaps and codes that end within the 300 values that it begins with".into());
        for entries in [&[255, 45, 1][..], &[0, 1, 7], &[255], &[255, 44, 1, 0, 1]] {
            assert_eq!(CODEC.count(&bytes(300, entries)), expected);
        }
        assert_eq!(CODEC.count(&bytes(300, &[])[..7]), expected);
    }
}
