//! What a method of computing convolutions is: it says what it can compute, at what cost and with how much
//! memory, and runs it.

use super::pack::{WeightMatrix, largest_tile};
use super::pass::{Pass, WeightPass};
use super::{Algorithm, Convolution};
use crate::context::Context;
use crate::isa::Isa;
use crate::map::LANES;
use crate::pool::Pool;
use crate::value::Value;

/// A method of computing convolutions on maps of `T`.
pub(super) trait Method<T: Value>: Sync {
    /// The algorithm by which a convolution asks for this method; none if the instruction set decides alone.
    fn algorithm(&self) -> Option<Algorithm>;

    /// Name for logs and tables, such as "direct" or "F(4x4)".
    fn name(&self, kernel: usize) -> String;

    /// Whether the method computes kernels of this side.
    fn applies(&self, kernel: usize) -> bool;

    /// Whether the method computes convolutions that ask for an algorithm on an instruction set.
    fn serves(&self, algorithm: Algorithm, isa: Isa) -> bool;

    /// Multiplications for a map of this size and a pair of channels.
    fn multiplications(&self, kernel: usize, size: [usize; 2]) -> usize;

    /// Values of the packed weights for a pair of channels.
    fn weights(&self, kernel: usize) -> usize;

    /// Values of the packed weights of a convolution, in either direction.
    fn packed_len(&self, conv: &Convolution) -> usize {
        conv.input_blocks() * conv.output_blocks() * self.weights(conv.kernel) * LANES * LANES
    }

    /// Pixels and output blocks of the largest tile.
    fn largest_tile(&self, isa: Isa) -> [usize; 2] {
        largest_tile(isa)
    }

    /// Floats of scratch that each thread needs for a pass whose input has so many blocks.
    fn pass_scratch(&self, conv: &Convolution, isa: Isa, blocks: usize) -> usize;

    /// Floats of scratch that all threads together need for the weight gradient.
    fn gradient_scratch(&self, conv: &Convolution, pool: &Pool) -> usize;

    /// Packs canonical weights.
    fn pack(&self, matrix: &WeightMatrix<'_>, isa: Isa, pool: &Pool, packed: &mut [T]);

    /// Runs passes over maps of one size, part by part, so that they find the data that they share in the
    /// cache.
    fn run(&self, passes: &[Pass<'_, T>], context: Context);

    /// Overwrites the gradients of weights and bias with the sums over all images.
    fn weight_gradient(&self, conv: &Convolution, context: Context, pass: WeightPass<'_, T>);
}
