//! Packed weights: the order in which the direct kernel reads them.
//!
//! `[panel][input block][y][x][16 inputs][16 * columns outputs]`, where a panel is up to [`Simd::PANEL`] output blocks.
//! One panel is read from front to back for every tile of pixels and stays in the second-level cache meanwhile. Channels
//! that do not exist have zeros. The input gradient runs through the same kernel with inputs and outputs exchanged and
//! the kernel turned by 180 degrees.

use super::{Channels, Convolution, block_channels};
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::map::LANES;
use crate::pool::Pool;
use crate::simd::{Kernel, Simd, dispatch};
use std::ops::Range;

/// Which way weights are packed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    Backward,
}

/// Canonical weights as a matrix of blocks of channels: a pass goes from the rows to the columns.
pub(super) struct Sides<'a> {
    pub(super) kernel: usize,
    pub(super) direction: Direction,
    pub(super) rows: Vec<Channels>,
    pub(super) columns: Vec<Channels>,
    inputs: usize,
    weights: &'a [f32],
}

impl<'a> Sides<'a> {
    pub(super) fn new(conv: &Convolution, direction: Direction, weights: &'a [f32]) -> Sides<'a> {
        let inputs = block_channels(&conv.input_channels);
        let outputs = block_channels(&[conv.output_channels]);
        let (rows, columns) = match direction {
            Direction::Forward => (inputs, outputs),
            Direction::Backward => (outputs, inputs),
        };
        Sides { kernel: conv.kernel, direction, rows, columns, inputs: conv.inputs(), weights }
    }

    /// The taps of a pair of channels, which lie side by side; backward they are read from the last to the first.
    #[inline(always)]
    pub(super) fn taps(&self, row: usize, column: usize) -> &'a [f32] {
        let (o, i) = match self.direction {
            Direction::Forward => (column, row),
            Direction::Backward => (row, column),
        };
        let taps = self.kernel * self.kernel;
        &self.weights[(o * self.inputs + i) * taps..][..taps]
    }
}

/// Pixels and output blocks of the largest tile on `isa`.
pub(super) fn largest_tile(isa: Isa) -> [usize; 2] {
    struct Largest;
    impl Kernel for Largest {
        type Output = [usize; 2];
        fn scalar(self) -> [usize; 2] {
            [1, 1]
        }
        #[inline(always)]
        fn vectors<S: Simd>(self, _: S) -> [usize; 2] {
            [S::PIXELS[S::PANEL], S::PANEL]
        }
    }
    dispatch(isa, Largest)
}

/// Output blocks of a full panel on `isa`.
pub(super) fn panel_width(isa: Isa) -> usize {
    largest_tile(isa)[1]
}

/// Part `index` of `parts` nearly equal parts of `0 .. len`.
#[inline(always)]
pub(super) fn part(index: usize, parts: usize, len: usize) -> Range<usize> {
    let (small, larger) = (len / parts, len % parts);
    let start = index * small + index.min(larger);
    start..start + small + usize::from(index < larger)
}

/// Packs canonical weights; `packed` holds a panel of `b` blocks in as many parts of `rows * taps * 256` values.
pub(super) fn pack(sides: &Sides<'_>, isa: Isa, pool: &Pool, packed: &mut [f32]) {
    let Sides { direction, rows, columns, .. } = sides;
    let taps = sides.kernel * sides.kernel;
    let panels = columns.len().div_ceil(panel_width(isa));
    let packed = Disjoint::new(packed);
    pool.run(panels * rows.len(), |task| {
        let (panel, row_block) = (task / rows.len(), task % rows.len());
        let panel = part(panel, panels, columns.len());
        let line = panel.len() * LANES;
        let start = (panel.start * rows.len() + row_block * panel.len()) * taps * LANES * LANES;
        // SAFETY: each task has its own panel and row block.
        let target = unsafe { packed.part(start, taps * LANES * line) };
        target.fill(0.0);
        for (j, column_block) in columns[panel].iter().enumerate() {
            let mut place = |row: usize, column: usize| {
                let taps_of_pair = sides.taps(rows[row_block].first + row, column_block.first + column);
                for (tap, weight) in taps_of_pair.iter().enumerate() {
                    let tap = if *direction == Direction::Forward { tap } else { taps - 1 - tap };
                    target[(tap * LANES + row) * line + j * LANES + column] = *weight;
                }
            };
            // The innermost loop walks along the source.
            let Channels { count: row_count, .. } = rows[row_block];
            match direction {
                Direction::Forward => {
                    for column in 0..column_block.count {
                        (0..row_count).for_each(|row| place(row, column));
                    }
                }
                Direction::Backward => {
                    for row in 0..row_count {
                        (0..column_block.count).for_each(|column| place(row, column));
                    }
                }
            }
        }
    });
}
