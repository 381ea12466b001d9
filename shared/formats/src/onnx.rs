//! The writer of ONNX models: it writes a network as a graph of operators, with its parameters as
//! initializers, for other runtimes.
//!
//! Models use operator set 17 (IR version 8). A [`Graph`] is built layer by layer; a layer and its output
//! have the same name. Every layer of GoogLeNet has an operator in ONNX: pooling rounds up (`ceil_mode`), LRN
//! divides alpha by the size as Caffe does, and dropout, which does nothing outside of training, is left out.
//!
//! Field numbers: onnx/onnx.proto of onnx/onnx.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use ndarray::ArrayViewD;

use crate::protobuf::Message;

/// Version of ONNX's operator set that the models use.
pub const OPERATOR_SET: i64 = 17;
/// Version of the file format that goes with the operator set.
const IR_VERSION: i64 = 8;
/// Name of the program that produces the models, as they state it.
pub const PRODUCER: &str = "downpour";
/// Version of the program that produces the models, as they state it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Name of the graph's input, which has the shape N x 3 x S x S (images, channels, rows, columns).
pub const INPUT: &str = "images";
/// Name of the graph's output, which has the shape N x classes.
pub const OUTPUT: &str = "probabilities";
/// Name of the batch dimension, whose extent is left open.
const BATCH: &str = "N";

/// Value of TensorProto.DataType.FLOAT.
const FLOAT: i64 = 1;
/// Values of AttributeProto.AttributeType.
const ATTRIBUTE_FLOAT: i64 = 1;
const ATTRIBUTE_INTEGER: i64 = 2;
const ATTRIBUTE_INTEGERS: i64 = 7;

/// The value of an operator's attribute.
enum Attribute {
    Float(f32),
    Integer(i64),
    Integers(Vec<i64>),
}

/// An ONNX graph that is being built. Layers are added in the order of the forward pass and refer to their
/// inputs by name.
pub struct Graph {
    message: Message,
    side: usize,
}

impl Graph {
    /// Creates an empty graph called `name` for images of `side` x `side` pixels.
    pub fn new(name: &str, side: usize) -> Graph {
        let mut message = Message::default();
        message.bytes(2, name);
        Graph { message, side }
    }

    /// Adds a tensor of parameters as an initializer called `name`.
    pub fn tensor(&mut self, name: &str, values: ArrayViewD<f32>) {
        let mut tensor = Message::default();
        for &extent in values.shape() {
            tensor.integer(1, extent as i64);
        }
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        tensor.integer(2, FLOAT).bytes(8, name).bytes(9, bytes);
        self.message.message(5, &tensor);
    }

    /// Adds a convolution in `groups` groups of channels from the tensor `input` to the tensor `output`. Its
    /// parameters are the initializers `NAME/weights` and `NAME/bias`, where NAME is `name`; `kernel`,
    /// `stride` and `padding` are in pixels and the same in both directions.
    pub fn convolution(
        &mut self,
        name: &str,
        input: &str,
        output: &str,
        groups: usize,
        [kernel, stride, padding]: [usize; 3],
    ) {
        let inputs = [input, &format!("{name}/weights"), &format!("{name}/bias")];
        let mut attributes = window(kernel, stride, padding);
        attributes.push(("group", Attribute::Integer(groups as i64)));
        self.node("Conv", output, &inputs, attributes);
    }

    /// Adds a ReLU from the tensor `input` to the tensor `output`.
    pub fn relu(&mut self, input: &str, output: &str) {
        self.node("Relu", output, &[input], vec![]);
    }

    /// Adds a max pool of the tensor `input`, whose output is called `name` and whose number of windows is
    /// rounded up. `kernel`, `stride` and `padding` are in pixels.
    pub fn max_pool(&mut self, name: &str, input: &str, kernel: usize, stride: usize, padding: usize) {
        let mut attributes = window(kernel, stride, padding);
        attributes.push(("ceil_mode", Attribute::Integer(1)));
        self.node("MaxPool", name, &[input], attributes);
    }

    /// Adds an average pool of the tensor `input` that takes the mean over all pixels of each channel; its
    /// output is called `name`.
    pub fn global_average(&mut self, name: &str, input: &str) {
        self.node("GlobalAveragePool", name, &[input], vec![]);
    }

    /// Adds a local response normalisation of the tensor `input`, whose output is called `name`: each value
    /// is divided by `(k + alpha / size * sum of squares over the size channels around it) ^ beta`.
    pub fn lrn(&mut self, name: &str, input: &str, size: usize, [alpha, beta, k]: [f32; 3]) {
        let attributes = vec![
            ("size", Attribute::Integer(size as i64)),
            ("alpha", Attribute::Float(alpha)),
            ("beta", Attribute::Float(beta)),
            ("bias", Attribute::Float(k)),
        ];
        self.node("LRN", name, &[input], attributes);
    }

