//! The reader of Caffe models, which are a message NetParameter with the weights of every layer, as
//! `caffe train` writes it.
//!
//! A file stores its layers in one of two messages: V1LayerParameter until 2014, LayerParameter since. Both
//! have a name, a type and blobs; other fields, and layers without blobs, are skipped. Blob 0 of a layer
//! holds its weights, blob 1 its bias. As in this program, convolutions are correlations, and a fully
//! connected layer reads its inputs by channel, then row, then column. Two things differ: older blobs have
//! exactly four dimensions (a bias is 1 x 1 x 1 x O, fully connected weights are 1 x 1 x O x I), and the
//! channels of Caffe's images are in the order blue, green, red instead of red, green, blue, so the input
//! channels of the first layer are reversed.
//!
//! Field numbers: src/caffe/proto/caffe.proto of BVLC/caffe.

use ndarray::{ArrayD, Axis, IxDyn};
use parameters::checkpoint::Checkpoint;

use crate::protobuf::{ProtobufError, Reader, Value};

/// The numbers of the fields that are read of each message.
mod field {
    pub const NET_V1_LAYER: u64 = 2;
    pub const NET_LAYER: u64 = 100;
    pub const BLOB_DATA: u64 = 5;
    pub const BLOB_SHAPE: u64 = 7;
    /// Field numbers in Caffe's `BlobProto` of the four extents that an older blob states: 1 num, 2 channels,
    /// 3 height, 4 width.
    pub const BLOB_EXTENTS: std::ops::RangeInclusive<u64> = 1..=4;
    pub const SHAPE_DIM: u64 = 1;
}

/// The numbers of the fields that are read of a layer, which differ between the two layer messages.
struct LayerFields {
    name: u64,
    kind: u64,
    blobs: u64,
}

/// Largest number of dimensions of a blob, which is Caffe's own limit.
const MOST_DIMENSIONS: usize = 32;

const V1_LAYER: LayerFields = LayerFields { name: 4, kind: 5, blobs: 6 };
const LAYER: LayerFields = LayerFields { name: 1, kind: 2, blobs: 7 };

/// Values of V1LayerParameter.LayerType.
const V1_CONVOLUTION: u64 = 4;
const V1_INNER_PRODUCT: u64 = 14;

/// The reasons why bytes cannot be used as a Caffe model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaffeError {
    /// The bytes are not a protocol buffer, or only part of one.
    #[error("not a whole protocol buffer, {0}")]
    Protobuf(#[from] ProtobufError),
    /// The protocol buffer contains no layer with weights.
    #[error("no layer with weights is in it")]
    NoLayers,
    /// A layer with parameters is neither a convolution nor fully connected.
    #[error(
        "layer {layer} is of type {found} and has {blobs} blobs; expected convolutions and inner products, each with \
         weights and a bias"
    )]
    Layer {
        /// Name of the layer.
        layer: String,
        /// Type of the layer.
        found: String,
        /// Number of the layer's blobs.
        blobs: usize,
    },
    /// Two layers have the same name.
    #[error("two layers are named {layer}")]
    Twice {
        /// Name of both layers.
        layer: String,
    },
    /// A blob (the array of a layer's weights or biases) has a shape that does not fit its values or its
    /// layer.
    #[error("layer {layer}, blob {blob}: {what}")]
    Blob {
        /// Name of the layer.
        layer: String,
        /// Number of the blob: 0 for the weights, 1 for the bias.
        blob: usize,
        /// The fault: what was expected, and what was found.
        what: String,
    },
}

