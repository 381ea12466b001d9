//! The switch that moves momentum from the shards to the workers.
//!
//! A single worker trains with the shards' velocity, as `torch.optim.SGD` does. As soon as several workers
//! push at the same time, each keeps a velocity of its own, for the rest of the run: a velocity that several
//! workers share is stable only at a small fraction of the learning rate. One worker takes the shards'
//! velocity over; the others start with none, as several that went on from it would carry it several times.
//!
//! A worker that sends only the largest values of its gradients keeps a velocity of its own also while it is
//! alone: only so can it end the velocity of what it has sent.

use std::collections::BTreeSet;

use protocol::PushForm;
use settings::MomentumPlace;

/// Switch that decides where a run keeps the velocity of its momentum. It starts at the shards, common to all
/// workers; once several workers push at the same time, each is to keep its own, if the configuration says
/// so.
#[derive(Clone, Debug)]
pub struct MomentumSwitch {
    place: MomentumPlace,
    moved: bool,
    /// Incarnations that pushed before the move.
    pushed: BTreeSet<u64>,
    last: Option<u64>,
    /// The incarnation that is to take the shards' velocity over with its next lease.
    heir: Option<u64>,
}

impl MomentumSwitch {
    /// Makes the switch of a run. `place` is where the configuration wants the velocity while several workers
    /// push: at the shards or at each worker. `moved` says whether the workers keep it already, as a resumed
    /// run may have it.
    pub fn new(place: MomentumPlace, moved: bool) -> MomentumSwitch {
        MomentumSwitch { place, moved, pushed: BTreeSet::new(), last: None, heir: None }
    }

    /// Returns whether each worker now keeps a velocity of its own, in place of the shards' common one.
    pub fn moved(&self) -> bool {
        self.moved
    }

    /// Returns what workers are to push: gradients while the shards keep the velocity of the momentum; steps,
    /// made of gradient and velocity, once each worker keeps a velocity of its own.
    pub fn form(&self) -> PushForm {
        if self.moved { PushForm::Step } else { PushForm::Gradient }
    }

    /// Returns whether the worker with this incarnation (number of its join) is to start its own velocity
    /// from the shards' one, with the lease that it is given now. One worker does so, after the velocity has
    /// moved to the workers: the result is true at most once in a run.
    pub fn gives_velocity_to(&mut self, incarnation: u64) -> bool {
        self.heir.take_if(|heir| *heir == incarnation).is_some()
    }

    /// Records a push of the worker with this incarnation (number of its join). Once two incarnations
    /// alternate, both workers are in the run at the same time, and the velocity moves to the workers if the
    /// configuration says so; an incarnation that only follows another may be the same worker after a
    /// restart.
    pub fn record(&mut self, incarnation: u64) {
        if self.moved || self.place == MomentumPlace::Shard || self.last == Some(incarnation) {
            return;
        }
        self.last = Some(incarnation);
        if !self.pushed.insert(incarnation) {
            tracing::info!("several workers push: each keeps a momentum of its own from now on");
            self.move_to(Some(incarnation));
        }
    }

    /// Moves the velocity to the workers if the configuration says so, since the worker with this incarnation
    /// (number of its join) sends only the largest values of its gradients. It takes the shards' velocity over
    /// if there is any: if the run has `begun`.
    pub fn sends_largest(&mut self, incarnation: u64, begun: bool) {
        if !self.moved && self.place == MomentumPlace::Worker {
            tracing::info!(
                "a worker sends only the largest values of its gradients: each keeps a momentum of its own from now on"
            );
            self.move_to(begun.then_some(incarnation));
        }
    }

    fn move_to(&mut self, heir: Option<u64>) {
        (self.moved, self.heir) = (true, heir);
        self.pushed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form_after(place: MomentumPlace, incarnations: &[u64]) -> PushForm {
        let mut switch = MomentumSwitch::new(place, false);
        incarnations.iter().for_each(|&incarnation| switch.record(incarnation));
        switch.form()
    }

    #[test]
    fn momentum_moves_once_two_workers_take_turns() {
        for (incarnations, expected) in [
            (&[][..], PushForm::Gradient),
            (&[1, 1, 1], PushForm::Gradient),
            (&[1, 2], PushForm::Gradient),
            (&[1, 2, 1], PushForm::Step),
            (&[1, 2, 3, 2], PushForm::Step),
        ] {
            assert_eq!(form_after(MomentumPlace::Worker, incarnations), expected, "{incarnations:?}");
            assert_eq!(form_after(MomentumPlace::Shard, incarnations), PushForm::Gradient);
        }
    }

    #[test]
    fn a_worker_that_is_started_again_and_again_is_one() {
        let again: Vec<u64> = (1..100).flat_map(|incarnation| [incarnation; 3]).collect();
        assert_eq!(form_after(MomentumPlace::Worker, &again), PushForm::Gradient);
    }

    #[test]
    fn one_of_the_workers_takes_the_velocity_over_once() {
        let mut switch = MomentumSwitch::new(MomentumPlace::Worker, false);
        [1, 2].into_iter().for_each(|incarnation| switch.record(incarnation));
        assert!(!switch.gives_velocity_to(1), "nothing has moved yet");
        switch.record(1);
        assert_eq!([2, 1, 1].map(|incarnation| switch.gives_velocity_to(incarnation)), [false, true, false]);
    }

    #[test]
    fn a_worker_that_sends_only_the_largest_values_has_its_own_at_once() {
        for begun in [false, true] {
            let mut switch = MomentumSwitch::new(MomentumPlace::Worker, false);
            switch.sends_largest(1, begun);
            assert_eq!(switch.form(), PushForm::Step);
            assert_eq!([2, 1, 1].map(|worker| switch.gives_velocity_to(worker)), [false, begun, false]);
            // It may say so again, and others too.
            switch.sends_largest(2, true);
            assert!(!switch.gives_velocity_to(2));
        }
        let mut switch = MomentumSwitch::new(MomentumPlace::Shard, false);
        switch.sends_largest(1, true);
        assert_eq!(switch.form(), PushForm::Gradient);
    }

    #[test]
    fn what_has_moved_stays() {
        let mut switch = MomentumSwitch::new(MomentumPlace::Worker, true);
        switch.record(1);
        assert_eq!(switch.form(), PushForm::Step);
    }
}
