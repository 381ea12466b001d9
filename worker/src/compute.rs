//! A model with its gradient buffer: one training step, its gradient leaving in blocks while backward goes on.

use std::ops::Range;
use std::time::Duration;

use dataset::Minibatch;
use kernels::Isa;
use network::Losses;
use protocol::PushForm;
use settings::{MomentumPlace, Optimisation};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use crate::momentum::{Clip, Momentum};
use crate::workload::Model;

/// What the compute thread owns.
pub struct Compute<M> {
    /// The model.
    pub model: M,
    gradients: Vec<f32>,
    outgoing: Outgoing,
    clip_norm: Option<f64>,
}

/// What becomes of a gradient on its way out.
struct Outgoing {
    isa: Isa,
    /// By tensor: index and range (in the flat vector) of each of its blocks.
    blocks: Vec<Vec<(u32, Range<usize>)>>,
    clip: Option<Clip>,
    /// The velocity of this worker, with the parameters that it decays, where the run keeps momentum at the workers.
    momentum: Option<(Momentum, Vec<f32>)>,
}

impl<M: Model> Compute<M> {
    /// Prepares for `model` in a run that is optimised so.
    pub fn new(model: M, optimisation: &Optimisation) -> Compute<M> {
        let layout = model.layout();
        let mut blocks = vec![Vec::new(); layout.tensors().len()];
        for block in layout.blocks() {
            blocks[block.tensor].push((block.index, block.range.clone()));
        }
        let &Optimisation { clip_norm, clip_tensors, momentum, weight_decay, momentum_at, .. } = optimisation;
        let outgoing = Outgoing {
            isa: model.isa(),
            clip: clip_tensors.map(|most| Clip::new(most, blocks.len())),
            momentum: (momentum_at == MomentumPlace::Worker)
                .then(|| (Momentum::new(layout, momentum, weight_decay), vec![0.0; layout.len()])),
            blocks,
        };
        let gradients = vec![0.0; layout.len()];
        Compute { model, gradients, outgoing, clip_norm }
    }

    /// Begins a membership with all parameters, a flat vector: a velocity is not taken along from one to the next.
    pub fn begin(&mut self, parameters: &[f32]) {
        if let Some((momentum, _)) = &mut self.outgoing.momentum {
            momentum.stop();
        }
        self.load(parameters);
    }

    /// Loads all parameters from the flat vector.
    pub fn load(&mut self, parameters: &[f32]) {
        for tensor in 0..self.outgoing.blocks.len() {
            let range = self.model.layout().range(tensor);
            self.load_tensor(tensor, &parameters[range]);
        }
    }

    /// Loads one tensor.
    pub fn load_tensor(&mut self, tensor: usize, values: &[f32]) {
        if let Some((_, parameters)) = &mut self.outgoing.momentum {
            parameters[self.model.layout().range(tensor)].copy_from_slice(values);
        }
        self.model.load_tensor(tensor, values);
    }

    /// One step. Each block of the gradient, or of the step made of it, goes into `out` as soon as it is complete, or,
    /// where the norm of the whole is clipped, once all are: the channel holds at most one model. Returns the losses and
    /// how long computing took.
    ///
    /// # Panics
    /// If steps are asked for in a run that keeps its momentum at the shards.
    pub fn train(
        &mut self,
        form: PushForm,
        minibatch: &Minibatch,
        dropout: Option<&[u64]>,
        out: &UnboundedSender<(u32, Vec<f32>)>,
    ) -> (Losses, Duration) {
        let start = Instant::now();
        let Compute { model, gradients, outgoing, clip_norm } = self;
        let losses = match clip_norm {
            None => model.train(minibatch, dropout, gradients, &mut |tensor, gradient| {
                outgoing.send(form, tensor, gradient, out);
            }),
            Some(bound) => {
                let losses = model.train(minibatch, dropout, gradients, &mut |_, _| {});
                clip(gradients, *bound);
                for tensor in (0..outgoing.blocks.len()).rev() {
                    outgoing.send(form, tensor, &gradients[model.layout().range(tensor)], out);
                }
                losses
            }
        };
        (losses, start.elapsed())
    }
}

impl Outgoing {
    /// Sends the blocks of a tensor's gradient.
    fn send(
        &mut self,
        form: PushForm,
        tensor: usize,
        gradient: &[f32],
        out: &UnboundedSender<(u32, Vec<f32>)>,
    ) {
        let Outgoing { isa, blocks, clip, momentum } = self;
        let factor = clip.as_mut().map_or(1.0, |clip| clip.factor(*isa, tensor, gradient));
        let first = blocks[tensor][0].1.start;
        for (index, range) in &blocks[tensor] {
            let mut values = gradient[range.start - first..range.end - first].to_vec();
            if factor < 1.0 {
                values.iter_mut().for_each(|value| *value *= factor);
            }
            if form == PushForm::Step {
                let (momentum, parameters) =
                    momentum.as_mut().expect("the run keeps momentum at its workers");
                momentum.step(*isa, tensor, range.clone(), &parameters[range.clone()], &mut values);
            }
            // A closed channel means that the step was given up; computing it to its end does no harm.
            let _ = out.send((*index, values));
        }
    }
}

/// Scales the gradient down to the norm `bound` if it is longer.
pub fn clip(gradient: &mut [f32], bound: f64) {
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
