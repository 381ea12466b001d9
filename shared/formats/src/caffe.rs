//! The reader of Caffe models, which are a message NetParameter with the weights of every layer, as
//! `caffe train` writes it.
//!
//! A file stores its layers in one of two messages: V1LayerParameter until 2014, LayerParameter since. Both
//! have a name, a type and blobs; other fields, and layers without blobs, are skipped. Blob 0 of a layer
//! holds its weights, blob 1 its bias. As in this program, convolutions are correlations, and a fully
//! connected layer reads its inputs by channel, then row, then column. Two things differ: older blobs have
//! exactly four dimensions (a bias is 1 x 1 x 1 x O, fully connected weights are 1 x 1 x O x I), and the
//! channels of Caffe's images are in the order blue, green, red instead of red, green, blue, so the input
//! channels of the layer that reads the images, which alone has three, are reversed.
//!
//! Field numbers: src/caffe/proto/caffe.proto of BVLC/caffe, and of NVIDIA's branch.

mod blob;
mod heads;

use ndarray::{ArrayD, Axis};
use parameters::checkpoint::Checkpoint;

use crate::protobuf::{ProtobufError, Reader, Value};
use blob::Blob;
use heads::Heads;

/// Name that GoogLeNet's main classifier has in the published Caffe model, and that [`parse`] gives it in
/// every other.
pub const CLASSIFIER: &str = "loss3/classifier";

/// Name of the entry in the metadata that holds the name of a Caffe model's network, if the file has one.
pub const NETWORK: &str = "network";

/// The numbers of the fields that are read of a NetParameter.
mod field {
    pub const NAME: u64 = 1;
    pub const V1_LAYER: u64 = 2;
    pub const LAYER: u64 = 100;
}

/// The numbers of the fields that are read of a layer, which differ between the two layer messages.
struct LayerFields {
    bottom: u64,
    top: u64,
    name: u64,
    kind: u64,
    blobs: u64,
}

const V1_LAYER: LayerFields = LayerFields { bottom: 2, top: 3, name: 4, kind: 5, blobs: 6 };
const LAYER: LayerFields = LayerFields { name: 1, kind: 2, bottom: 3, top: 4, blobs: 7 };

/// Values of V1LayerParameter.LayerType.
const V1_CONVOLUTION: u64 = 4;
const V1_INNER_PRODUCT: u64 = 14;

/// The reasons why bytes cannot be used as a Caffe model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaffeError {
    /// The bytes are not a protocol buffer, or only part of one.
    #[error("not a whole protocol buffer, {0}")]
    Protobuf(ProtobufError),
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

// Not by thiserror's `from`, which would make the error a cause, too: it would be printed twice.
impl From<ProtobufError> for CaffeError {
    fn from(error: ProtobufError) -> CaffeError {
        CaffeError::Protobuf(error)
    }
}

/// Parses the bytes of a Caffe model; returns its tensors, named `LAYER/weights` and `LAYER/bias`. Weights of
/// convolutions have the shape O x I x H x W, those of fully connected layers O x I, for images with the
/// channels red, green, blue. The main classifier of GoogLeNet is named [`CLASSIFIER`], whatever the file
/// calls it: it is the fully connected layer with 1024 inputs that come from no other such layer. The name of the
/// network, if the file has one, is the metadata entry [`NETWORK`].
///
/// # Errors
/// If the bytes are not a Caffe model or only part of one, or if a layer with weights is neither a
/// convolution nor fully connected.
pub fn parse(bytes: &[u8]) -> Result<Checkpoint, CaffeError> {
    let mut net = Reader::new(bytes);
    let mut checkpoint = Checkpoint::default();
    let mut heads = Heads::default();
    while let Some((number, value)) = net.field()? {
        let mut layer = match (number, value) {
            (field::V1_LAYER, Value::Bytes(message)) => Layer::read(message, &V1_LAYER)?,
            (field::LAYER, Value::Bytes(message)) => Layer::read(message, &LAYER)?,
            (field::NAME, Value::Bytes(name)) => {
                // A name in another encoding is no reason to refuse the model.
                let name = String::from_utf8_lossy(name.bytes()).into_owned();
                checkpoint.metadata.insert(NETWORK.into(), name);
                continue;
            }
            _ => continue,
        };
        if layer.count == 0 {
            heads.add(&layer, None);
            continue;
        }
        let name = layer.name;
        let (mut weights, bias) = layer.tensors()?;
        heads.add(&layer, Some(weights.shape()[1]));
        if weights.ndim() == 4 && weights.shape()[1] == 3 {
            weights.invert_axis(Axis(1));
            weights = weights.as_standard_layout().into_owned();
        }
        if checkpoint.tensors.insert(format!("{name}/weights"), weights).is_some() {
            return Err(CaffeError::Twice { layer: name.into() });
        }
        checkpoint.tensors.insert(format!("{name}/bias"), bias);
    }
    if let Some(found) = heads.renamed() {
        for part in ["weights", "bias"] {
            let tensor = checkpoint.tensors.remove(&format!("{found}/{part}"));
            checkpoint.tensors.extend(tensor.map(|tensor| (format!("{CLASSIFIER}/{part}"), tensor)));
        }
    }
    if checkpoint.tensors.is_empty() { Err(CaffeError::NoLayers) } else { Ok(checkpoint) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LayerKind {
    Convolution,
    InnerProduct,
}

struct Layer<'a> {
    name: &'a str,
    kind: Option<LayerKind>,
    /// The type as the file names it.
    said: String,
    /// Name of what the layer reads, of several the last.
    bottom: Option<&'a [u8]>,
    /// Names of what the layer puts out.
    tops: Vec<&'a [u8]>,
    /// Number of blobs.
    count: usize,
    /// The first two blobs; a usable layer has exactly two, so further ones are only counted.
    blobs: Vec<Blob<'a>>,
}

impl<'a> Layer<'a> {
    fn read(mut message: Reader<'a>, fields: &LayerFields) -> Result<Layer<'a>, ProtobufError> {
        let mut layer = Layer {
            name: "",
            kind: None,
            said: "nothing".into(),
            bottom: None,
            tops: Vec::new(),
            count: 0,
            blobs: Vec::new(),
        };
        while let Some((number, value)) = message.field()? {
            match value {
                Value::Bytes(text) if number == fields.name => layer.name = text.text()?,
                Value::Bytes(text) if number == fields.bottom => layer.bottom = Some(text.bytes()),
                Value::Bytes(text) if number == fields.top => layer.tops.push(text.bytes()),
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

    /// Takes the weights and the bias out of the layer, in the shapes that they have in a checkpoint.
    fn tensors(&mut self) -> Result<(ArrayD<f32>, ArrayD<f32>), CaffeError> {
        let blobs = std::mem::take(&mut self.blobs);
        let layer = || self.name.to_owned();
        let (Some(kind), 2, Ok([weights, bias])) = (self.kind, self.count, <[Blob; 2]>::try_from(blobs))
        else {
            let (found, blobs) = (self.said.clone(), self.count);
            return Err(CaffeError::Layer { layer: layer(), found, blobs });
        };
        let wrong = |blob: usize, what: String| CaffeError::Blob { layer: layer(), blob, what };
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
