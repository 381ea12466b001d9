//! Inverted dropout in place: a dropped value becomes 0, a kept one is multiplied by 1 / (1 - rate); without
//! seeds the layer does nothing.
//!
//! The mask depends only on the image's seed and the head, so the backward pass computes it again instead of
//! keeping it.

use kernels::Value;

use crate::graph::{Computation, Endpoint};
use crate::layers::{GradientWrite, Operation, Passes};
use crate::memory::{Memory, Part, Step};
use crate::plan::Rows;

/// A dropout layer in front of a classifier.
pub(crate) struct DropoutLayer {
    /// Probability with which a value is dropped.
    pub rate: f32,
    /// Index of the head that the layer belongs to; it is mixed into the seeds of the dropout masks, so that
    /// each head drops other values.
    pub head: u64,
    pub rows: Rows,
}

impl DropoutLayer {
    fn apply(&self, step: &Step, rows: &mut [f32]) {
        let Some(seeds) = step.seeds else { return };
        for (row, &seed) in self.rows.of_mut(rows, step.batch).chunks_exact_mut(self.rows.width).zip(seeds) {
            kernels::dropout(step.isa, &[head_seed(seed, self.head)], self.rate, row);
        }
    }
}

/// The seed of an image for one head: both numbers mixed, so that neighbouring seeds give unrelated masks.
fn head_seed(seed: u64, head: u64) -> u64 {
    let mut mixed = seed.wrapping_add((head + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    for multiplier in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(multiplier);
    }
    mixed ^ (mixed >> 31)
}

impl Operation for DropoutLayer {
    fn kind(&self) -> &'static str {
        "dropout"
    }

    fn describe(&self) -> (Computation, Endpoint<'_>, Endpoint<'_>) {
        let computation = Computation::Dropout;
        (computation, Endpoint::Rows(self.rows), Endpoint::Rows(self.rows))
    }
}

impl<T: Value> Passes<T> for DropoutLayer {
    fn forward(&self, step: &Step, memory: &mut Memory) {
        let [rows] = memory.arena.parts([Part::Values(self.rows.buffer)]);
        self.apply(step, rows);
    }

    fn backward_input(&self, step: &Step, memory: &mut Memory, _write: GradientWrite) {
        let [rows] = memory.arena.parts([Part::Gradient(self.rows.buffer)]);
        self.apply(step, rows);
    }
}
