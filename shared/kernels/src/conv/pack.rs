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
    direction: Direction,
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

    /// Calls `write(tap, lane, weight)` for one row's weights of a block of columns. Backward the kernel is turned.
    #[inline(always)]
    pub(super) fn each(&self, row: usize, columns: Channels, mut write: impl FnMut(usize, usize, f32)) {
        let taps = self.kernel * self.kernel;
        match self.direction {
            Direction::Forward => {
                for lane in 0..columns.count {
                    let from = &self.weights[((columns.first + lane) * self.inputs + row) * taps..][..taps];
                    from.iter().enumerate().for_each(|(tap, weight)| write(tap, lane, *weight));
                }
            }
            Direction::Backward => {
                let from = &self.weights[(row * self.inputs + columns.first) * taps..];
                for (lane, from) in from.chunks_exact(taps).enumerate().take(columns.count) {
                    from.iter().enumerate().for_each(|(tap, weight)| write(taps - 1 - tap, lane, *weight));
                }
            }
        }
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
    let Sides { rows, columns, .. } = sides;
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
        if rows[row_block].count < LANES || columns[panel.clone()].iter().any(|columns| columns.count < LANES)
        {
            target.fill(0.0);
        }
        for row in 0..rows[row_block].count {
            for (j, columns) in columns[panel.clone()].iter().enumerate() {
                let start = row * line + j * LANES;
                sides.each(rows[row_block].first + row, *columns, |tap, lane, weight| {
                    target[tap * LANES * line + start + lane] = weight;
                });
            }
        }
    });
}
