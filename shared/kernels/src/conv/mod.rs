//! Convolutions on blocked maps: forward, input gradient, weight gradient.
//!
//! [`Convolution`] computes every convolution of the network except the first: stride 1, output maps as large
//! as input maps. [`Stem`] computes the first one: a planar image, stride 2. Both take packed weights, which
//! are made once per version of the parameters.

mod amx;
mod band;
mod branches;
mod direct;
mod gradient;
mod grid;
mod method;
mod methods;
mod pack;
mod padded;
mod pairs;
mod pass;
mod passes;
mod reference;
mod rows;
mod stem;
#[cfg(test)]
mod tests;
mod tile;
mod winograd;

pub(crate) use branches::Entries as BranchEntries;
pub use branches::{BRANCHES, Branch, BranchGradient, backward_branches, forward_branches};
pub(crate) use passes::Entries;
pub(crate) use stem::Entries as StemEntries;
pub use stem::{PlanarImages, Stem};

use crate::context::Context;
use crate::epilogue::Epilogue;
use crate::gradients::ParameterGradients;
use crate::isa::Isa;
use crate::map::{LANES, Map, MapMut};
use crate::pool::Pool;
use crate::value::Value;
use pack::Direction;

/// A convolution with stride 1 and padding `kernel / 2`: output maps are as large as input maps.
///
/// Weights are `[output channel][input channel][y][x]`; the bias has one value per output channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Number of channels of each segment of the input. Segments are concatenated by channels, and each
    /// starts at a new block of 16 channels.
    pub input_channels: Vec<usize>,
    /// Channels of the output.
    pub output_channels: usize,
    /// Side of the square kernel in pixels: odd, at most 11.
    pub kernel: usize,
    /// Height and width of the input and output maps in pixels.
    pub size: [usize; 2],
    /// Algorithm by which the convolution is computed on vector registers.
    pub algorithm: Algorithm,
    inputs: BlockList,
    outputs: BlockList,
}

/// Parameters of a [`Convolution`] or [`Stem`] in the forward pass: packed weights and bias.
#[derive(Clone, Copy, Debug)]
pub struct ConvolutionParameters<'a, T = f32> {
    /// Weights packed by [`Convolution::pack_forward`] or [`Stem::pack_forward`].
    pub packed: &'a [T],
    /// Bias of each output channel.
    pub bias: &'a [f32],
}

/// The blocks of a map that is convolved.
#[derive(Clone, Debug, PartialEq, Eq)]
struct BlockList {
    /// Channels of each block.
    blocks: Vec<Channels>,
    /// Number of channels of each block.
    depths: Vec<usize>,
}

impl BlockList {
    fn new(segments: &[usize]) -> BlockList {
        let blocks = block_channels(segments);
        let depths = blocks.iter().map(|channels| channels.count).collect();
        BlockList { blocks, depths }
    }
}

/// The algorithm of a convolution on vectors. The scalar reference is always direct, and so is bf16 on AMX
/// tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Direct convolution: one multiplication for each kernel tap.
    Direct,
    /// Winograd's algorithm for a 3x3 or 5x5 kernel; Lavin & Gray (2016) call it minimal filtering.
    Winograd {
        /// Points along a side of a tile: 6 for F(4x4, 3x3) and F(2x2, 5x5), 8 for F(6x6, 3x3) and F(4x4,
        /// 5x5). In bf16 it is always 6, since 8 points amplify rounding errors more.
        points: usize,
    },
}

/// Channels of one block: `first .. first + count` of the canonical order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Channels {
    pub(crate) first: usize,
    pub(crate) count: usize,
}

/// Channels of each block of a map made of segments.
fn block_channels(segments: &[usize]) -> Vec<Channels> {
    let mut result = Vec::new();
    let mut first = 0;
    for &segment in segments {
        for start in (0..segment).step_by(LANES) {
            result.push(Channels { first: first + start, count: LANES.min(segment - start) });
        }
        first += segment;
    }
    result
}

impl Convolution {
    /// Returns a convolution whose input has segments of `input_channels` channels, on maps of `size`, height
    /// and width.
    ///
    /// # Panics
    /// If the kernel is even or larger than 11, or there are no channels.
    pub fn new(
        input_channels: Vec<usize>,
        output_channels: usize,
        kernel: usize,
        size: [usize; 2],
    ) -> Convolution {
        let most = pack::MOST_TAPS;
        assert!(
            kernel % 2 == 1 && kernel * kernel <= most,
            "expected an odd kernel up to 11, found {kernel}"
        );
        assert!(
            input_channels.iter().all(|channels| *channels > 0) && !input_channels.is_empty(),
            "no input channels"
        );
        assert!(output_channels > 0, "no output channels");
        let algorithm = Algorithm::fastest(kernel, size);
        let (inputs, outputs) = (BlockList::new(&input_channels), BlockList::new(&[output_channels]));
        Convolution { input_channels, output_channels, kernel, size, algorithm, inputs, outputs }
    }

