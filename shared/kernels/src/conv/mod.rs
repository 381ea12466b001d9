//! Convolutions on blocked maps: forward, input gradient, weight gradient.
//!
//! [`Convolution`] is every convolution of the network except the first (stride 1, output as large as input);
//! [`Stem`] is the first (planar image, stride 2). Both take packed weights, which are made once per version
//! of the parameters.

mod amx;
mod band;
mod branches;
mod direct;
mod gradient;
mod grid;
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
use crate::simd::amx::Amx;
use crate::value::Value;
use pack::{Direction, largest_tile};
use winograd::Scheme;

/// A convolution with stride 1 and padding `kernel / 2`: output maps are as large as input maps.
///
/// Weights are `[output channel][input channel][y][x]`; the bias has one value per output channel.
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
    /// Algorithm on vectors.
    pub algorithm: Algorithm,
    inputs: BlockList,
    outputs: BlockList,
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
    /// One multiplication for each tap.
    Direct,
    /// Winograd's algorithm for a 3x3 or 5x5 kernel; Lavin & Gray (2016) call it minimal filtering.
    Winograd {
        /// Points along a side of a tile: 6 for F(4x4, 3x3) and F(2x2, 5x5), 8 for F(6x6, 3x3) and F(4x4,
        /// 5x5). In bf16 it is always 6, since 8 points amplify rounding errors more.
        points: usize,
    },
}

/// The least factor by which Winograd must save multiplications; below it the transforms cost more than they
/// save.
const LEAST_SAVING: f64 = 1.5;

/// Cost of a point of a tile, in multiplications of an image: it stands for packing and reading weights,
/// which all images share.
const POINT: usize = 4;

impl Algorithm {
    /// The fastest algorithm for a kernel on maps of this size, by measurements; see the crate's README.
    fn fastest(kernel: usize, [height, width]: [usize; 2]) -> Algorithm {
        if !matches!(kernel, 3 | 5) {
            return Algorithm::Direct;
        }
        let size = [height, width];
        let schemes = winograd::POINTS.map(|points| Scheme { kernel, points });
        let cost = |scheme: &Scheme| scheme.multiplications(size) + POINT * scheme.products();
        let scheme = schemes.into_iter().min_by_key(cost).expect("there are several");
        let direct = kernel * kernel * height * width;
        if direct as f64 >= LEAST_SAVING * scheme.multiplications(size) as f64 {
            Algorithm::Winograd { points: scheme.points }
        } else {
            Algorithm::Direct
        }
    }
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

/// The method that computes a convolution of some values on some instruction set.
#[derive(Clone, Copy)]
enum Method {
    Direct,
    Winograd(Scheme),
    /// Direct convolution on AMX tiles.
    Amx(Amx),
}

impl Convolution {
    /// A convolution of an input with these segments of channels, on maps of this height and width.
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

    /// This convolution, computed by another algorithm.
    pub fn with(self, algorithm: Algorithm) -> Convolution {
        Convolution { algorithm, ..self }
    }

    fn input_count(&self) -> usize {
        self.input_channels.iter().sum()
    }

    /// Number of blocks of the input map.
    pub fn input_blocks(&self) -> usize {
        self.inputs.blocks.len()
    }

    /// Number of blocks of the output map.
    pub fn output_blocks(&self) -> usize {
        self.outputs.blocks.len()
    }

    /// Number of weights, `O x I x K x K`.
    pub fn weights_len(&self) -> usize {
        self.output_channels * self.input_count() * self.kernel * self.kernel
    }

    /// The method for maps of `T` on `isa`.
    fn method<T: Value>(&self, isa: Isa) -> Method {
        match (isa.amx::<T>(), self.algorithm) {
            (Some(unit), _) => Method::Amx(unit),
            (_, Algorithm::Direct) => Method::Direct,
            (_, Algorithm::Winograd { points }) => {
                let points = if T::GROUP == 1 { points } else { winograd::POINTS[0] };
                Method::Winograd(Scheme { kernel: self.kernel, points })
            }
        }
    }

