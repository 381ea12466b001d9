//! Convolutions on blocked maps: forward, gradient by input, gradient by weights.
//!
//! [`Convolution`] is every convolution of the network but the first (stride 1, output as large as input), [`Stem`] the
//! first (planar image, stride 2). Both take packed weights, which are made once per version of the parameters.

mod band;
mod branches;
mod direct;
mod gradient;
mod grid;
mod matrix;
mod pack;
mod padded;
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
pub use stem::Stem;

use crate::epilogue::Epilogue;
use crate::isa::Isa;
use crate::map::{LANES, Map, MapMut};
use crate::pool::Pool;
use crate::simd::matrix::Matrices;
use crate::value::Value;
use pack::{Direction, largest_tile};
use winograd::Filter;

/// A convolution with stride 1 and padding `kernel / 2`: output maps are as large as input maps.
///
/// Weights are `[output channel][input channel][y][x]`, the bias one value per output channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Channels of each segment of the input; each segment starts at a new block.
    pub input_channels: Vec<usize>,
    /// Channels of the output.
    pub output_channels: usize,
    /// Height and width of the kernel, odd, up to 11.
    pub kernel: usize,
    /// Height and width of the maps.
    pub size: [usize; 2],
    /// How it is computed.
    pub algorithm: Algorithm,
    inputs: Side,
    outputs: Side,
}

/// The blocks of a map that is convolved.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Side {
    /// The channels of each block.
    blocks: Vec<Channels>,
    /// How many those are.
    depths: Vec<usize>,
}

impl Side {
    fn new(segments: &[usize]) -> Side {
        let blocks = block_channels(segments);
        let depths = blocks.iter().map(|channels| channels.count).collect();
        Side { blocks, depths }
    }
}

/// How a convolution is computed on vectors; the scalar reference is always direct, and so is bf16 on a matrix unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// One multiplication for each tap.
    Direct,
    /// Minimal filtering of a 3x3 or 5x5 kernel.
    Winograd {
        /// Points of a side of a tile: 6 for F(4x4, 3x3) and F(2x2, 5x5), 8 for F(6x6, 3x3) and F(4x4, 5x5). In bf16
        /// it is always 6, since rounding counts for more on 8.
        points: usize,
    },
}

/// Minimal filtering must take this many times fewer multiplications at least, or its transforms cost more.
const LEAST_SAVING: f64 = 1.5;

/// What a point of a tile costs, in multiplications of an image: it stands for weights that are packed and read, which
/// images share.
const POINT: usize = 4;

impl Algorithm {
    /// The faster one for a kernel on maps of this size: which is fastest where was measured, see the crate's README.
    fn fastest(kernel: usize, [height, width]: [usize; 2]) -> Algorithm {
        if !matches!(kernel, 3 | 5) {
            return Algorithm::Direct;
        }
        let size = [height, width];
        let filters = winograd::POINTS.map(|points| Filter { kernel, points });
        let cost = |filter: &Filter| filter.multiplications(size) + POINT * filter.products();
        let filter = filters.into_iter().min_by_key(cost).expect("there are several");
        let direct = kernel * kernel * height * width;
        if direct as f64 >= LEAST_SAVING * filter.multiplications(size) as f64 {
            Algorithm::Winograd { points: filter.points }
        } else {
            Algorithm::Direct
        }
    }
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

/// What an algorithm becomes for maps of some values on some instruction set.
#[derive(Clone, Copy)]
enum Way {
    Direct,
    Winograd(Filter),
    /// Directly, on a unit for products of matrices.
    Matrices(Matrices),
}

impl Convolution {
    /// A convolution of an input of these segments, on maps of this height and width.
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
        let (inputs, outputs) = (Side::new(&input_channels), Side::new(&[output_channels]));
        Convolution { input_channels, output_channels, kernel, size, algorithm, inputs, outputs }
    }

    /// The same, computed that way.
    pub fn with(self, algorithm: Algorithm) -> Convolution {
        Convolution { algorithm, ..self }
    }

    fn input_count(&self) -> usize {
        self.input_channels.iter().sum()
    }

    /// Blocks of the input map.
    pub fn input_blocks(&self) -> usize {
        self.inputs.blocks.len()
    }

    /// Blocks of the output map.
    pub fn output_blocks(&self) -> usize {
        self.outputs.blocks.len()
    }

    /// Values of the weights, `O x I x K x K`.
    pub fn weights_len(&self) -> usize {
        self.output_channels * self.input_count() * self.kernel * self.kernel
    }

    /// What computes maps of `T` on `isa`.
    fn way<T: Value>(&self, isa: Isa) -> Way {
        match (isa.matrices::<T>(), self.algorithm) {
            (Some(unit), _) => Way::Matrices(unit),
            (_, Algorithm::Direct) => Way::Direct,
            (_, Algorithm::Winograd { points }) => {
                let points = if T::GROUP == 1 { points } else { winograd::POINTS[0] };
                Way::Winograd(Filter { kernel: self.kernel, points })
            }
        }
    }

