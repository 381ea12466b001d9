//! The initial values of parameters: a pure function of seed, tensor name and position within the tensor, so
//! that each shard can fill its own blocks and no worker has to send them.

use std::{f64::consts::TAU, ops::Range};

use rand::Rng;

use settings::random;

use crate::{Block, Initialiser, Layout, Tensor};

impl Layout {
    /// Returns the initial values of one block for a run with this seed, which are those of
    /// [`Layout::initial`] at the block's positions.
    pub fn initial_values(&self, block: &Block, seed: u64) -> Vec<f32> {
        let start = self.range(block.tensor).start;
        let mut values = vec![0.0; block.range.len()];
        fill(
            &self.tensors()[block.tensor],
            block.range.start - start..block.range.end - start,
            seed,
            &mut values,
        );
        values
    }

    /// Returns the initial values of all tensors for a run with this seed, as a flat vector.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let mut values = vec![0.0; self.len()];
        for (index, tensor) in self.tensors().iter().enumerate() {
            fill(tensor, 0..tensor.values(), seed, &mut values[self.range(index)]);
        }
        values
    }
}

/// Fills `values` with the tensor's initial values at `positions`; the random stream is sought to the first
/// of them.
fn fill(tensor: &Tensor, positions: Range<usize>, seed: u64, values: &mut [f32]) {
    let mut stream = random::stream(seed, &format!("initial {}", tensor.name), &[]);
    match tensor.initialiser {
        Initialiser::Constant(value) => values.fill(value),
        Initialiser::Uniform { bound } => {
            stream.set_word_pos(positions.start as u128);
            for value in values {
                // The word as a signed number, moved by a half: symmetric about zero.
                let unit = (f64::from(stream.next_u32() as i32) + 0.5) / 2f64.powi(31);
                *value = (f64::from(bound) * unit) as f32;
            }
        }
        Initialiser::Normal { deviation } => {
            // Box-Muller, one value from two words: half of each pair is given up so that every position can
            // be sought.
            stream.set_word_pos(2 * positions.start as u128);
            for value in values {
                let [radius, angle] = [stream.next_u32(), stream.next_u32()]
                    .map(|word| (f64::from(word) + 0.5) / 2f64.powi(32));
                *value = (f64::from(deviation) * (-2.0 * radius.ln()).sqrt() * (TAU * angle).cos()) as f32;
            }
        }
    }
}
