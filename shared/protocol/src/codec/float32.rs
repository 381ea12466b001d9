//! 32-bit floats, little-endian: exact.
//!
//! On little-endian machines the values are sent from where they lie, and arrive with one copy to their
//! destination (a buffer from the network need not be aligned for f32).

use std::sync::Arc;

use bytes::Bytes;

use super::{Codec, whole};
use crate::proto;

/// Bytes of a value.
const WIDTH: usize = size_of::<f32>();

/// The codec of 32-bit floats.
pub(super) struct Float32;

impl Codec for Float32 {
    fn number(&self) -> proto::Wire {
        proto::Wire::F32
    }

    fn size(&self, values: usize) -> usize {
        values * WIDTH
    }

    fn encode(&self, values: Arc<Vec<f32>>) -> Bytes {
        if cfg!(target_endian = "little") {
            return Bytes::from_owner(Floats(values));
        }
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn leave(&self, values: &mut [f32]) -> Bytes {
        let bytes = self.encode(Arc::new(values.to_vec()));
        values.fill(0.0);
        bytes
    }

    fn count(&self, bytes: &[u8]) -> Result<usize, String> {
        whole(bytes, WIDTH)
    }

    fn copy(&self, bytes: &[u8], to: &mut [f32]) {
        to.iter_mut().zip(floats(bytes)).for_each(|(to, value)| *to = value);
    }

    fn add(&self, bytes: &[u8], to: &mut [f32]) {
        to.iter_mut().zip(floats(bytes)).for_each(|(to, value)| *to += value);
    }

    fn append(&self, bytes: &[u8], to: &mut Vec<f32>) {
        to.extend(floats(bytes));
    }
}

/// Values that lend out their own memory as bytes.
struct Floats(Arc<Vec<f32>>);

impl AsRef<[u8]> for Floats {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    let (values, _) = bytes.as_chunks();
    values.iter().map(|value| f32::from_le_bytes(*value))
}
