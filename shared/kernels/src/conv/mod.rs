//! Convolutions on blocked maps: forward, gradient by input, gradient by weights.
//!
//! [`Convolution`] is every convolution of the network but the first (stride 1, output as large as input), [`Stem`] the
//! first (planar image, stride 2). Both take packed weights, which are made once per version of the parameters.

mod band;
mod direct;
mod gradient;
mod pack;
mod padded;
mod reference;
mod rows;
mod stem;
#[cfg(test)]
mod tests;
mod tile;

pub use stem::Stem;

use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::map::{LANES, Map, MapMut, blocks};
use crate::pool::Pool;
use direct::{Direct, scratch_of_thread};
use pack::{Direction, largest_tile, pack, panel_width};

/// A convolution with stride 1 and padding `kernel / 2`: output maps are as large as input maps.
///
/// Weights are `[output channel][input channel][y][x]`, the bias one value per output channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Channels of each segment of the input; each segment starts at a new block.
    pub input_channels: Vec<usize>,
    /// Channels of the output.
    pub output_channels: usize,
    /// Height and width of the kernel, odd.
    pub kernel: usize,
}

/// The channels of one block: `first .. first + count` of the canonical order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Channels {
    pub(crate) first: usize,
    pub(crate) count: usize,
}

/// The channels of each block of a map made of segments.
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

/// How many channels each of those blocks has.
fn depths(segments: &[usize]) -> Vec<usize> {
    block_channels(segments).iter().map(|channels| channels.count).collect()
}

impl Convolution {
    /// A convolution of an input of these segments.
    pub fn new(input_channels: Vec<usize>, output_channels: usize, kernel: usize) -> Convolution {
        assert!(kernel % 2 == 1, "expected an odd kernel, found {kernel}");
        assert!(
            input_channels.iter().all(|channels| *channels > 0) && !input_channels.is_empty(),
            "no input channels"
        );
        assert!(output_channels > 0, "no output channels");
        Convolution { input_channels, output_channels, kernel }
    }

    fn inputs(&self) -> usize {
        self.input_channels.iter().sum()
    }

    /// Blocks of the input map.
    pub fn input_blocks(&self) -> usize {
        self.input_channels.iter().map(|channels| blocks(*channels)).sum()
    }

    /// Blocks of the output map.
    pub fn output_blocks(&self) -> usize {
        blocks(self.output_channels)
    }

    /// Values of the weights, `O x I x K x K`.
    pub fn weights_len(&self) -> usize {
        self.output_channels * self.inputs() * self.kernel * self.kernel
    }

    /// Values of the packed weights, of either packing.
    pub fn packed_len(&self) -> usize {
        self.input_blocks() * self.output_blocks() * self.kernel * self.kernel * LANES * LANES
    }

    /// Packs weights for [`Convolution::forward`] on `isa`.
    pub fn pack_forward(&self, isa: Isa, pool: &Pool, weights: &[f32], packed: &mut [f32]) {
        self.pack(Direction::Forward, isa, pool, weights, packed);
    }

    /// Packs weights for [`Convolution::backward_input`] on `isa`.
    pub fn pack_backward(&self, isa: Isa, pool: &Pool, weights: &[f32], packed: &mut [f32]) {
        self.pack(Direction::Backward, isa, pool, weights, packed);
    }

    fn pack(&self, direction: Direction, isa: Isa, pool: &Pool, weights: &[f32], packed: &mut [f32]) {
        assert_eq!(weights.len(), self.weights_len(), "weights of {self:?}");
        assert_eq!(packed.len(), self.packed_len(), "packed weights of {self:?}");
        if isa == Isa::scalar() {
            packed[..weights.len()].copy_from_slice(weights);
        } else {
            pack(self, direction, isa, pool, weights, packed);
        }
    }

    /// Values of scratch memory that the three calls below need for maps of this size; contents do not matter.
    pub fn scratch_len(&self, isa: Isa, pool: &Pool, height: usize, width: usize) -> usize {
        if isa == Isa::scalar() {
            return 0;
        }
        let direct = |blocks| scratch_of_thread(blocks, self.kernel, height, width);
        let direct = direct(self.input_blocks()).max(direct(self.output_blocks())) * pool.threads();
        direct.max(gradient::scratch_len(self, pool, height, width))
    }

