//! Winograd's algorithm for convolutions: fewer multiplications, in all three passes. Lavin & Gray (2016)
//! call it minimal filtering.
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

pub(super) use forward::{run, scratch_of_thread};
pub(super) use gradient::{
    fastest as fastest_gradient, run as gradient, scratch_len as gradient_scratch_len,
};
pub(super) use pack::pack;

/// The possible numbers of points along a side of a tile.
pub(super) const POINTS: [usize; 2] = [6, 8];

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
