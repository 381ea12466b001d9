//! The layers: each a struct of sizes and of places in the plan, with its forward and backward pass side by side.
//!
//! A forward pass reads its input's values and writes its output's. A backward pass finds the complete
//! gradient by its output in place. A layer that ends in a ReLU first clears that gradient where the output
//! is zero, then takes the gradient by its parameters, then the one by its input; so its parameters can leave
//! while the pass goes on below.

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
pub(crate) use convolution::ConvolutionLayer;
pub(crate) use dense::DenseLayer;
pub(crate) use depthwise_stem::DepthwiseStemLayer;
pub(crate) use dropout::DropoutLayer;
pub(crate) use flatten::FlattenLayer;
pub(crate) use lrn::LrnLayer;
pub(crate) use max_pool::MaxPoolLayer;
pub(crate) use stem::StemLayer;

use kernels::{Isa, Pool};

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
    /// Whether a layer above puts its share into the input's gradient first, so that this one adds to it.
    pub accumulate: bool,
    pub operation: Box<dyn Operation>,
}

/// What a layer computes.
pub(crate) trait Operation: Send + Sync {
    /// The kind of layer, for people.
    fn kind(&self) -> &'static str;

    /// What it computes outside of training, from where to where.
    fn describe(&self) -> (Computation, Place<'_>, Place<'_>);

    /// The buffer whose gradient `backward_input` writes; none where there is no such gradient, or it is in place.
    fn input(&self) -> Option<BufferIndex>;

    /// The buffer that `forward` writes.
    fn output(&self) -> BufferIndex;

    /// Index of the weights in the layout; the bias follows them. None for a layer without parameters.
    fn tensor(&self) -> Option<usize> {
        None
    }

    /// Memory besides the activations; asked only of layers with parameters.
    fn needs(&self, _isa: Isa, _pool: &Pool) -> Needs {
        Needs::default()
    }

    /// Puts the weights where and how the passes read them.
    fn load(&self, _isa: Isa, _pool: &Pool, _weights: &[f32], _memory: &mut Memory) {}

    /// Computes the output of a minibatch.
    fn forward(&self, step: &Step, memory: &mut Memory);

    /// Masks the output's gradient by the ReLU, then overwrites the gradients by weights and bias.
    fn backward_parameters(
        &self,
        _step: &Step,
        _memory: &mut Memory,
        _weights: &mut [f32],
        _bias: &mut [f32],
    ) {
    }

    /// Writes the gradient by the input, or with `accumulate` adds to what is there.
    fn backward_input(&self, step: &Step, memory: &mut Memory, accumulate: bool);

    /// Name of the kernel that an instruction set chooses, where there is a choice.
    fn kernel_name(&self, _isa: Isa) -> Option<String> {
        None
    }
}