    /// Values of the packed weights, in either direction, for maps of `T`.
    pub fn packed_len<T: Value>(&self, isa: Isa) -> usize {
        let (blocks, taps) = ([self.input_blocks(), self.output_blocks()], self.kernel * self.kernel);
        let products = match self.method::<T>(isa) {
            Method::Direct => taps,
            Method::Winograd(scheme) => scheme.products(),
            Method::Amx(_) => {
                let [inputs, outputs] = blocks;
                return amx::packed_len(blocks, taps).max(amx::packed_len([outputs, inputs], taps));
            }
        };
        blocks[0] * blocks[1] * products * LANES * LANES
    }

    /// Packs weights for [`Convolution::forward`] on `isa`.
    ///
    /// # Panics
    /// If a length does not fit.
    pub fn pack_forward<T: Value>(&self, isa: Isa, pool: &Pool, weights: &[f32], packed: &mut [T]) {
        (T::entries().convolution.pack)(self, Direction::Forward, isa, pool, weights, packed);
    }

    /// Packs weights for [`Convolution::backward_input`] on `isa`.
    ///
    /// # Panics
    /// If a length does not fit.
    pub fn pack_backward<T: Value>(&self, isa: Isa, pool: &Pool, weights: &[f32], packed: &mut [T]) {
        (T::entries().convolution.pack)(self, Direction::Backward, isa, pool, weights, packed);
    }

    /// Floats of scratch memory that the three passes need on maps of `T`; its contents do not matter.
    pub fn scratch_len<T: Value>(&self, isa: Isa, pool: &Pool) -> usize {
        if isa == Isa::scalar() {
            return 0;
        }
        let [height, width] = self.size;
        let blocks = self.input_blocks().max(self.output_blocks());
        let direct = gradient::scratch_len::<T>(self, pool, height, width);
        let (pass, gradient) = match self.method::<T>(isa) {
            Method::Direct => {
                (T::floats(direct::scratch_of_thread(blocks, self.kernel, height, width)), direct)
            }
            Method::Amx(_) => (
                [self.input_blocks(), self.output_blocks()]
                    .map(|blocks| amx::scratch_of_thread(blocks, self.kernel, self.size))
                    .into_iter()
                    .max()
                    .unwrap_or(0),
                amx::gradient_scratch_len(self, pool),
            ),
            Method::Winograd(scheme) => (
                [self.input_blocks(), self.output_blocks()]
                    .map(|blocks| winograd::scratch_of_thread::<T>(scheme, isa, blocks))
                    .into_iter()
                    .max()
                    .unwrap_or(0),
                direct.max(winograd::gradient_scratch_len::<T>(self, scheme, pool)),
            ),
        };
        gradient.max(pass * pool.threads())
    }

    /// Computes the convolution of `input` plus bias, followed by ReLU if `relu`; the padding lanes of the
    /// output's last block become zero.
    ///
    /// # Panics
    /// If a size does not fit.
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

    /// Computes the input gradient and writes it as `epilogue` says; padding lanes become (or stay) zero.
    ///
    /// # Panics
    /// If a size does not fit.
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

    /// Overwrites the gradients of weights and bias with the sums over all images.
    ///
    /// # Panics
    /// If a size does not fit.
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

    /// Name of the method that runs on `isa` for maps of `T`, with its largest tile (pixels x output
    /// channels), for logs and tables.
    pub fn kernel_name<T: Value>(&self, isa: Isa) -> String {
        let kernel = self.kernel;
        if isa == Isa::scalar() {
            return format!("reference {kernel}x{kernel} scalar");
        }
        let (algorithm, [pixels, columns]) = match self.method::<T>(isa) {
            Method::Direct => ("direct".to_owned(), largest_tile(isa)),
            Method::Winograd(scheme) => (format!("F({0}x{0})", scheme.outputs()), largest_tile(isa)),
            Method::Amx(_) => ("direct".to_owned(), amx::TILE),
        };
        format!("{algorithm} {kernel}x{kernel} {} {pixels}x{}", isa.name(), columns * LANES)
    }
}
