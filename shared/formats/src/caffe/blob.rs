//! A blob: the array of a layer's weights or biases, with its shape.
//!
//! Caffe keeps the values as floats or, where it was built for doubles, as doubles. NVIDIA's branch keeps
//! them as bytes, and their number type beside them.

use ndarray::{ArrayD, IxDyn};
use parameters::NumberType;

use crate::protobuf::{ProtobufError, Reader, Value};

/// The numbers of the fields that are read of the messages BlobProto and BlobShape.
mod field {
    /// The four extents that an older blob states: 1 num, 2 channels, 3 height, 4 width.
    pub const EXTENTS: std::ops::RangeInclusive<u64> = 1..=4;
    pub const DATA: u64 = 5;
    pub const SHAPE: u64 = 7;
    pub const DOUBLE_DATA: u64 = 8;
    pub const RAW_DATA_TYPE: u64 = 10;
    pub const RAW_DATA: u64 = 12;
    pub const SHAPE_DIM: u64 = 1;
}

/// Largest number of dimensions of a blob, which is Caffe's own limit.
const MOST_DIMENSIONS: usize = 32;

pub(super) struct Blob<'a> {
    shape: Vec<u64>,
    floats: Vec<f32>,
    doubles: Vec<f32>,
    raw: &'a [u8],
    /// The number type of `raw`, as the file numbers it; 0 where it does not say.
    raw_type: u64,
}

impl<'a> Blob<'a> {
    pub fn read(mut message: Reader<'a>) -> Result<Blob<'a>, ProtobufError> {
        let (mut legacy, mut shape) = ([1; 4], None);
        let mut blob =
            Blob { shape: Vec::new(), floats: Vec::new(), doubles: Vec::new(), raw: &[], raw_type: 0 };
        while let Some((number, value)) = message.field()? {
            match (number, value) {
                (field::DATA, Value::Fixed32(bytes)) => blob.floats.push(f32::from_le_bytes(bytes)),
                (field::DATA, Value::Bytes(packed)) => {
                    blob.floats.extend(unpacked(&packed, NumberType::F32)?);
                }
                (field::DOUBLE_DATA, Value::Fixed64(bytes)) => {
                    blob.doubles.push(f64::from_le_bytes(bytes) as f32);
                }
                (field::DOUBLE_DATA, Value::Bytes(packed)) => {
                    blob.doubles.extend(unpacked(&packed, NumberType::F64)?);
                }
                (field::RAW_DATA, Value::Bytes(raw)) => blob.raw = raw.bytes(),
                (field::RAW_DATA_TYPE, Value::Varint(number)) => blob.raw_type = number,
                (field::SHAPE, Value::Bytes(message)) => shape = Some(read_shape(message)?),
                (number, Value::Varint(extent)) if field::EXTENTS.contains(&number) => {
                    legacy[number as usize - 1] = extent;
                }
                _ => {}
            }
        }
        blob.shape = shape.unwrap_or_else(|| legacy.into());
        Ok(blob)
    }

    /// Returns the values as an array with `dimensions` dimensions; the leading extents of 1 that pad older
    /// blobs are dropped.
    pub fn into_array(self, dimensions: usize) -> Result<ArrayD<f32>, String> {
        let shape = self.shape.clone();
        let values = self.values()?;
        let fill = shape.len().saturating_sub(dimensions);
        let (filled, kept) = shape.split_at(fill);
        if kept.len() != dimensions || filled.iter().any(|&extent| extent != 1) {
            return Err(format!("expected {dimensions} dimensions, found shape {shape:?}"));
        }
        if kept.contains(&0) {
            return Err(format!("expected extents of at least 1, found shape {shape:?}"));
        }
        let kept: Option<Vec<usize>> = kept.iter().map(|&extent| extent.try_into().ok()).collect();
        let unfilled = || format!("its shape is {shape:?}, which {} values do not fill", values.len());
        let kept = kept.ok_or_else(unfilled)?;
        let count = kept.iter().try_fold(1usize, |all, &extent| all.checked_mul(extent));
        if count != Some(values.len()) {
            return Err(unfilled());
        }
        // No extent is 0 and their product is the length of a vector: every array of this shape can be.
        Ok(ArrayD::from_shape_vec(IxDyn(&kept), values).expect("as many values as the shape says"))
    }

    /// Returns the values from the one field that has some.
    fn values(self) -> Result<Vec<f32>, String> {
        let Blob { floats, doubles, raw, raw_type, .. } = self;
        match (floats.is_empty(), doubles.is_empty(), raw.is_empty()) {
            (_, true, true) => Ok(floats),
            (true, _, true) => Ok(doubles),
            (true, true, _) => {
                let number = match raw_type {
                    0 => NumberType::F64,
                    1 => NumberType::F32,
                    2 => NumberType::F16,
                    _ => {
                        return Err(format!(
                            "its raw_data is of type {raw_type}; expected 0 (double), 1 (float) or 2 (half)"
                        ));
                    }
                };
                number.decode(raw).ok_or_else(|| {
                    let (size, found) = (number.size(), raw.len());
                    format!("its raw_data has {found} bytes, which values of {size} bytes do not fill")
                })
            }
            _ => Err("more than one of data, double_data and raw_data holds values".into()),
        }
    }
}

/// Decodes the content of a packed field.
fn unpacked(packed: &Reader, number: NumberType) -> Result<Vec<f32>, ProtobufError> {
    let size = number.size();
    let uneven = || packed.error(format!("packed numbers do not fill a multiple of {size} bytes"));
    number.decode(packed.bytes()).ok_or_else(uneven)
}

/// Reads the extents of a message BlobShape, packed or not.
fn read_shape(mut message: Reader) -> Result<Vec<u64>, ProtobufError> {
    let mut shape = Vec::new();
    let mut add = |extent, place: &Reader| {
        if shape.len() == MOST_DIMENSIONS {
            return Err(
                place.error(format!("a shape of more than {MOST_DIMENSIONS} dimensions, as no blob has"))
            );
        }
        shape.push(extent);
        Ok(())
    };
    while let Some((number, value)) = message.field()? {
        match (number, value) {
            (field::SHAPE_DIM, Value::Varint(extent)) => add(extent, &message)?,
            (field::SHAPE_DIM, Value::Bytes(mut packed)) => {
                while !packed.bytes().is_empty() {
                    let extent = packed.varint()?;
                    add(extent, &packed)?;
                }
            }
            _ => {}
        }
    }
    Ok(shape)
}