    /// Returns this convolution, computed by `algorithm`.
    pub fn with(self, algorithm: Algorithm) -> Convolution {
        Convolution { algorithm, ..self }
    }

    fn input_count(&self) -> usize {
        self.input_channels.iter().sum()
    }

    /// Number of blocks of 16 channels of the input map.
    pub fn input_blocks(&self) -> usize {
        self.inputs.blocks.len()
    }

    /// Number of blocks of 16 channels of the output map.
    pub fn output_blocks(&self) -> usize {
        self.outputs.blocks.len()
    }

    /// Number of weights, `O x I x K x K` (output channels, input channels, kernel rows, kernel columns).
    pub fn weights_len(&self) -> usize {
        self.output_channels * self.input_count() * self.kernel * self.kernel
    }

    /// Number of values of the weights packed for the forward or for the backward pass on maps of `T`.
    pub fn packed_len<T: Value>(&self, isa: Isa) -> usize {
        self.method::<T>(isa).packed_len(self)
    }

    /// Packs weights for [`Convolution::forward`] on `isa`.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn pack_forward<T: Value>(&self, isa: Isa, pool: &Pool, weights: &[f32], packed: &mut [T]) {
        (T::entries().convolution.pack)(self, Direction::Forward, isa, pool, weights, packed);
    }

    /// Packs weights for [`Convolution::backward_input`] on `isa`.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn pack_backward<T: Value>(&self, isa: Isa, pool: &Pool, weights: &[f32], packed: &mut [T]) {
        (T::entries().convolution.pack)(self, Direction::Backward, isa, pool, weights, packed);
    }

    /// Number of floats of scratch memory that suffice for each of the three passes (forward, input gradient,
    /// weight gradient) on maps of `T`; the memory's contents do not matter.
    pub fn scratch_len<T: Value>(&self, isa: Isa, pool: &Pool) -> usize {
        if isa == Isa::scalar() {
            return 0;
        }
        let method = self.method::<T>(isa);
        let pass = |blocks| method.pass_scratch(self, isa, blocks) * pool.threads();
        let passes = pass(self.input_blocks()).max(pass(self.output_blocks()));
        passes.max(method.gradient_scratch(self, pool))
    }

    /// Computes the convolution of `input` plus bias, followed by ReLU if `relu`; the padding lanes of the
    /// output's last block become zero.
    ///
    /// # Panics
    /// If a map or slice has the wrong size, or the scratch memory is too small.
    pub fn forward<T: Value>(
        &self,
        context: Context,
        input: Map<T>,
        parameters: ConvolutionParameters<T>,
        relu: bool,
        output: MapMut<T>,
    ) {
        (T::entries().convolution.forward)(self, context, input, parameters, relu, output);
    }

    /// Computes the input gradient and writes it as `epilogue` says; padding lanes become (or stay) zero.
    ///
    /// # Panics
    /// If a map or slice has the wrong size, or the scratch memory is too small.
    pub fn backward_input<T: Value>(
        &self,
        context: Context,
        output_gradient: Map<T>,
        packed_backward: &[T],
        epilogue: Epilogue<T>,
        input_gradient: MapMut<T>,
    ) {
        let (dy, packed, dx) = (output_gradient, packed_backward, input_gradient);
        (T::entries().convolution.backward_input)(self, context, dy, packed, epilogue, dx);
    }

    /// Overwrites the gradients of weights and bias with the sums over all images.
    ///
    /// # Panics
    /// If a map or slice has the wrong size, or the scratch memory is too small.
    pub fn backward_weights<T: Value>(
        &self,
        context: Context,
        input: Map<T>,
        output_gradient: Map<T>,
        gradients: ParameterGradients,
    ) {
        (T::entries().convolution.backward_weights)(self, context, input, output_gradient, gradients);
    }

    /// Name of the method that runs on `isa` for maps of `T`, with its largest tile (pixels x output
    /// channels), for logs and tables.
    pub fn kernel_name<T: Value>(&self, isa: Isa) -> String {
        let kernel = self.kernel;
        if isa == Isa::scalar() {
            return format!("reference {kernel}x{kernel} scalar");
        }
        let method = self.method::<T>(isa);
        let ([pixels, columns], name) = (method.largest_tile(isa), method.name(kernel));
        format!("{name} {kernel}x{kernel} {} {pixels}x{}", isa.name(), columns * LANES)
    }
}