    /// Writes `input` convolved with the weights, plus bias, cut at zero if `relu`, to `output`; the lanes that pad
    /// its last block become zero.
    #[expect(clippy::too_many_arguments, reason = "what a convolution takes")]
    pub fn forward(
        &self,
        isa: Isa,
        pool: &Pool,
        input: Map,
        packed: &[f32],
        bias: &[f32],
        relu: bool,
        output: MapMut,
        scratch: &mut [f32],
    ) {
        self.check_maps(&input, &output.as_map());
        assert_eq!(packed.len(), self.packed_len(), "packed weights of {self:?}");
        assert_eq!(bias.len(), self.output_channels, "bias of {self:?}");
        if isa == Isa::scalar() {
            return reference::forward(self, pool, input, &packed[..self.weights_len()], bias, relu, output);
        }
        let direct = Direct {
            kernel: self.kernel,
            input,
            depths: &depths(&self.input_channels),
            packed,
            panels: output.count.div_ceil(panel_width(isa)),
            bias,
            relu,
            accumulate: false,
            output_shape: output.shape,
            output_blocks: output.first..output.first + output.count,
            output: Disjoint::new(output.data),
        };
        direct.run(isa, pool, scratch);
    }

    /// Writes the gradient by the input to `input_gradient`, or adds it to what is there if `accumulate`; padding lanes
    /// become (stay) zero.
    #[expect(clippy::too_many_arguments, reason = "what a convolution takes")]
    pub fn backward_input(
        &self,
        isa: Isa,
        pool: &Pool,
        output_gradient: Map,
        packed_backward: &[f32],
        accumulate: bool,
        input_gradient: MapMut,
        scratch: &mut [f32],
    ) {
        self.check_maps(&input_gradient.as_map(), &output_gradient);
        assert_eq!(packed_backward.len(), self.packed_len(), "packed weights of {self:?}");
        if isa == Isa::scalar() {
            let weights = &packed_backward[..self.weights_len()];
            return reference::backward_input(
                self,
                pool,
                output_gradient,
                weights,
                accumulate,
                input_gradient,
            );
        }
        let direct = Direct {
            kernel: self.kernel,
            input: output_gradient,
            depths: &depths(&[self.output_channels]),
            packed: packed_backward,
            panels: input_gradient.count.div_ceil(panel_width(isa)),
            bias: &[],
            relu: false,
            accumulate,
            output_shape: input_gradient.shape,
            output_blocks: input_gradient.first..input_gradient.first + input_gradient.count,
            output: Disjoint::new(input_gradient.data),
        };
        direct.run(isa, pool, scratch);
    }

    /// Overwrites `weight_gradient` and `bias_gradient` with the sums over all images.
    #[expect(clippy::too_many_arguments, reason = "what a convolution takes")]
    pub fn backward_weights(
        &self,
        isa: Isa,
        pool: &Pool,
        input: Map,
        output_gradient: Map,
        weight_gradient: &mut [f32],
        bias_gradient: &mut [f32],
        scratch: &mut [f32],
    ) {
        self.check_maps(&input, &output_gradient);
        assert_eq!(weight_gradient.len(), self.weights_len(), "weight gradient of {self:?}");
        assert_eq!(bias_gradient.len(), self.output_channels, "bias gradient of {self:?}");
        if isa == Isa::scalar() {
            reference::backward_weights(self, pool, input, output_gradient, weight_gradient, bias_gradient);
        } else {
            gradient::run(self, isa, pool, input, output_gradient, weight_gradient, bias_gradient, scratch);
        }
    }

    /// What runs on `isa`, with its largest tile (pixels x output channels): for logs and tables. The choice does not
    /// depend on the size of the maps yet.
    pub fn kernel_name(&self, isa: Isa, _height: usize, _width: usize) -> String {
        let kernel = self.kernel;
        if isa == Isa::scalar() {
            return format!("reference {kernel}x{kernel} scalar");
        }
        let [pixels, columns] = largest_tile(isa);
        format!("direct {kernel}x{kernel} {} {pixels}x{}", isa.name(), columns * LANES)
    }

    fn check_maps(&self, input: &Map, output: &Map) {
        assert_eq!(input.count, self.input_blocks(), "input blocks of {self:?}");
        assert_eq!(output.count, self.output_blocks(), "output blocks of {self:?}");
        let size = |map: &Map| (map.shape.batch, map.shape.height, map.shape.width);
        assert_eq!(size(input), size(output), "batch, height, width of input and output");
    }
}
