//! The table of methods that compute convolutions of stride 1 on vectors or AMX tiles.
//!
//! A method says what it can compute, at what cost and with how much memory, and runs it. The choice of the
//! algorithm, allocation, logs and the property tests all read the table. The table is made once for each
//! kind of value and reached through [`crate::entries`], so the methods' code is compiled in this crate.

use super::pack::{WeightMatrix, largest_tile};
use super::pass::{Pass, WeightPass};
use super::{Algorithm, Convolution, amx, direct, winograd};
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

/// All methods for maps of one kind of value; of those that serve a convolution the first computes it.
pub(super) type Table<T> = [&'static dyn Method<T>; 4];

/// The table for maps of `T`.
pub(super) const fn table<T: Value>() -> Table<T> {
    [&amx::OnTiles, &direct::Direct, &winograd::Winograd { points: 6 }, &winograd::Winograd { points: 8 }]
}

/// The methods that a convolution can ask for by their algorithm.
pub(super) fn by_algorithm() -> impl Iterator<Item = (Algorithm, &'static dyn Method<f32>)> {
    let methods = f32::entries().convolution.methods;
    methods.into_iter().filter_map(|method| Some((method.algorithm()?, method)))
}

/// The least factor by which an algorithm must save multiplications over the direct one; below it its
/// transforms cost more than it saves.
const LEAST_SAVING: f64 = 1.5;

/// Cost of a packed weight, in multiplications of an image: all images share packing and reading the weights.
const WEIGHT: usize = 4;

impl Algorithm {
    /// The fastest algorithm for a kernel on maps of this size, by measurements; see the crate's README.
    pub(super) fn fastest(kernel: usize, size: [usize; 2]) -> Algorithm {
        let cheapest = by_algorithm()
            .filter(|(algorithm, method)| *algorithm != Algorithm::Direct && method.applies(kernel))
            .min_by_key(|(_, method)| method.multiplications(kernel, size) + WEIGHT * method.weights(kernel));
        let direct = Method::<f32>::multiplications(&direct::Direct, kernel, size);
        match cheapest {
            Some((algorithm, method))
                if direct as f64 >= LEAST_SAVING * method.multiplications(kernel, size) as f64 =>
            {
                algorithm
            }
            _ => Algorithm::Direct,
        }
    }
}

impl Convolution {
    /// The method that computes this convolution on maps of `T` on an instruction set.
    pub(super) fn method<T: Value>(&self, isa: Isa) -> &'static dyn Method<T> {
        let methods = T::entries().convolution.methods;
        let found = methods.into_iter().find(|method| method.serves(self.algorithm, isa));
        found.expect("every algorithm has a method")
    }
}