/// Parses the bytes of a Caffe model; returns its tensors, named `LAYER/weights` and `LAYER/bias`. Weights of
/// convolutions have the shape O x I x H x W, those of fully connected layers O x I, for images with the
/// channels red, green, blue.
///
/// # Errors
/// If the bytes are not a Caffe model or only part of one, or if a layer with weights is neither a
/// convolution nor fully connected.
pub fn parse(bytes: &[u8]) -> Result<Checkpoint, CaffeError> {
    let mut net = Reader::new(bytes);
    let mut checkpoint = Checkpoint::default();
    let mut first = true;
    while let Some((number, value)) = net.field()? {
        let layer = match (number, value) {
            (field::NET_V1_LAYER, Value::Bytes(message)) => Layer::read(message, &V1_LAYER)?,
            (field::NET_LAYER, Value::Bytes(message)) => Layer::read(message, &LAYER)?,
            _ => continue,
        };
        if layer.count == 0 {
            continue;
        }
        let name = layer.name.clone();
        let (mut weights, bias) = layer.tensors()?;
        if std::mem::take(&mut first) && weights.ndim() == 4 && weights.shape()[1] == 3 {
            weights.invert_axis(Axis(1));
            weights = weights.as_standard_layout().into_owned();
        }
        if checkpoint.tensors.insert(format!("{name}/weights"), weights).is_some() {
            return Err(CaffeError::Twice { layer: name });
        }
        checkpoint.tensors.insert(format!("{name}/bias"), bias);
    }
    if checkpoint.tensors.is_empty() { Err(CaffeError::NoLayers) } else { Ok(checkpoint) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LayerKind {
    Convolution,
    InnerProduct,
}

struct Layer {
    name: String,
    kind: Option<LayerKind>,
    /// The type as the file names it.
    said: String,
    /// Number of blobs.
    count: usize,
    /// The first two blobs; a usable layer has exactly two, so further ones are only counted.
    blobs: Vec<Blob>,
}

impl Layer {
    fn read(mut message: Reader, fields: &LayerFields) -> Result<Layer, ProtobufError> {
        let mut layer =
            Layer { name: String::new(), kind: None, said: "nothing".into(), count: 0, blobs: Vec::new() };
        while let Some((number, value)) = message.field()? {
            match value {
                Value::Bytes(text) if number == fields.name => layer.name = text.text()?.into(),
                Value::Bytes(text) if number == fields.kind => {
                    layer.said = text.text()?.into();
                    layer.kind = match layer.said.as_str() {
                        "Convolution" => Some(LayerKind::Convolution),
                        "InnerProduct" => Some(LayerKind::InnerProduct),
                        _ => None,
                    };
                }
                Value::Varint(kind) if number == fields.kind => {
                    layer.said = kind.to_string();
                    layer.kind = match kind {
                        V1_CONVOLUTION => Some(LayerKind::Convolution),
                        V1_INNER_PRODUCT => Some(LayerKind::InnerProduct),
                        _ => None,
                    };
                }
                Value::Bytes(blob) if number == fields.blobs => {
                    layer.count += 1;
                    if layer.count <= 2 {
                        layer.blobs.push(Blob::read(blob)?);
                    }
                }
                _ => {}
            }
        }
        Ok(layer)
    }

    /// Returns the weights and the bias in the shapes that they have in a checkpoint.
    fn tensors(self) -> Result<(ArrayD<f32>, ArrayD<f32>), CaffeError> {
        let Layer { name, kind, said, count, blobs } = self;
        let (Some(kind), 2, Ok([weights, bias])) = (kind, count, <[Blob; 2]>::try_from(blobs)) else {
            return Err(CaffeError::Layer { layer: name, found: said, blobs: count });
        };
        let wrong = |blob: usize, what: String| CaffeError::Blob { layer: name.clone(), blob, what };
        let dimensions = if kind == LayerKind::Convolution { 4 } else { 2 };
        let weights = weights.into_array(dimensions).map_err(|what| wrong(0, what))?;
        let bias = bias.into_array(1).map_err(|what| wrong(1, what))?;
        if bias.len() != weights.shape()[0] {
            let (found, outputs) = (bias.len(), weights.shape()[0]);
            return Err(wrong(1, format!("expected a value for each of {outputs} outputs, found {found}")));
        }
        Ok((weights, bias))
    }
}

struct Blob {
    shape: Vec<u64>,
    data: Vec<f32>,
}

impl Blob {
    fn read(mut message: Reader) -> Result<Blob, ProtobufError> {
        let (mut legacy, mut shape, mut data) = ([1; 4], None, Vec::new());
        while let Some((number, value)) = message.field()? {
            match (number, value) {
                (field::BLOB_DATA, Value::Fixed32(bytes)) => data.push(f32::from_le_bytes(bytes)),
                (field::BLOB_DATA, Value::Bytes(packed)) => {
                    let (values, rest) = packed.bytes().as_chunks::<4>();
                    if !rest.is_empty() {
                        return Err(packed.error("packed floats do not fill a multiple of 4 bytes"));
                    }
                    data.extend(values.iter().map(|&bytes| f32::from_le_bytes(bytes)));
                }
                (field::BLOB_SHAPE, Value::Bytes(message)) => shape = Some(read_shape(message)?),
                (number, Value::Varint(extent)) if field::BLOB_EXTENTS.contains(&number) => {
                    legacy[number as usize - 1] = extent;
                }
                _ => {}
            }
        }
        Ok(Blob { shape: shape.unwrap_or_else(|| legacy.into()), data })
    }

    /// Returns the values as an array with `dimensions` dimensions; the leading extents of 1 that pad older
    /// blobs are dropped.
    fn into_array(self, dimensions: usize) -> Result<ArrayD<f32>, String> {
        let Blob { shape, data } = self;
        let fill = shape.len().saturating_sub(dimensions);
        let (filled, kept) = shape.split_at(fill);
        if kept.len() != dimensions || filled.iter().any(|&extent| extent != 1) {
            return Err(format!("expected {dimensions} dimensions, found shape {shape:?}"));
        }
        if kept.contains(&0) {
            return Err(format!("expected extents of at least 1, found shape {shape:?}"));
        }
        let kept: Option<Vec<usize>> = kept.iter().map(|&extent| extent.try_into().ok()).collect();
        let unfilled = || format!("its shape is {shape:?}, which {} values do not fill", data.len());
        let kept = kept.ok_or_else(unfilled)?;
        let values = kept.iter().try_fold(1usize, |all, &extent| all.checked_mul(extent));
        if values != Some(data.len()) {
            return Err(unfilled());
        }
        // No extent is 0 and their product is the length of a vector: every array of this shape can be.
        Ok(ArrayD::from_shape_vec(IxDyn(&kept), data).expect("as many values as the shape says"))
    }
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
