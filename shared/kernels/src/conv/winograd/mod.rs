//! Winograd's algorithm for convolutions, which saves multiplications in all three passes. Lavin & Gray
//! (2016) call it minimal filtering.
//!
//! A map is cut into tiles of outputs. A tile of `M` x `M` outputs of an `R` x `R` kernel takes `K` x `K`
//! multiplications for each input and output channel, where `K = M + R - 1` ([`transform`]). Transformed
//! tiles are matrices `[point][block][tile][16]`; each point is a matrix multiply over the channels, with the
//! register tiles of direct convolution. The last tiles of a row or column are only as large as the rest of
//! the map, and take no part in the points that they do not need ([`tiles`]).
//!
//! The transforms add terms of very different size, so the rounding error of an output is larger than in
//! direct convolution, and grows with the number of points; the crate's README has a table.

mod forward;
mod gradient;
mod pack;
mod tiles;
mod transform;

pub(super) use gradient::fastest as fastest_gradient;
#[cfg(test)]
pub(super) use gradient::run as gradient;

use super::method::Method;
use super::pack::WeightMatrix;
use super::pass::{Pass, WeightPass};
use super::{Algorithm, Convolution, gradient as direct_gradient};
use crate::context::Context;
use crate::isa::Isa;
use crate::pool::Pool;
use crate::value::Value;

/// The possible numbers of points along a side of a tile.
const POINTS: [usize; 2] = [6, 8];

/// Winograd's algorithm with a number of points along a side of a tile.
pub(super) struct Winograd {
    pub(super) points: usize,
}

impl Winograd {
    /// The scheme for kernels of one side.
    pub(super) fn scheme(&self, kernel: usize) -> Scheme {
        Scheme { kernel, points: self.points }
    }
}

impl<T: Value> Method<T> for Winograd {
    fn algorithm(&self) -> Option<Algorithm> {
        Some(Algorithm::Winograd { points: self.points })
    }

    fn name(&self, kernel: usize) -> String {
        format!("F({0}x{0})", self.scheme(kernel).outputs())
    }

    fn applies(&self, kernel: usize) -> bool {
        matches!(kernel, 3 | 5)
    }

    /// In bf16 the fewest points serve every scheme: more points amplify rounding errors too much.
    fn serves(&self, algorithm: Algorithm, _isa: Isa) -> bool {
        match algorithm {
            Algorithm::Winograd { points } if T::GROUP == 1 => points == self.points,
            Algorithm::Winograd { .. } => self.points == POINTS[0],
            Algorithm::Direct => false,
        }
    }

    fn multiplications(&self, kernel: usize, size: [usize; 2]) -> usize {
        self.scheme(kernel).multiplications(size)
    }

    fn weights(&self, kernel: usize) -> usize {
        self.scheme(kernel).products()
    }

    fn pass_scratch(&self, conv: &Convolution, isa: Isa, blocks: usize) -> usize {
        forward::scratch_of_thread::<T>(self.scheme(conv.kernel), isa, blocks)
    }

    fn gradient_scratch(&self, conv: &Convolution, pool: &Pool) -> usize {
        let own = gradient::scratch_len::<T>(conv, self.scheme(conv.kernel), pool);
        own.max(direct_gradient::scratch_len::<T>(conv, pool))
    }

    fn pack(&self, matrix: &WeightMatrix<'_>, isa: Isa, pool: &Pool, packed: &mut [T]) {
        pack::pack(matrix, self.scheme(matrix.kernel), isa, pool, packed);
    }

    fn run(&self, passes: &[Pass<'_, T>], mut context: Context) {
        for pass in passes {
            forward::run(pass, self.scheme(pass.kernel), context.reborrow());
        }
    }

    /// The batch decides about the points, or whether the direct kernel takes less time.
    fn weight_gradient(&self, conv: &Convolution, context: Context, pass: WeightPass<'_, T>) {
        match fastest_gradient(self.scheme(conv.kernel), conv.size, pass.input.shape.batch) {
            Some(scheme) => gradient::run(conv, scheme, context, pass),
            None => direct_gradient::run(conv, context, pass),
        }
    }
}

/// Scheme F(M x M, R x R) by its kernel and points: F(4x4, 3x3) and F(2x2, 5x5) have six points along a side,
/// F(6x6, 3x3) and F(4x4, 5x5) eight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scheme {
    pub(super) kernel: usize,
    /// Points along a side of a whole tile.
    pub(super) points: usize,
}

impl Scheme {
    /// Outputs along a side of a whole tile.
    pub(super) fn outputs(&self) -> usize {
        self.points + 1 - self.kernel
    }

    /// Points along a side for a number of outputs: the fewest for which there is a transform.
    fn points_for(&self, outputs: usize) -> usize {
        (outputs + self.kernel - 1).next_multiple_of(2)
    }

    /// Products that replace the taps of a kernel.
    pub(super) fn products(&self) -> usize {
        self.points * self.points
    }

    /// Multiplications for a map of this size and a pair of channels.
    pub(super) fn multiplications(&self, size: [usize; 2]) -> usize {
        let [rows, columns] = size.map(|length| {
            let (whole, left) = (length / self.outputs(), length % self.outputs());
            whole * self.points + if left > 0 { self.points_for(left) } else { 0 }
        });
        rows * columns
    }
}

/// Runs `$run::<instructions, values, points, taps>` for a scheme.
macro_rules! by_scheme {
    ($scheme:expr, $run:ident($($argument:expr),*)) => {
        match ($scheme.points, $scheme.kernel) {
            (6, 3) => $run::<_, _, 6, 3>($($argument),*),
            (6, 5) => $run::<_, _, 6, 5>($($argument),*),
            (8, 3) => $run::<_, _, 8, 3>($($argument),*),
            (8, 5) => $run::<_, _, 8, 5>($($argument),*),
            (points, kernel) => unreachable!("a {kernel}x{kernel} kernel on {points} points"),
        }
    };
}
use by_scheme;

/// Runs `$run` with the constant `$K`: the points along a side of a tile, in a scheme of `$points` and
/// `$taps`.
macro_rules! by_points {
    ($K:ident = $side:expr, $points:ident, $taps:ident, $run:expr) => {
        match $side {
            4 if const { $taps < 4 } => {
                const $K: usize = 4;
                $run
            }
            6 => {
                const $K: usize = 6;
                $run
            }
            8 if const { $points == 8 } => {
                const $K: usize = 8;
                $run
            }
            other => unreachable!("a tile of {other} points"),
        }
    };
}
use by_points;