    /// Values of the packed weights, of either packing, for maps of `T`.
    pub fn packed_len<T: Value>(&self, isa: Isa) -> usize {
        let (blocks, taps) = ([self.input_blocks(), self.output_blocks()], self.kernel * self.kernel);
        let products = match self.way::<T>(isa) {
            Way::Direct => taps,
            Way::Winograd(filter) => filter.products(),
            Way::Matrices(_) => {
                let [inputs, outputs] = blocks;
                return matrix::packed_len(blocks, taps).max(matrix::packed_len([outputs, inputs], taps));
            }
        };
        blocks[0] * blocks[1] * products * LANES * LANES
    }

    /// Packs weights for [`Convolution::forward`] on `isa`.
    pub fn pack_forward<T: Value>(&self, isa: Isa, pool: &Pool, weights: &[f32], packed: &mut [T]) {
        (T::entries().convolution.pack)(self, Direction::Forward, isa, pool, weights, packed);
    }

    /// Packs weights for [`Convolution::backward_input`] on `isa`.
    pub fn pack_backward<T: Value>(&self, isa: Isa, pool: &Pool, weights: &[f32], packed: &mut [T]) {
        (T::entries().convolution.pack)(self, Direction::Backward, isa, pool, weights, packed);
    }

    /// Floats of scratch memory that the three calls below need on maps of `T`; contents do not matter.
    pub fn scratch_len<T: Value>(&self, isa: Isa, pool: &Pool) -> usize {
        if isa == Isa::scalar() {
            return 0;
        }
        let [height, width] = self.size;
        let blocks = self.input_blocks().max(self.output_blocks());
        let direct = gradient::scratch_len::<T>(self, pool, height, width);
        let (pass, gradient) = match self.way::<T>(isa) {
            Way::Direct => (T::floats(direct::scratch_of_thread(blocks, self.kernel, height, width)), direct),
            Way::Matrices(_) => (
                [self.input_blocks(), self.output_blocks()]
                    .map(|blocks| matrix::scratch_of_thread(blocks, self.kernel, self.size))
                    .into_iter()
                    .max()
                    .unwrap_or(0),
                matrix::gradient_scratch_len(self, pool),
            ),
            Way::Winograd(filter) => (
                [self.input_blocks(), self.output_blocks()]
                    .map(|blocks| winograd::scratch_of_thread::<T>(filter, isa, blocks))
                    .into_iter()
                    .max()
                    .unwrap_or(0),
                direct.max(winograd::gradient_scratch_len::<T>(self, filter, pool)),
            ),
        };
        gradient.max(pass * pool.threads())
    }

    /// Writes `input` convolved with the weights, plus bias, cut at zero if `relu`, to `output`; the lanes that pad
    /// its last block become zero.
    #[expect(clippy::too_many_arguments, reason = "what a convolution takes")]
    pub fn forward<T: Value>(
        &self,
        isa: Isa,
        pool: &Pool,
        input: Map<T>,
        packed: &[T],
        bias: &[f32],
        relu: bool,
        output: MapMut<T>,
        scratch: &mut [f32],
    ) {
        (T::entries().convolution.forward)(self, isa, pool, input, packed, bias, relu, output, scratch);
    }

    /// Writes the gradient by the input to `input_gradient` as `epilogue` says; padding lanes become (stay) zero.
    #[expect(clippy::too_many_arguments, reason = "what a convolution takes")]
    pub fn backward_input<T: Value>(
        &self,
        isa: Isa,
        pool: &Pool,
        output_gradient: Map<T>,
        packed_backward: &[T],
        epilogue: Epilogue<T>,
        input_gradient: MapMut<T>,
        scratch: &mut [f32],
    ) {
        let (dy, packed, dx) = (output_gradient, packed_backward, input_gradient);
        (T::entries().convolution.backward_input)(self, isa, pool, dy, packed, epilogue, dx, scratch);
    }

    /// Overwrites `weight_gradient` and `bias_gradient` with the sums over all images.
    #[expect(clippy::too_many_arguments, reason = "what a convolution takes")]
    pub fn backward_weights<T: Value>(
        &self,
        isa: Isa,
        pool: &Pool,
        input: Map<T>,
        output_gradient: Map<T>,
        weight_gradient: &mut [f32],
        bias_gradient: &mut [f32],
        scratch: &mut [f32],
    ) {
        let (dy, dw, db) = (output_gradient, weight_gradient, bias_gradient);
        (T::entries().convolution.backward_weights)(self, isa, pool, input, dy, dw, db, scratch);
    }

    /// What runs on `isa` for maps of `T`, with its largest tile (pixels x output channels): for logs and tables.
    pub fn kernel_name<T: Value>(&self, isa: Isa) -> String {
        let kernel = self.kernel;
        if isa == Isa::scalar() {
            return format!("reference {kernel}x{kernel} scalar");
        }
        let (algorithm, [pixels, columns]) = match self.way::<T>(isa) {
            Way::Direct => ("direct".to_owned(), largest_tile(isa)),
            Way::Winograd(filter) => (format!("F({0}x{0})", filter.outputs()), largest_tile(isa)),
            Way::Matrices(_) => ("direct".to_owned(), matrix::TILE),
        };
        format!("{algorithm} {kernel}x{kernel} {} {pixels}x{}", isa.name(), columns * LANES)
    }
}
