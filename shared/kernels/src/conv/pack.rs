//! Packed weights: the order in which direct convolution on vectors reads them.
//!
//! The order is `[panel][input block][y][x][16 inputs][16 * columns outputs]`, where a panel is up to
//! [`Simd::PANEL`] output blocks. For bf16, two inputs are interleaved for each output, as they are
//! multiplied. One panel is read from front to back for every tile of pixels and stays in the second-level
//! cache meanwhile. Channels that do not exist have zeros. The input gradient runs on the same code, with
//! inputs and outputs exchanged and the kernel rotated by 180 degrees.

use super::{Channels, Convolution};
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::map::LANES;
use crate::pool::{Pool, part};
use crate::simd::{Kernel, Simd, Vectorised, dispatch, dispatch_tiled};
use crate::value::Value;
use std::ops::Range;

/// The pass that weights are packed for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    Backward,
}

/// Canonical weights as a matrix of channel blocks: a pass goes from the rows to the columns.
pub(super) struct WeightMatrix<'a> {
    pub(super) kernel: usize,
    direction: Direction,
    pub(super) rows: &'a [Channels],
    pub(super) columns: &'a [Channels],
    inputs: usize,
    weights: &'a [f32],
}

impl<'a> WeightMatrix<'a> {
    pub(super) fn new(conv: &'a Convolution, direction: Direction, weights: &'a [f32]) -> WeightMatrix<'a> {
        let (inputs, outputs) = (&conv.inputs.blocks[..], &conv.outputs.blocks[..]);
        let (rows, columns) = match direction {
            Direction::Forward => (inputs, outputs),
            Direction::Backward => (outputs, inputs),
        };
        WeightMatrix { kernel: conv.kernel, direction, rows, columns, inputs: conv.input_count(), weights }
    }

    /// Writes the weights from one row to the adjacent columns of a block, for each tap. Backward, the kernel
    /// is rotated. Lanes without a channel are left as they are.
    #[inline(always)]
    pub(super) fn row(&self, row: usize, columns: Channels, to: &mut [[f32; LANES]]) {
        let taps = to.len();
        assert!(taps == self.kernel * self.kernel && columns.count <= LANES, "the weights of a row");
        match (self.direction, to) {
            (Direction::Forward, [to]) => {
                let from = self.weights[columns.first * self.inputs + row..].iter().step_by(self.inputs);
                to[..columns.count].iter_mut().zip(from).for_each(|(to, weight)| *to = *weight);
            }
            (Direction::Backward, [to]) => {
                let from = &self.weights[row * self.inputs + columns.first..];
                to[..columns.count].copy_from_slice(&from[..columns.count]);
            }
            (Direction::Forward, to) => {
                for lane in 0..columns.count {
                    let from = &self.weights[((columns.first + lane) * self.inputs + row) * taps..][..taps];
                    to.iter_mut().zip(from).for_each(|(to, weight)| to[lane] = *weight);
                }
            }
            (Direction::Backward, to) => {
                let from = &self.weights[(row * self.inputs + columns.first) * taps..];
                for (lane, from) in from.chunks_exact(taps).enumerate().take(columns.count) {
                    to.iter_mut().rev().zip(from).for_each(|(to, weight)| to[lane] = *weight);
                }
            }
        }
    }

    /// The weights of a 1x1 kernel from 16 rows to 16 columns, a vector for each row.
    #[inline(always)]
    fn square<S: Simd>(&self, simd: S, row: usize, column: usize) -> [S::Vector; LANES] {
        let vectors = |first: usize, other: usize| {
            std::array::from_fn(|i| simd.read(&self.weights[(first + i) * self.inputs + other..]))
        };
        match self.direction {
            Direction::Forward => simd.transpose(vectors(column, row)),
            Direction::Backward => vectors(row, column),
        }
    }
}

/// Pixels and output blocks of the largest register tile on `isa`.
pub(super) fn largest_tile(isa: Isa) -> [usize; 2] {
    struct Largest;
    impl Vectorised<f32, [usize; 2]> for Largest {
        #[inline(always)]
        fn vectors<S: Simd>(self, _: S) -> [usize; 2] {
            [S::PIXELS[S::PANEL], S::PANEL]
        }
    }

    impl Kernel<f32, [usize; 2]> for Largest {
        fn scalar(self) -> [usize; 2] {
            [1, 1]
        }
    }
    dispatch(isa, Largest)
}

/// Output blocks of a full panel on `isa`.
pub(super) fn panel_width(isa: Isa) -> usize {
    largest_tile(isa)[1]
}

/// Taps of the largest kernel, 11x11.
pub(super) const MOST_TAPS: usize = 121;

/// Packs canonical weights; a panel of `b` blocks takes `b` parts of `rows * taps * 256` values of `packed`.
pub(super) fn pack<T: Value>(matrix: &WeightMatrix<'_>, isa: Isa, pool: &Pool, packed: &mut [T]) {
    let (rows, columns) = (matrix.rows.len(), matrix.columns.len());
    let panels = columns.div_ceil(panel_width(isa));
    let block = matrix.kernel * matrix.kernel * LANES * LANES;
    let packed = Disjoint::new(packed);
    pool.run(panels * rows, |task| {
        let (panel, row_block) = (part(task / rows, panels, columns), task % rows);
        let start = (panel.start * rows + row_block * panel.len()) * block;
        // SAFETY: each task has its own panel and row block.
        let target = unsafe { packed.part(start, panel.len() * block) };
        dispatch_tiled(isa, Task { matrix, panel, row_block, target });
    });
}

/// One block of rows of a panel.
struct Task<'a, T> {
    matrix: &'a WeightMatrix<'a>,
    panel: Range<usize>,
    row_block: usize,
    target: &'a mut [T],
}

impl<T: Value> Vectorised<T> for Task<'_, T> {
    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) {
        let Task { matrix, panel, row_block, target } = self;
        let (rows, columns) = (matrix.rows[row_block], &matrix.columns[panel.clone()]);
        let line = panel.len() * LANES;
        let mut kernel = [[0.0; LANES]; MOST_TAPS];
        let kernel = &mut kernel[..matrix.kernel * matrix.kernel];
        if rows.count < LANES || columns.iter().any(|columns| columns.count < LANES) {
            target.fill(T::default());
        }
        for (j, columns) in columns.iter().enumerate() {
            if kernel.len() == 1 && rows.count == LANES && columns.count == LANES {
                let vectors = matrix.square(simd, rows.first, columns.first);
                let groups = target.chunks_exact_mut(line * T::GROUP);
                for (to, group) in groups.zip(vectors.chunks_exact(T::GROUP)) {
                    let group = [group[0], group[T::GROUP - 1]];
                    simd.write_groups(&mut to[j * LANES * T::GROUP..], group);
                }
                continue;
            }
            for row in 0..rows.count {
                matrix.row(rows.first + row, *columns, kernel);
                for (tap, weights) in kernel.iter().enumerate() {
                    let group = tap * LANES + row / T::GROUP * T::GROUP;
                    let target = &mut target[group * line + j * LANES * T::GROUP..];
                    for (to, weight) in target.chunks_exact_mut(T::GROUP).zip(&weights[..columns.count]) {
                        to[row % T::GROUP] = T::narrow(*weight);
                    }
                }
            }
        }
    }
}
