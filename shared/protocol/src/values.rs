//! The values of a block, in memory or as the bytes in which they arrived.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use parameters::BLOCK_VALUES;

use crate::{
    Wire,
    codec::{self, Codec},
    fields::FieldError,
};

/// The values of one block of the parameters, as 32-bit floats: in memory that may be shared, or still
/// encoded as they arrived from the network, to be decoded when they are copied to their destination.
#[derive(Clone)]
pub struct Values(Held);

#[derive(Clone)]
enum Held {
    Memory(Arc<Vec<f32>>),
    /// Values as they arrived: the codec that decodes them, the number of values, and the encoded bytes.
    Bytes(&'static dyn Codec, usize, Bytes),
}

impl Values {
    /// Returns the number of values.
    #[expect(clippy::len_without_is_empty, reason = "no block is empty")]
    pub fn len(&self) -> usize {
        match &self.0 {
            Held::Memory(values) => values.len(),
            Held::Bytes(_, values, _) => *values,
        }
    }

    /// Copies the values into `to`.
    ///
    /// # Panics
    /// If the length of `to` is not the number of values.
    pub fn copy_to(&self, to: &mut [f32]) {
        assert_eq!(to.len(), self.len(), "values of a block");
        match &self.0 {
            Held::Memory(values) => to.copy_from_slice(values),
            Held::Bytes(codec, _, bytes) => codec.copy(bytes, to),
        }
    }

    /// Adds the values to those in `to`.
    ///
    /// # Panics
    /// If the length of `to` is not the number of values.
    pub fn add_to(&self, to: &mut [f32]) {
        assert_eq!(to.len(), self.len(), "values of a block");
        match &self.0 {
            Held::Memory(values) => to.iter_mut().zip(&**values).for_each(|(sum, value)| *sum += value),
            Held::Bytes(codec, _, bytes) => codec.add(bytes, to),
        }
    }

    /// Returns the number of bytes that the values take on the wire, in the format `wire` unless they are
    /// encoded already.
    pub fn encoded_size(&self, wire: Wire) -> usize {
        match &self.0 {
            Held::Memory(values) => codec::encoded_size(wire, values.len()),
            Held::Bytes(.., bytes) => bytes.len(),
        }
    }

    /// Appends the values to `to`.
    pub fn append_to(&self, to: &mut Vec<f32>) {
        match &self.0 {
            Held::Memory(values) => to.extend_from_slice(values),
            Held::Bytes(codec, _, bytes) => codec.append(bytes, to),
        }
    }

    /// Returns a copy of the values.
    pub fn to_vec(&self) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.len());
        self.append_to(&mut values);
        values
    }

    /// Turns the values into a vector: without a copy if they lie in memory that nobody else shares, else by
    /// copying or decoding them.
    pub fn into_vec(self) -> Vec<f32> {
        match self.0 {
            Held::Memory(values) => Arc::unwrap_or_clone(values),
            Held::Bytes(..) => self.to_vec(),
        }
    }

    /// Returns values that travel as 32-bit floats, whatever the format of others that they travel with.
    pub fn exact(values: Vec<f32>) -> Values {
        let (codec, len) = (codec::of(Wire::F32), values.len());
        Values(Held::Bytes(codec, len, codec.encode(Arc::new(values))))
    }

    /// Encodes values for the wire in advance, in the format `wire`, and overwrites each with what the format
    /// leaves over of it: the value less the one that will arrive. Of values that are not finite nothing is
    /// left over; they arrive as such.
    pub fn encoded(wire: Wire, values: &mut [f32]) -> Values {
        let codec = codec::of(wire);
        Values(Held::Bytes(codec, values.len(), codec.leave(values)))
    }

    /// Encodes the values for the wire: in the format `wire`, unless they are encoded already. Returns the
    /// number of their format and the bytes.
    pub(crate) fn encode(self, wire: Wire) -> (i32, Bytes) {
        match self.0 {
            Held::Memory(values) => (codec::number(wire), codec::of(wire).encode(values)),
            Held::Bytes(codec, _, bytes) => (codec.number().into(), bytes),
        }
    }

    /// Decodes the values that travelled as `bytes` in `field` of `message`.
    pub(crate) fn decode(
        wire: Wire,
        bytes: Bytes,
        message: &'static str,
        field: &'static str,
    ) -> Result<Values, FieldError> {
        let codec = codec::of(wire);
        let values = codec.count(&bytes).map_err(|expected| {
            FieldError::new(message, field, expected, format!("{} bytes", bytes.len()))
        })?;
        if values > BLOCK_VALUES {
            let expected = format!("at most {BLOCK_VALUES} values");
            return Err(FieldError::new(message, field, expected, values));
        }
        Ok(Values(Held::Bytes(codec, values, bytes)))
    }
}

impl From<Vec<f32>> for Values {
    fn from(values: Vec<f32>) -> Values {
        Values(Held::Memory(Arc::new(values)))
    }
}

impl From<Arc<Vec<f32>>> for Values {
    fn from(values: Arc<Vec<f32>>) -> Values {
        Values(Held::Memory(values))
    }
}

impl PartialEq for Values {
    fn eq(&self, other: &Values) -> bool {
        self.to_vec() == other.to_vec()
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_vec().fmt(f)
    }
}
