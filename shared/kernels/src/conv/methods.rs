//! The table of methods that compute convolutions of stride 1 on vectors or AMX tiles.
//!
//! The choice of the algorithm, allocation, logs and the property tests all read the table. The table is made
//! once for each kind of value and reached through [`crate::entries`], so the methods' code is compiled in
//! this crate.

use super::method::Method;
use super::{Algorithm, Convolution, amx, direct, winograd};
use crate::isa::Isa;
use crate::value::Value;

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
