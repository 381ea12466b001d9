//! The published log of a block: what all workers that follow it know of the parameters, and the newest
//! differences by which they came to know it.
//!
//! Parameters change by little in one update, and a difference in few bits takes a fraction of the bytes of
//! the values. What the bits leave over is part of the next difference, as differences are made between the
//! parameters and what workers know of them, so that nothing is lost. Every difference is coded once and sent
//! to all that follow the log; a shard publishes a few logs, each for some of the workers.
//!
//! A difference is made when a worker asks that has all of them. Workers that ask in turn thus get one each
//! and turn: the first has it made, the others get the same.

use std::{collections::VecDeque, sync::Arc};

use protocol::{Values, Wire};

/// Number of usual distances between differences behind which what workers know is too old to begin with.
const LONG_AGO: u64 = 8;

/// The published log of one block in one format.
#[derive(Clone)]
pub(super) struct PublishedLog {
    wire: Wire,
    /// Values that workers have which added all differences, shared with the answers that are being sent.
    view: Arc<Vec<f32>>,
    /// Number of updates of the block at the oldest difference's beginning.
    first: u64,
    differences: VecDeque<Difference>,
    /// Number of bytes of all differences.
    bytes: usize,
}

/// A difference between what workers knew before and after it.
#[derive(Clone)]
struct Difference {
    /// Number of updates of the block up to which it leads.
    counter: u64,
    values: Values,
}

impl PublishedLog {
    /// Begins a log in the format `wire`, from the parameters of a block that has had `counter` updates.
    pub(super) fn new(wire: Wire, parameters: Arc<Vec<f32>>, counter: u64) -> PublishedLog {
        PublishedLog { wire, view: parameters, first: counter, differences: VecDeque::new(), bytes: 0 }
    }

    /// Number of updates of the block that workers know which added all differences.
    pub(super) fn counter(&self) -> u64 {
        self.differences.back().map_or(self.first, |newest| newest.counter)
    }

    /// Returns what workers know, and its number of updates, for one more worker, while the block's
    /// parameters have had `counter` updates. If nobody has asked for long, the log begins anew.
    pub(super) fn view(&mut self, parameters: &Arc<Vec<f32>>, counter: u64) -> (u64, Arc<Vec<f32>>) {
        let behind = counter - self.counter();
        match self.distance() {
            Some(distance) if behind <= LONG_AGO * distance => {
                if behind >= distance {
                    self.add(parameters, counter);
                }
            }
            _ if behind == 0 => {}
            _ => *self = PublishedLog::new(self.wire, parameters.clone(), counter),
        }
        (self.counter(), self.view.clone())
    }

    /// Returns the differences that a worker lacks which knows the first `known` updates, while the block's
    /// parameters have had `counter`; `None` if the log does not go back so far.
    pub(super) fn since(&mut self, known: u64, parameters: &[f32], counter: u64) -> Option<Vec<Values>> {
        let has = match known == self.first {
            true => 0,
            false => 1 + self.differences.iter().position(|difference| difference.counter == known)?,
        };
        if has == self.differences.len() && counter > known {
            self.add(parameters, counter);
        }
        // Those that were dropped to make room for the new one are not among these.
        let lacking = self.differences.iter().filter(|difference| difference.counter > known);
        Some(lacking.map(|difference| difference.values.clone()).collect())
    }

    /// Number of updates from the newest difference but one to the newest; `None` before the first.
    fn distance(&self) -> Option<u64> {
        let newest = self.differences.back()?;
        let before = self.differences.iter().nth_back(1).map_or(self.first, |before| before.counter);
        Some(newest.counter - before)
    }

