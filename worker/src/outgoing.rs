//! The preparation of a gradient for the shards: it is clipped, cut into blocks, where the worker keeps its
//! own momentum turned into steps, and encoded.

use std::ops::Range;

use kernels::{Isa, largest_magnitude, sum_of_squares};
use parameters::Layout;
use protocol::{LARGEST_GRADIENT, PushForm, Values, Wire};
use settings::{MomentumPlace, Optimisation};

use crate::momentum::{Clip, Momentum};

/// One block (piece of a tensor) of a gradient, or of a Nesterov step, ready to be pushed.
#[derive(Clone, Debug)]
pub struct OutgoingBlock {
    /// Index of the block among all blocks of the parameters.
    pub block: u32,
    /// Values of the block.
    pub values: Values,
    /// Usability of the values: true if they are finite and of magnitude at most [`LARGEST_GRADIENT`]. A shard
    /// refuses others.
    pub usable: bool,
}

/// The remainder of one worker's gradients or steps: what a format of less than 32 bits left over of them, to be
/// added to the next.
#[derive(Clone, Debug)]
struct Remainder {
    wire: Wire,
    /// One value for each parameter, a flat vector in the order of the layout.
    values: Vec<f32>,
}

/// The preparation of one worker's gradients for pushing them to the shards: clips their norms, cuts them
/// into blocks (pieces of tensors), turns them into Nesterov steps where the worker keeps its own momentum,
/// and encodes them.
pub struct Outgoing {
    isa: Isa,
    /// Index and range (in the flat vector) of each block, by tensor.
    blocks: Vec<Vec<(u32, Range<usize>)>>,
    clip_norm: Option<f64>,
    clip: Option<Clip>,
    momentum: Option<Momentum>,
    /// Part of the newest velocity that a step keeps.
    kept: f32,
    /// Number of parameters.
    values: usize,
    remainder: Option<Remainder>,
}

