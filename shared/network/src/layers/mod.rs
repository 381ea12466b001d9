//! The layers: each file holds one kind, a struct of sizes and buffers with its forward and backward pass.
//!
//! A forward pass reads its input's values and writes its output's. A backward pass finds the gradient with
//! respect to its output complete in memory. It computes the gradient of the parameters first and that of the
//! input second, so that the parameters' gradient can be sent while the backward pass goes on. A
//! convolution's ReLU has no pass of its own: in the forward pass it is part of the convolution, in the
//! backward pass part of the last layer that writes the gradient of the convolution's output
//! ([`GradientWrite`]).

mod average_pool;
mod convolution;
mod dense;
mod depthwise_stem;
mod dropout;
mod flatten;
mod lrn;
mod maps;
mod max_pool;
mod stem;

pub(crate) use average_pool::AveragePoolLayer;
pub(crate) use convolution::{ConvolutionLayer, backward_input_fused, forward_fused};
pub(crate) use dense::DenseLayer;
pub(crate) use depthwise_stem::DepthwiseStemLayer;
pub(crate) use dropout::DropoutLayer;
pub(crate) use flatten::FlattenLayer;
pub(crate) use lrn::LrnLayer;
pub(crate) use maps::Maps;
pub(crate) use max_pool::MaxPoolLayer;
pub(crate) use stem::StemLayer;

use kernels::{BRANCHES, Epilogue, Isa, Map, ParameterGradients, Pool, Value, bf16};

use crate::graph::{Computation, Endpoint};
use crate::memory::{Memory, Needs, Step};
use crate::plan::BufferIndex;

/// A layer of the network.
pub(crate) struct Layer {
    /// Name of the layer as in Caffe's GoogLeNet, where Caffe has such a layer.
    pub name: String,
    /// Channels, height and width of one image's output.
    pub output: [usize; 3],
    /// Multiply-adds of one image's forward pass.
    pub multiply_adds: u64,
    /// Whether the layer belongs to an auxiliary head, which only training runs.
    pub auxiliary: bool,
    /// How the layer writes the gradient of its input: adding or overwriting, with or without the backward
    /// pass of a ReLU.
    pub gradient_write: GradientWrite,
    /// Indices of the convolutions that this one computes in one pass over their common input, its own index
    /// first; `None` for a layer that computes no others.
    pub fused: Option<[usize; BRANCHES]>,
    /// Index of the convolution that also computes this one, in one pass over their common input; `None` for
    /// a layer that is computed by itself.
    pub fused_into: Option<usize>,
    /// Implementation of the layer: its sizes, the buffers that it reads and writes, its forward and backward
    /// pass.
    pub operation: Box<dyn Operation>,
}

/// Mode in which a layer writes its contribution to the gradient of its input.
#[derive(Clone, Copy, Default)]
pub(crate) struct GradientWrite {
    /// Whether another layer with the same input has already written its contribution in this backward pass,
    /// so that this layer's is added to it and does not overwrite it.
    pub accumulate: bool,
    /// Whether the layer, as the last to contribute, also does the backward pass of the ReLU that made its
    /// input: it sets the gradient to zero where the input is zero.
    pub rectify: bool,
}

impl GradientWrite {
    /// Returns this write mode as the argument that kernels take. `values` are the values of the layer's
    /// input, which tell where the ReLU that made them blocks the gradient.
    pub fn epilogue<T>(self, values: Map<T>) -> Epilogue<T> {
        Epilogue { accumulate: self.accumulate, relu: self.rectify.then_some(values) }
    }
}

/// A kind of layer: its description and, through [`Passes`], its computation in either precision.
pub(crate) trait Operation: Passes<f32> + Passes<bf16> + Send + Sync {
    /// Name of the kind of layer, for people.
    fn kind(&self) -> &'static str;

    /// The computation outside of training, its input and its output.
    fn describe(&self) -> (Computation, Endpoint<'_>, Endpoint<'_>);

    /// The buffer whose gradient `backward_input` writes; none where the input is the images, which have no
    /// gradient, or is the output as well.
    fn input(&self) -> Option<BufferIndex> {
        let (_, input, output) = self.describe();
        input.buffer().filter(|input| Some(*input) != output.buffer())
    }

    /// The buffer that `forward` writes.
    fn output(&self) -> BufferIndex {
        let (_, _, output) = self.describe();
        output.buffer().expect("a layer writes a buffer")
    }

    /// Whether the output is a map that comes out of a ReLU.
    fn rectified(&self) -> bool {
        matches!(self.describe().0, Computation::Convolution { relu: true, .. })
    }

    /// The buffers whose values the backward pass reads: the input, unless a layer says otherwise.
    fn needed_backward(&self) -> [Option<BufferIndex>; 2] {
        [self.input(), None]
    }

    /// Index of the weights in the layout; the bias follows them. None for a layer without parameters.
    fn tensor(&self) -> Option<usize> {
        None
    }

    /// This layer, if it is a convolution that can run fused with others.
    fn convolution(&self) -> Option<&ConvolutionLayer> {
        None
    }
}

/// The passes of a layer on maps of `T`.
pub(crate) trait Passes<T: Value> {
    /// Name of the kernel that is chosen for an instruction set; none where there is no choice.
    fn kernel_name(&self, _isa: Isa) -> Option<String> {
        None
    }

    /// Memory besides the activations.
    fn needs(&self, _isa: Isa, _pool: &Pool) -> Needs {
        Needs::default()
    }

    /// Copies the weights into memory in the order in which the passes read them.
    fn load(&self, _isa: Isa, _pool: &Pool, _weights: &[f32], _memory: &mut Memory) {}

    /// Computes the output of a minibatch.
    fn forward(&self, step: &Step, memory: &mut Memory);

    /// Overwrites the gradients of weights and bias.
    fn backward_parameters(&self, _step: &Step, _memory: &mut Memory, _gradients: ParameterGradients) {}

    /// Writes the layer's contribution to the gradient of its input; does nothing where the input has no
    /// gradient.
    fn backward_input(&self, _step: &Step, _memory: &mut Memory, _write: GradientWrite) {}
}
