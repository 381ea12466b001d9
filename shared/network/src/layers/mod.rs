//! The layers: each a struct of sizes and of places in the plan, with its forward and backward pass side by side.
//!
//! A forward pass reads its input's values and writes its output's. A backward pass finds the complete
//! gradient by its output in place, takes the gradient by its parameters, then the one by its input; so its parameters
//! can leave while the pass goes on below. The ReLU of a convolution is no pass of its own: forward it is part of the
//! convolution, backward of the last layer that writes into the gradient by its output ([`Share`]).

mod average_pool;
mod convolution;
mod dense;
mod depthwise_stem;
mod dropout;
mod flatten;
mod lrn;
mod max_pool;
mod stem;

pub(crate) use average_pool::AveragePoolLayer;
pub(crate) use convolution::{ConvolutionLayer, backward_input_together, forward_together};
pub(crate) use dense::DenseLayer;
pub(crate) use depthwise_stem::DepthwiseStemLayer;
pub(crate) use dropout::DropoutLayer;
pub(crate) use flatten::FlattenLayer;
pub(crate) use lrn::LrnLayer;
pub(crate) use max_pool::MaxPoolLayer;
pub(crate) use stem::StemLayer;

use kernels::{BRANCHES, Isa, Pool, Value, bf16};

use crate::graph::{Computation, Place};
use crate::memory::{Memory, Needs, Step};
use crate::plan::BufferIndex;

/// A layer of the network.
pub(crate) struct Layer {
    /// Caffe's name, where it has one.
    pub name: String,
    /// Channels, height, width of the output of one image.
    pub output: [usize; 3],
    /// Multiply-adds of one image, forward.
    pub multiply_adds: u64,
    /// Whether the layer belongs to an auxiliary head, which only training runs.
    pub auxiliary: bool,
    pub share: Share,
    /// Where this is the first of the convolutions that run together on a module's input: all of them.
    pub branches: Option<[usize; BRANCHES]>,
    /// Where it is one of the others: that first one, which runs it.
    pub leader: Option<usize>,
    pub operation: Box<dyn Operation>,
}

/// How a layer puts its share into its input's gradient.
#[derive(Clone, Copy, Default)]
pub(crate) struct Share {
    /// A layer above puts its share there first, so that this one adds to it.
    pub accumulate: bool,
    /// The input comes out of ReLUs and no layer below adds a share: the gradient becomes zero where the input is.
    pub rectify: bool,
}

/// What a layer is, and what it computes in any precision.
pub(crate) trait Operation: Passes<f32> + Passes<bf16> + Send + Sync {
    /// The kind of layer, for people.
    fn kind(&self) -> &'static str;

    /// What it computes outside of training, from where to where.
    fn describe(&self) -> (Computation, Place<'_>, Place<'_>);

    /// The buffer whose gradient `backward_input` writes; none where there is no such gradient, or it is in place.
    fn input(&self) -> Option<BufferIndex>;

    /// Whether the output is a map that comes out of a ReLU.
    fn rectified(&self) -> bool {
        matches!(self.describe().0, Computation::Convolution { relu: true, .. })
    }

    /// The buffers whose values the backward pass reads.
    fn remembers(&self) -> [Option<BufferIndex>; 2] {
        [None, None]
    }

    /// The buffer that `forward` writes.
    fn output(&self) -> BufferIndex;

    /// Index of the weights in the layout; the bias follows them. None for a layer without parameters.
    fn tensor(&self) -> Option<usize> {
        None
    }

    /// This layer, if it is a convolution that can run together with others.
    fn convolution(&self) -> Option<&ConvolutionLayer> {
        None
    }
}

/// What a layer computes on maps of `T`.
pub(crate) trait Passes<T: Value> {
    /// Name of the kernel that an instruction set chooses, where there is a choice.
    fn kernel_name(&self, _isa: Isa) -> Option<String> {
        None
    }

    /// Memory besides the activations.
    fn needs(&self, _isa: Isa, _pool: &Pool) -> Needs {
        Needs::default()
    }

    /// Puts the weights where and how the passes read them.
    fn load(&self, _isa: Isa, _pool: &Pool, _weights: &[f32], _memory: &mut Memory) {}

    /// Computes the output of a minibatch.
    fn forward(&self, step: &Step, memory: &mut Memory);

    /// Overwrites the gradients by weights and bias.
    fn backward_parameters(
        &self,
        _step: &Step,
        _memory: &mut Memory,
        _weights: &mut [f32],
        _bias: &mut [f32],
    ) {
    }

    /// Puts the layer's share into the gradient by the input.
    fn backward_input(&self, step: &Step, memory: &mut Memory, share: Share);
}