    /// Adds a concatenation of the tensors `inputs` by channels; its output is called `name`.
    pub fn concat(&mut self, name: &str, inputs: &[&str]) {
        self.node("Concat", name, inputs, vec![("axis", Attribute::Integer(1))]);
    }

    /// Adds a layer that flattens the maps of each image in the tensor `input` into one row; its output is
    /// called `name`.
    pub fn flatten(&mut self, name: &str, input: &str) {
        self.node("Flatten", name, &[input], vec![("axis", Attribute::Integer(1))]);
    }

    /// Adds a fully connected layer that reads the rows of the tensor `input`; its output is called `name`.
    /// Its parameters are the initializers `NAME/weights` (O x I) and `NAME/bias`, where NAME is `name`.
    pub fn dense(&mut self, name: &str, input: &str) {
        let inputs = [input, &format!("{name}/weights"), &format!("{name}/bias")];
        self.node("Gemm", name, &inputs, vec![("transB", Attribute::Integer(1))]);
    }

    /// Adds the softmax that turns the tensor `logits` of `classes` classes into the graph's output, which
    /// completes the graph.
    pub fn softmax(&mut self, logits: &str, classes: usize) {
        self.node("Softmax", OUTPUT, &[logits], vec![("axis", Attribute::Integer(1))]);
        let images = value(INPUT, &[3, self.side, self.side]);
        self.message.message(11, &images).message(12, &value(OUTPUT, &[classes]));
    }

    /// Writes the model with its metadata to a file, either the whole file or none. `description` is a text
    /// for people, the model's documentation string. The model says that this program and its version
    /// produced it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(
        self,
        path: &Path,
        description: &str,
        metadata: &BTreeMap<String, String>,
    ) -> io::Result<()> {
        let mut operators = Message::default();
        operators.bytes(1, "").integer(2, OPERATOR_SET);
        let mut model = Message::default();
        model.integer(1, IR_VERSION).bytes(2, PRODUCER).bytes(3, VERSION).bytes(6, description);
        model.message(7, &self.message).message(8, &operators);
        for (key, value) in metadata {
            let mut entry = Message::default();
            entry.bytes(1, key).bytes(2, value);
            model.message(14, &entry);
        }
        files::write(path, &model.into_bytes())
    }

    /// Adds an operator with one output, which has the same name.
    fn node(&mut self, operator: &str, name: &str, inputs: &[&str], attributes: Vec<(&str, Attribute)>) {
        let mut node = Message::default();
        for input in inputs {
            node.bytes(1, input);
        }
        node.bytes(2, name).bytes(3, name).bytes(4, operator);
        for (name, value) in attributes {
            let mut attribute = Message::default();
            attribute.bytes(1, name);
            match value {
                Attribute::Float(value) => attribute.float(2, value).integer(20, ATTRIBUTE_FLOAT),
                Attribute::Integer(value) => attribute.integer(3, value).integer(20, ATTRIBUTE_INTEGER),
                Attribute::Integers(values) => {
                    values.into_iter().for_each(|value| {
                        attribute.integer(8, value);
                    });
                    attribute.integer(20, ATTRIBUTE_INTEGERS)
                }
            };
            node.message(5, &attribute);
        }
        self.message.message(1, &node);
    }
}

/// Returns the attributes of a square window with the same padding on every side.
fn window(kernel: usize, stride: usize, padding: usize) -> Vec<(&'static str, Attribute)> {
    let all = |value: usize, times| Attribute::Integers(vec![value as i64; times]);
    vec![("kernel_shape", all(kernel, 2)), ("strides", all(stride, 2)), ("pads", all(padding, 4))]
}

/// Returns the description of an input or output of floats, whose shape is the batch and then `extents`.
fn value(name: &str, extents: &[usize]) -> Message {
    let mut shape = Message::default();
    let mut dimension = Message::default();
    dimension.bytes(2, BATCH);
    shape.message(1, &dimension);
    for &extent in extents {
        let mut dimension = Message::default();
        dimension.integer(1, extent as i64);
        shape.message(1, &dimension);
    }
    let mut tensor = Message::default();
    let mut kind = Message::default();
    let mut value = Message::default();
    tensor.integer(1, FLOAT).message(2, &shape);
    kind.message(1, &tensor);
    value.bytes(1, name).message(2, &kind);
    value
}
