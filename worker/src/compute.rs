//! A model with its gradient buffer: one training step, its gradient leaving in blocks while backward goes on.

use std::time::Duration;

use dataset::Minibatch;
use network::Losses;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use crate::workload::Model;

/// What the compute thread owns.
pub struct Compute<M> {
    /// The model.
    pub model: M,
    gradients: Vec<f32>,
    /// By tensor: index and range (in the flat vector) of each of its blocks.
    blocks: Vec<Vec<(u32, std::ops::Range<usize>)>>,
    clip_norm: Option<f64>,
}

impl<M: Model> Compute<M> {
    /// Prepares for `model`; `clip_norm` bounds the global norm of every gradient.
    pub fn new(model: M, clip_norm: Option<f64>) -> Compute<M> {
        let mut blocks = vec![Vec::new(); model.layout().tensors().len()];
        for block in model.layout().blocks() {
            blocks[block.tensor].push((block.index, block.range.clone()));
        }
        let gradients = vec![0.0; model.layout().len()];
        Compute { model, gradients, blocks, clip_norm }
    }

    /// Loads all parameters from the flat vector.
    pub fn load(&mut self, parameters: &[f32]) {
        for tensor in 0..self.blocks.len() {
            let range = self.model.layout().range(tensor);
            self.model.load_tensor(tensor, &parameters[range]);
        }
    }

    /// One step. Each block of the gradient goes into `out` as soon as it is complete, or, where the norm is clipped,
    /// once all are: the channel holds at most one model. Returns the losses and how long computing took.
    pub fn train(
        &mut self,
        minibatch: &Minibatch,
        dropout: Option<&[u64]>,
        out: &UnboundedSender<(u32, Vec<f32>)>,
    ) -> (Losses, Duration) {
        let start = Instant::now();
        let Compute { model, gradients, blocks, clip_norm } = self;
        // A closed channel means that the step was given up; computing it to its end does no harm.
        let losses = match clip_norm {
            None => model.train(minibatch, dropout, gradients, &mut |tensor, gradient| {
                let first = blocks[tensor][0].1.start;
                for (index, range) in &blocks[tensor] {
                    let _ = out.send((*index, gradient[range.start - first..range.end - first].to_vec()));
                }
            }),
            Some(bound) => {
                let losses = model.train(minibatch, dropout, gradients, &mut |_, _| {});
                clip(gradients, *bound);
                for (index, range) in blocks.iter().rev().flatten() {
                    let _ = out.send((*index, gradients[range.clone()].to_vec()));
                }
                losses
            }
        };
        (losses, start.elapsed())
    }
}

/// Scales the gradient down to the norm `bound` if it is longer.
fn clip(gradient: &mut [f32], bound: f64) {
    let norm = gradient.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    if norm > bound {
        let scale = (bound / norm) as f32;
        gradient.iter_mut().for_each(|value| *value *= scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clipping_keeps_the_direction_and_bounds_the_norm() {
        let mut long = vec![3.0, -4.0];
        clip(&mut long, 1.0);
        assert!((long[0] - 0.6).abs() < 1e-6 && (long[1] + 0.8).abs() < 1e-6, "{long:?}");
        let mut short = vec![0.3, -0.4];
        clip(&mut short, 1.0);
        assert_eq!(short, [0.3, -0.4]);
    }

    #[test]
    fn clipping_leaves_what_is_not_finite_for_the_shard_to_refuse() {
        let mut gradient = vec![1.0, f32::NAN];
        clip(&mut gradient, 1.0);
        assert!(gradient[1].is_nan());
    }
}