    /// Adds the difference between the parameters, after `counter` updates, and what workers know.
    fn add(&mut self, parameters: &[f32], counter: u64) {
        let mut difference: Vec<f32> =
            parameters.iter().zip(&**self.view).map(|(newest, known)| newest - known).collect();
        let values = Values::encoded(self.wire, &mut difference);
        values.add_to(Arc::make_mut(&mut self.view).as_mut_slice());
        self.bytes += values.encoded_size(self.wire);
        self.differences.push_back(Difference { counter, values });
        // Whoever lacks more than the whole values have gets those.
        while self.bytes > size_of_val(parameters) && self.differences.len() > 1 {
            let oldest = self.differences.pop_front().expect("there are two at least");
            self.bytes -= oldest.values.encoded_size(self.wire);
            self.first = oldest.counter;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRE: Wire = Wire::Bits4;

    fn parameters(at: u64) -> Arc<Vec<f32>> {
        Arc::new((0..1000).map(|i| ((i * 37 % 101) as f32 * 0.001 * at as f32).sin()).collect())
    }

    /// A worker: what it knows, up to which update.
    struct Follower {
        values: Vec<f32>,
        counter: u64,
    }

    impl Follower {
        fn new(log: &mut PublishedLog, at: u64) -> Follower {
            let (counter, values) = log.view(&parameters(at), at);
            Follower { values: values.to_vec(), counter }
        }

        /// Asks after update `at`; returns the number of differences, `None` if it needs the view.
        fn ask(&mut self, log: &mut PublishedLog, at: u64) -> Option<usize> {
            let differences = log.since(self.counter, &parameters(at), at)?;
            differences.iter().for_each(|difference| difference.add_to(&mut self.values));
            self.counter = log.counter();
            Some(differences.len())
        }
    }

    fn far(one: &[f32], other: &[f32]) -> f32 {
        one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn workers_in_turn_get_one_difference_each_and_know_the_same() {
        let mut log = PublishedLog::new(WIRE, parameters(0), 0);
        let mut workers: Vec<_> = (0..3).map(|_| Follower::new(&mut log, 0)).collect();
        for update in 1..=30 {
            let worker = (update - 1) as usize % 3;
            assert_eq!(workers[worker].ask(&mut log, update), Some(1), "update {update}");
            if update % 3 == 0 {
                assert!(workers.iter().all(|one| one.values == *log.view && one.counter == update - 2));
            }
        }
        // What the bits leave over is in the next difference, and does not add up.
        assert!(far(&workers[0].values, &parameters(28)) < 0.05);
    }

    #[test]
    fn a_slow_worker_gets_all_that_it_lacks_and_one_that_is_too_slow_the_view() {
        let mut log = PublishedLog::new(WIRE, parameters(0), 0);
        let (mut slow, mut fast) = (Follower::new(&mut log, 0), Follower::new(&mut log, 0));
        for update in 1..=3 {
            fast.ask(&mut log, update).unwrap();
        }
        assert_eq!(slow.ask(&mut log, 3), Some(3));
        assert_eq!(slow.values, fast.values);
        assert_eq!((slow.ask(&mut log, 3), slow.counter), (Some(0), 3));
        // Seven of the eight fit into the bytes of the values.
        for update in 4..=11 {
            fast.ask(&mut log, update).unwrap();
        }
        assert_eq!(slow.ask(&mut log, 11), None);
        assert!(log.bytes <= 4000 && log.bytes > 3400, "{}", log.bytes);
        slow = Follower::new(&mut log, 11);
        assert_eq!(slow.values, fast.values);
    }

    #[test]
    fn one_more_worker_begins_with_what_the_others_know() {
        let mut log = PublishedLog::new(WIRE, parameters(5), 5);
        let mut first = Follower::new(&mut log, 5);
        for update in [8, 11, 14] {
            first.ask(&mut log, update).unwrap();
        }
        // Within the usual distance there is no difference for its sake.
        assert_eq!((Follower::new(&mut log, 16).counter, log.differences.len()), (14, 3));
        assert_eq!((Follower::new(&mut log, 17).counter, log.differences.len()), (17, 4));
        assert_eq!(first.ask(&mut log, 17), Some(1));
        // Long after, nobody follows: the parameters are exact again.
        let late = Follower::new(&mut log, 100);
        assert_eq!((late.counter, &late.values), (100, &*parameters(100)));
        assert_eq!(first.ask(&mut log, 100), None);
    }
}
