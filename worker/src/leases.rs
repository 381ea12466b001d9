//! The leases that a worker holds, and its progress in each.

use std::collections::VecDeque;

use protocol::{Lease, LeaseProgress};

/// Largest number of leases held: the current one and the next, so that the loader never runs dry between two
/// leases.
const MOST: usize = 2;

/// The leases that a worker holds, each a range of an epoch's images that the coordinator gave it to train
/// on, in the order in which they are trained on, with the worker's progress in each.
#[derive(Debug, Default)]
pub struct Leases {
    held: VecDeque<(Lease, LeaseProgress)>,
}

impl Leases {
    /// Returns whether the worker should ask the coordinator for one more lease, which is when it holds fewer
    /// than two: the current one and the next.
    pub fn wanted(&self) -> bool {
        self.held.len() < MOST
    }

    /// Returns the number of leases that the worker holds.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Returns the lease whose samples are trained on now, or `None` if the worker holds no lease.
    pub fn current(&self) -> Option<&Lease> {
        self.held.front().map(|(lease, _)| lease)
    }

    /// Adds a lease (a range of images to train on) behind those already held; its id must be new to this
    /// worker.
    pub fn add(&mut self, lease: Lease) {
        let progress = LeaseProgress { lease: lease.id, ..LeaseProgress::default() };
        self.held.push_back((lease, progress));
    }

    /// Counts one finished minibatch of the current lease, with `used` images that were trained on and the
    /// images in `skipped`, each as "path: reason", that could not be read. Returns the lease's progress,
    /// which is to be reported. A lease that is finished is closed and no longer held.
    ///
    /// # Panics
    /// If the worker holds no lease.
    pub fn advance(&mut self, used: u64, skipped: Vec<String>) -> LeaseProgress {
        let (lease, progress) = self.held.front_mut().expect("a minibatch comes from a lease that is held");
        progress.used += used;
        progress.skipped.extend(skipped);
        progress.consumed = progress.used + progress.skipped.len() as u64;
        progress.closed = progress.consumed == lease.end - lease.start;
        let progress = progress.clone();
        if progress.closed {
            self.held.pop_front();
        }
        progress
    }

    /// Gives up all leases and returns the progress in each, marked as closed. Once this is reported, the
    /// coordinator leases the images that were not trained on to other workers.
    pub fn give_back(&mut self) -> Vec<LeaseProgress> {
        self.held.drain(..).map(|(_, progress)| LeaseProgress { closed: true, ..progress }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::PushForm;

    fn lease(id: u64, start: u64, end: u64) -> Lease {
        Lease { id, epoch: 0, start, end, form: PushForm::Gradient, takes_velocity: false }
    }

    #[test]
    fn a_lease_is_closed_by_its_last_position_used_or_skipped() {
        let mut leases = Leases::default();
        leases.add(lease(7, 0, 5));
        assert!(leases.wanted());
        leases.add(lease(9, 5, 7));
        assert!(!leases.wanted());
        let first = leases.advance(3, vec!["a.jpg: empty".into()]);
        assert_eq!((first.lease, first.used, first.consumed, first.closed), (7, 3, 4, false));
        let last = leases.advance(1, Vec::new());
        assert_eq!((last.lease, last.used, last.consumed, last.closed), (7, 4, 5, true));
        assert_eq!(leases.current(), Some(&lease(9, 5, 7)));
    }

    #[test]
    fn what_is_given_back_keeps_what_was_used() {
        let mut leases = Leases::default();
        leases.add(lease(1, 0, 8));
        leases.add(lease(2, 8, 16));
        leases.advance(4, Vec::new());
        let back = leases.give_back();
        assert_eq!(
            back.iter().map(|p| (p.lease, p.used, p.closed)).collect::<Vec<_>>(),
            [(1, 4, true), (2, 0, true)]
        );
        assert_eq!(leases.len(), 0);
    }
}