impl Outgoing {
    /// Creates the preparation for gradients of a model with the layout `layout`, computed with the
    /// instruction set `isa`, in a run with the optimizer settings `optimisation`, whose gradients travel in
    /// the format `wire`.
    pub fn new(layout: &Layout, isa: Isa, optimisation: &Optimisation, wire: Wire) -> Outgoing {
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
            kept: momentum as f32,
            values: layout.len(),
            remainder: (wire != Wire::F32).then(|| Remainder { wire, values: vec![0.0; layout.len()] }),
        }
    }

    /// Sets the format in which gradients travel from now on. What the one before left over goes with the next
    /// gradients.
    pub fn set_wire(&mut self, wire: Wire) {
        match &mut self.remainder {
            Some(remainder) => remainder.wire = wire,
            None if wire == Wire::F32 => {}
            None => self.remainder = Some(Remainder { wire, values: vec![0.0; self.values] }),
        }
    }

    /// Returns whether something is left over of gradients that were sent.
    pub fn owes(&self) -> bool {
        self.remainder.as_ref().is_some_and(|remainder| remainder.values.iter().any(|value| *value != 0.0))
    }

    /// Calls `out` with each block of what was left over, in the format `wire`, from the last tensor to the first as
    /// gradients come; what that leaves over is dropped.
    pub fn flush(&mut self, wire: Wire, mut out: impl FnMut(OutgoingBlock)) {
        let Some(remainder) = &mut self.remainder else { return };
        for (index, range) in self.blocks.iter().rev().flatten() {
            let sum = &mut remainder.values[range.clone()];
            let usable = largest_magnitude(self.isa, sum) <= LARGEST_GRADIENT;
            out(OutgoingBlock { block: *index, values: Values::encoded(wire, sum), usable });
        }
        remainder.values.fill(0.0);
    }

    /// Returns whether the run's settings place momentum at the workers, each with a velocity of its own,
    /// rather than at the shards; steps are then computed from the parameters and that velocity.
    pub fn keeps_momentum(&self) -> bool {
        self.momentum.is_some()
    }

    /// Returns whether the run clips the norm of the whole gradient (`clip_norm`), so that no block may be
    /// pushed before the backward pass is complete.
    pub fn waits_for_the_whole(&self) -> bool {
        self.clip_norm.is_some()
    }

    /// Resets to zero the worker's velocity, if it keeps one, and what was left over of its gradients. Called
    /// when the worker has joined the run, since neither carries over from one membership to the next.
    pub fn begin(&mut self) {
        if let Some(remainder) = &mut self.remainder {
            remainder.values.fill(0.0);
        }
        if let Some(momentum) = &mut self.momentum {
            momentum.stop();
        }
    }

    /// Replaces the worker's velocity by `velocity`, that of the shards, a flat vector in the order of the
    /// layout, as momentum moves from the shards to the workers. Does nothing in a run that keeps its
    /// momentum at the shards.
    pub fn take_over(&mut self, velocity: Vec<f32>) {
        if let Some(momentum) = &mut self.momentum {
            momentum.take_over(velocity);
            // A gradient that a shard adds to its velocity moves the parameters by 1 + m + m^2 + ... times
            // itself; what was left over of gradients goes out in steps from now on, which move them once.
            if let Some(remainder) = &mut self.remainder {
                let factor = 1.0 / (1.0 - self.kept);
                remainder.values.iter_mut().for_each(|value| *value *= factor);
            }
        }
    }

    /// Scales `gradient`, the whole gradient as a flat vector, down to the Euclidean norm `clip_norm` of the
    /// run's settings, if that is set and the gradient's norm exceeds it. A gradient whose norm is not finite
    /// or above [`LARGEST_GRADIENT`] stays as it is: the shards refuse and count it, whereas clipping it
    /// would hide a fault.
    pub fn clip_whole(&self, gradient: &mut [f32]) {
        let Some(bound) = self.clip_norm else { return };
        let norm = sum_of_squares(self.isa, gradient).sqrt();
        if norm > bound && norm <= f64::from(LARGEST_GRADIENT) {
            let scale = (bound / norm) as f32;
            gradient.iter_mut().for_each(|value| *value *= scale);
        }
    }

    /// Cuts `gradient`, that of the tensor with index `tensor`, into blocks (pieces of at most 1 MiB) and
    /// calls `out` with each. `form` says whether the values are gradients or Nesterov steps; steps are
    /// computed from `parameters`, the flat vector of all parameters that the gradient was computed with. If
    /// the settings clip each tensor (`clip_tensors`), the gradient is clipped first. If gradients travel in
    /// less than 32 bits, what those left over before is added, and what they leave over now is kept. If only
    /// the largest values are sent, the worker's velocity of these ends.
    ///
    /// # Panics
    /// If `form` asks for steps in a run that keeps its momentum at the shards.
    pub fn send(
        &mut self,
        form: PushForm,
        tensor: usize,
        gradient: &[f32],
        parameters: &[f32],
        mut out: impl FnMut(OutgoingBlock),
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
            // Written so that a NaN is not usable.
            let usable = largest_magnitude(self.isa, &values) <= LARGEST_GRADIENT;
            let values = match &mut self.remainder {
                Some(remainder) => {
                    let sum = &mut remainder.values[range.clone()];
                    sum.iter_mut().zip(&values).for_each(|(sum, value)| *sum += value);
                    match self.momentum.as_mut().filter(|_| remainder.wire.is_of_largest()) {
                        None => Values::encoded(remainder.wire, sum),
                        Some(momentum) => {
                            values.copy_from_slice(sum);
                            let encoded = Values::encoded(remainder.wire, sum);
                            momentum.stop_sent(range.clone(), &values, sum);
                            encoded
                        }
                    }
                }
                None => Values::exact(values),
            };
            out(OutgoingBlock { block: *index, values, usable });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::one_tensor;

    fn outgoing(change: impl FnOnce(&mut Optimisation)) -> Outgoing {
        outgoing_in(Wire::F32, change)
    }

    fn outgoing_in(wire: Wire, change: impl FnOnce(&mut Optimisation)) -> Outgoing {
        let mut optimisation = settings::recipe("paper").unwrap().optimisation;
        change(&mut optimisation);
        Outgoing::new(&one_tensor(2), Isa::detect(), &optimisation, wire)
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
            let out = |block: OutgoingBlock| sent = block.values.to_vec();
            outgoing.send(PushForm::Step, 0, &[1.0, -2.0], &[0.0; 2], out);
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
    fn sent(outgoing: &mut Outgoing, form: PushForm, gradient: &[f32]) -> (Vec<f32>, bool) {
        let mut sent = None;
        outgoing
            .send(form, 0, gradient, &[0.0; 2], |block| sent = Some((block.values.to_vec(), block.usable)));
        sent.expect("one block")
    }

    /// Codes of one bit, by hand: the sign, and as magnitude the mean of the two.
    #[test]
    fn what_few_bits_leave_over_goes_with_the_next_gradient() {
        let mut outgoing = outgoing_in(Wire::Bits1, |_| {});
        assert_eq!(sent(&mut outgoing, PushForm::Gradient, &[1.0, -3.0]), (vec![2.0, -2.0], true));
        // -1 and -1 were left over.
        assert_eq!(sent(&mut outgoing, PushForm::Gradient, &[3.0, 0.0]), (vec![1.5, -1.5], true));
        outgoing.begin();
        assert_eq!(sent(&mut outgoing, PushForm::Gradient, &[3.0, 0.0]), (vec![1.5, 1.5], true));
    }

    #[test]
    fn a_flush_sends_what_was_left_over_once() {
        let mut outgoing = outgoing_in(Wire::Bits1, |_| {});
        assert!(!outgoing.owes());
        sent(&mut outgoing, PushForm::Gradient, &[1.0, -3.0]);
        assert!(outgoing.owes());
        let mut flushed = Vec::new();
        outgoing.flush(Wire::F32, |block| flushed.push((block.block, block.values.to_vec(), block.usable)));
        assert_eq!(flushed, [(0, vec![-1.0, -1.0], true)]);
        assert!(!outgoing.owes());
        assert_eq!(sent(&mut outgoing, PushForm::Gradient, &[3.0, 0.0]), (vec![1.5, 1.5], true));
        // What a lean format leaves over of it is not owed once more.
        outgoing.flush(Wire::Bits1, |_| {});
        assert!(!outgoing.owes());
        outgoing_in(Wire::F32, |_| {}).flush(Wire::F32, |_| unreachable!("all of it was sent"));
    }

    #[test]
    fn a_format_may_change_and_what_the_one_before_left_over_goes_with_the_next_gradient() {
        let mut outgoing = outgoing_in(Wire::F32, |_| {});
        assert_eq!(sent(&mut outgoing, PushForm::Gradient, &[1.0, -3.0]), (vec![1.0, -3.0], true));
        outgoing.set_wire(Wire::Bits1);
        assert_eq!(sent(&mut outgoing, PushForm::Gradient, &[1.0, -3.0]), (vec![2.0, -2.0], true));
        outgoing.set_wire(Wire::F32);
        assert_eq!(sent(&mut outgoing, PushForm::Gradient, &[1.0, 0.0]), (vec![0.0, -1.0], true));
        assert_eq!(sent(&mut outgoing, PushForm::Gradient, &[1.0, 0.0]), (vec![1.0, 0.0], true));
    }

    /// A gradient moves the parameters by 1 / (1 - momentum) times itself, a step once.
    #[test]
    fn what_was_left_over_of_gradients_counts_as_much_in_steps() {
        let mut outgoing = outgoing_in(Wire::Bits1, |optimisation| {
            (optimisation.momentum, optimisation.weight_decay) = (0.5, 0.0);
            optimisation.momentum_at = MomentumPlace::Worker;
        });
        sent(&mut outgoing, PushForm::Gradient, &[1.0, -3.0]);
        outgoing.take_over(vec![0.0; 2]);
        assert_eq!(sent(&mut outgoing, PushForm::Step, &[0.0; 2]), (vec![-2.0, -2.0], true));
    }

    /// Of 64 values 32 are sent at most.
    #[test]
    fn the_velocity_of_what_was_sent_ends_where_most_values_wait() {
        const VALUES: usize = 64;
        let mut optimisation = settings::recipe("paper").unwrap().optimisation;
        (optimisation.momentum, optimisation.weight_decay) = (0.5, 0.0);
        optimisation.momentum_at = MomentumPlace::Worker;
        optimisation.clip_tensors = None;
        let gradient: Vec<f32> = (0..VALUES).map(|at| if at % 2 == 0 { 4.0 } else { 1.0 }).collect();
        let second = |wire| {
            let layout = one_tensor(VALUES);
            let mut outgoing = Outgoing::new(&layout, Isa::detect(), &optimisation, wire);
            let mut sent = Vec::new();
            for _ in 0..2 {
                let out = |block: OutgoingBlock| sent = block.values.to_vec();
                outgoing.send(PushForm::Step, 0, &gradient, &[0.0; VALUES], out);
            }
            sent
        };
        // The first steps are 1.5 gradients. Those of the large values went, and the second are the first again;
        // those of the small ones wait.
        let expected: Vec<f32> = gradient.iter().map(|&value| if value == 4.0 { 6.0 } else { 0.0 }).collect();
        let near = |found: &[f32]| {
            found.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() < 1e-4)
        };
        let found = second(Wire::TopPercent);
        assert!(near(&found), "{found:?}");
        // Steps that are sent whole carry the velocity on: 1 + 0.5 * 1.5.
        let expected: Vec<f32> = gradient.iter().map(|value| 1.75 * value).collect();
        assert_eq!(second(Wire::F32), expected);
    }

    #[test]
    fn a_gradient_that_is_not_finite_is_told_and_poisons_no_other() {
        let mut outgoing = outgoing_in(Wire::Bits4, |_| {});
        let (values, usable) = sent(&mut outgoing, PushForm::Gradient, &[1.0, f32::NAN]);
        assert!(!usable && values.iter().all(|value| value.is_nan()), "{values:?}");
        assert_eq!(sent(&mut outgoing, PushForm::Gradient, &[7.0, -7.0]), (vec![7.0, -7.0], true));
    }
}
