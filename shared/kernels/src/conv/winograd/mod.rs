//! Minimal filtering (Winograd): convolutions in fewer multiplications, all three directions.
//!
//! A map is cut into tiles of outputs. A tile of `M` x `M` outputs of an `R` x `R` kernel is computed with `K` x `K`
//! multiplications by channel and output, where `K = M + R - 1` ([`transform`]). Transformed tiles are matrices
//! [point][block][tile][16]; each point is a product over the channels, with the register tiles of the direct kernels. The
//! last tiles of a row or column are as small as what is left of the map, and have no part in the points that they
//! don't need ([`tiles`]).
//!
//! Rounding: the transforms add terms of very different size, so that an output's error is larger than the direct
//! kernel's, the more so the more points there are; the crate's README has a table.

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

/// Points that a side of a tile may have.
pub(super) const POINTS: [usize; 2] = [6, 8];

/// A kernel on so many points: F(4x4, 3x3) and F(2x2, 5x5) on six, F(6x6, 3x3) and F(4x4, 5x5) on eight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter {
    pub(super) kernel: usize,
    /// Of a side of a whole tile.
    pub(super) points: usize,
}

impl Filter {
    /// Outputs of a side of a whole tile.
    pub(super) fn outputs(&self) -> usize {
        self.points + 1 - self.kernel
    }

    /// Points of a side for so many outputs: as few as there is a transform for.
    fn points_for(&self, outputs: usize) -> usize {
        (outputs + self.kernel - 1).next_multiple_of(2)
    }

    /// Products that take the place of a kernel's taps.
    pub(super) fn products(&self) -> usize {
        self.points * self.points
    }

    /// Multiplications for maps of this size, by image and pair of channels.
    pub(super) fn multiplications(&self, size: [usize; 2]) -> usize {
        let [rows, columns] = size.map(|length| {
            let (whole, left) = (length / self.outputs(), length % self.outputs());
            whole * self.points + if left > 0 { self.points_for(left) } else { 0 }
        });
        rows * columns
    }
}

/// Runs `$run::<instructions, values, points, taps>` for a filter.
macro_rules! by_filter {
    ($filter:expr, $run:ident($($argument:expr),*)) => {
        match ($filter.points, $filter.kernel) {
            (6, 3) => $run::<_, _, 6, 3>($($argument),*),
            (6, 5) => $run::<_, _, 6, 5>($($argument),*),
            (8, 3) => $run::<_, _, 8, 3>($($argument),*),
            (8, 5) => $run::<_, _, 8, 5>($($argument),*),
            (points, kernel) => unreachable!("a {kernel}x{kernel} kernel on {points} points"),
        }
    };
}
use by_filter;

/// Runs `$run` with the constant `$K`: the points of a side of a tile, of a filter of `$points` and `$taps`.
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
