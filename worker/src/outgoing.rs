//! What becomes of a gradient on its way to the shards: it is clipped, cut into blocks, and, where the worker
//! keeps its own momentum, made into steps.

use std::ops::Range;

use kernels::{Isa, magnitudes};
use parameters::Layout;
use protocol::{GradientNorms, LARGEST_GRADIENT, PushForm};
use settings::{MomentumPlace, Optimisation};

use crate::momentum::{Clip, Momentum};

/// The way out of one worker's gradients.
pub struct Outgoing {
    isa: Isa,
    /// Index and range (in the flat vector) of each block, by tensor.
    blocks: Vec<Vec<(u32, Range<usize>)>>,
    clip_norm: Option<f64>,
    clip: Option<Clip>,
    momentum: Option<Momentum>,
}

impl Outgoing {
    /// Prepares for gradients of `layout` in a run with these settings of the optimizer.
    pub fn new(layout: &Layout, isa: Isa, optimisation: &Optimisation) -> Outgoing {
        let mut blocks = vec![Vec::new(); layout.tensors().len()];
        for block in layout.blocks() {
            blocks[block.tensor].push((block.index, block.range.clone()));
        }
        let &Optimisation { clip_norm, clip_tensors, momentum, weight_decay, momentum_at, .. } = optimisation;
        Outgoing {
            isa,
            clip_norm,
            clip: clip_tensors.map(|most| Clip::new(most, blocks.len())),
            momentum: (momentum_at == MomentumPlace::Worker)
                .then(|| Momentum::new(layout, momentum, weight_decay)),
            blocks,
        }
    }

    /// Returns whether the run keeps momentum at its workers, whose steps need the parameters.
    pub fn keeps_momentum(&self) -> bool {
        self.momentum.is_some()
    }

    /// Returns whether no part of a gradient may leave before the whole is there.
    pub fn waits_for_the_whole(&self) -> bool {
        self.clip_norm.is_some()
    }

    /// Begins a membership: a velocity is not taken along from one to the next.
    pub fn begin(&mut self) {
        if let Some(momentum) = &mut self.momentum {
            momentum.stop();
        }
    }

    /// Goes on from the shards' velocity, given as a flat vector, if the run keeps momentum at its workers.
    pub fn take_over(&mut self, velocity: Vec<f32>) {
        if let Some(momentum) = &mut self.momentum {
            momentum.take_over(velocity);
        }
    }

    /// Ends a minibatch pushed in `form`; returns the norms of its gradient where steps were made of it.
    pub fn end_minibatch(&mut self, form: PushForm) -> GradientNorms {
        let momentum = self.momentum.as_mut().filter(|_| form == PushForm::Step);
        momentum.map(Momentum::end_minibatch).unwrap_or_default()
    }

    /// Clips the norm of a whole gradient, if the run does so. One that is not finite or far too large stays
    /// as it is, for the shards to refuse and count it: a clip would hide a fault.
    pub fn clip_whole(&self, gradient: &mut [f32]) {
        let Some(bound) = self.clip_norm else { return };
        let norm = magnitudes(self.isa, gradient).sum_of_squares.sqrt();
        if norm > bound && norm <= f64::from(LARGEST_GRADIENT) {
            let scale = (bound / norm) as f32;
            gradient.iter_mut().for_each(|value| *value *= scale);
        }
    }

    /// Gives `out` the blocks to push of a tensor's gradient, each with its index. Steps are made with
    /// `parameters`, the flat vector that the gradient was computed with.
    ///
    /// # Panics
    /// If steps are asked for in a run that keeps its momentum at the shards.
    pub fn send(
        &mut self,
        form: PushForm,
        tensor: usize,
        gradient: &[f32],
        parameters: &[f32],
        mut out: impl FnMut(u32, Vec<f32>),
    ) {
        let factor = self.clip.as_mut().map_or(1.0, |clip| clip.factor(self.isa, tensor, gradient));
        let first = self.blocks[tensor][0].1.start;
        for (index, range) in &self.blocks[tensor] {
            let mut values = gradient[range.start - first..range.end - first].to_vec();
            if factor < 1.0 {
                values.iter_mut().for_each(|value| *value *= factor);
            }
            if form == PushForm::Step {
                let momentum = self.momentum.as_mut().expect("the run keeps momentum at its workers");
                momentum.step(self.isa, tensor, range.clone(), &parameters[range.clone()], &mut values);
            }
            out(*index, values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parameters::{Initialiser, Tensor};

    fn outgoing(change: impl FnOnce(&mut Optimisation)) -> Outgoing {
        let tensor = Tensor {
            name: "weights".into(),
            shape: vec![2],
            initialiser: Initialiser::Constant(0.0),
            rate_multiplier: 1.0,
            decay_multiplier: 1.0,
        };
        let mut optimisation = settings::recipe("paper").unwrap().optimisation;
        change(&mut optimisation);
        Outgoing::new(&Layout::new(vec![tensor]).unwrap(), Isa::detect(), &optimisation)
    }

    #[test]
    fn clipping_keeps_the_direction_and_bounds_the_norm() {
        let outgoing = outgoing(|optimisation| optimisation.clip_norm = Some(1.0));
        let mut long = [3.0, -4.0];
        outgoing.clip_whole(&mut long);
        assert!((long[0] - 0.6).abs() < 1e-6 && (long[1] + 0.8).abs() < 1e-6, "{long:?}");
        let mut short = [0.3, -0.4];
        outgoing.clip_whole(&mut short);
        assert_eq!(short, [0.3, -0.4]);
    }

    #[test]
    fn clipping_leaves_what_shards_refuse() {
        let outgoing = outgoing(|optimisation| optimisation.clip_norm = Some(1.0));
        for bad in [f32::NAN, f32::INFINITY, 3e38, 2.0 * LARGEST_GRADIENT] {
            let mut gradient = [1.0, bad];
            outgoing.clip_whole(&mut gradient);
            assert_eq!(gradient[0], 1.0, "{bad}");
            assert_eq!(gradient[1].to_bits(), bad.to_bits());
        }
    }

    /// With a velocity of zero Nesterov's step is the decayed gradient times 1 + momentum; the next carries
    /// the velocity.
    #[test]
    fn a_new_membership_begins_without_velocity() {
        let mut outgoing = outgoing(|optimisation| {
            (optimisation.momentum, optimisation.weight_decay) = (0.5, 0.0);
            optimisation.momentum_at = MomentumPlace::Worker;
        });
        let step = |outgoing: &mut Outgoing| {
            let mut sent = Vec::new();
            outgoing.send(PushForm::Step, 0, &[1.0, -2.0], &[0.0; 2], |_, values| sent = values);
            sent
        };
        assert_eq!(step(&mut outgoing), [1.5, -3.0]);
        assert_eq!(step(&mut outgoing), [1.75, -3.5]);
        outgoing.begin();
        assert_eq!(step(&mut outgoing), [1.5, -3.0]);
        // What the shards' velocity was after a first gradient carries the second in the same way.
        outgoing.take_over(vec![1.0, -2.0]);
        assert_eq!(step(&mut outgoing), [1.75, -3.5]);
    }
}
