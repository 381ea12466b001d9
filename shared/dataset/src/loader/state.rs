//! The state that the threads and the loader's owner share: requests that wait, and minibatches that are
//! being prepared.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::DataAway;
use crate::split::Split;
use crate::views::Views;

/// The requests and the minibatches that are made of them.
#[derive(Default)]
pub(super) struct State {
    pub(super) stop: bool,
    pub(super) failed: bool,
    /// The error, once the data folder was waited for in vain.
    pub(super) away: Option<DataAway>,
    /// Time since which the data folder has been waited for, while it is unavailable.
    pub(super) away_since: Option<Instant>,
    pub(super) queue: VecDeque<Request>,
    pub(super) open: VecDeque<Open>,
    /// Number of minibatches opened so far, which is the identity of the next one.
    pub(super) opened: u64,
    /// Number and order of the epoch that was requested last.
    pub(super) order: Option<(u64, Arc<[u32]>)>,
    /// Buffers of inputs to be reused.
    pub(super) spare: Vec<Vec<f32>>,
}

/// A requested range: the positions of it that no minibatch has taken yet.
pub(super) struct Request {
    pub(super) split: Split,
    pub(super) epoch: u64,
    /// Sample index at each position; `None` if positions are sample indices.
    pub(super) order: Option<Arc<[u32]>>,
    pub(super) positions: Range<usize>,
}

/// A minibatch that is being prepared.
pub(super) struct Open {
    pub(super) identity: u64,
    pub(super) split: Split,
    pub(super) epoch: u64,
    pub(super) samples: Vec<u32>,
    /// Number of samples handed to threads so far.
    pub(super) taken: usize,
    /// Number of samples that have not come back yet.
    pub(super) missing: usize,
    /// The samples that came back, in the order of `samples`.
    pub(super) made: Vec<Option<Made>>,
}

/// The result of reading a sample: its label and pixels, or the reason why it cannot be read.
pub(super) type Made = Result<(u32, Pixels), String>;

/// The pixels of a sample.
pub(super) enum Pixels {
    /// One input of the network.
    Input(Vec<f32>),
    /// Views of a validation image.
    Views(Views),
}

/// The job of a thread: one sample to read.
pub(super) struct Job {
    pub(super) minibatch: u64,
    pub(super) place: usize,
    pub(super) split: Split,
    pub(super) epoch: u64,
    pub(super) sample: u32,
    pub(super) pixels: Vec<f32>,
}

impl State {
    /// Returns the oldest minibatch, if it is complete.
    pub(super) fn take_complete(&mut self) -> Option<Open> {
        if self.open.front()?.missing == 0 { self.open.pop_front() } else { None }
    }

    /// Returns whether everything that was requested has been delivered.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty() && self.queue.iter().all(|request| request.positions.is_empty())
    }

    /// Returns the order of an epoch, which is `made` unless it was the last one asked for.
    pub(super) fn order(&mut self, epoch: u64, made: impl FnOnce() -> Vec<u32>) -> Arc<[u32]> {
        match &self.order {
            Some((known, order)) if *known == epoch => Arc::clone(order),
            _ => {
                let order: Arc<[u32]> = made().into();
                self.order = Some((epoch, Arc::clone(&order)));
                order
            }
        }
    }

    /// Returns the next sample to decode, from the oldest open minibatch that has one; opens a minibatch if
    /// there is room for one.
    pub(super) fn take(&mut self, batch: usize, depth: usize) -> Option<Job> {
        if self.open.iter().all(|open| open.taken == open.samples.len()) {
            if self.open.len() == depth {
                return None;
            }
            self.open_next(batch)?;
        }
        let open = self.open.iter_mut().find(|open| open.taken < open.samples.len())?;
        let place = open.taken;
        open.taken += 1;
        Some(Job {
            minibatch: open.identity,
            place,
            split: open.split,
            epoch: open.epoch,
            sample: open.samples[place],
            pixels: self.spare.pop().unwrap_or_default(),
        })
    }

    fn open_next(&mut self, batch: usize) -> Option<()> {
        while self.queue.front()?.positions.is_empty() {
            self.queue.pop_front();
        }
        let request = self.queue.front_mut()?;
        let end = request.positions.end.min(request.positions.start + batch);
        let positions = request.positions.start..end;
        request.positions.start = end;
        let samples: Vec<u32> = match &request.order {
            Some(order) => order[positions].to_vec(),
            None => positions.map(|position| position as u32).collect(),
        };
        let made = samples.iter().map(|_| None).collect();
        let (split, epoch, missing) = (request.split, request.epoch, samples.len());
        self.open.push_back(Open { identity: self.opened, split, epoch, samples, taken: 0, missing, made });
        self.opened += 1;
        Some(())
    }

    /// Returns whether the minibatch of a sample is still being prepared.
    pub(super) fn wants(&self, job: &Job) -> bool {
        self.open.iter().any(|open| open.identity == job.minibatch)
    }

    /// Stores a sample at its position in its minibatch, unless the loader has been cleared in the meantime.
    pub(super) fn put(&mut self, minibatch: u64, place: usize, made: Made) {
        if let Some(open) = self.open.iter_mut().find(|open| open.identity == minibatch) {
            open.made[place] = Some(made);
            open.missing -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requested(positions: &[Range<usize>]) -> State {
        let request = |positions: &Range<usize>| Request {
            split: Split::Validation,
            epoch: 0,
            order: None,
            positions: positions.clone(),
        };
        State { queue: positions.iter().map(request).collect(), ..State::default() }
    }

    #[test]
    fn at_most_depth_minibatches_are_open() {
        let mut state = requested(&[0..6, 6..6, 6..20]);
        let taken: Vec<u32> = std::iter::from_fn(|| state.take(4, 3)).map(|job| job.sample).collect();
        assert_eq!(taken, (0..10).collect::<Vec<_>>(), "4 and 2 of the first range, 4 of the last");
        for place in 0..4 {
            state.put(0, place, Err("unread".into()));
        }
        assert!(state.take(4, 3).is_none(), "a complete minibatch holds its place until it is fetched");
        state.open.pop_front();
        assert_eq!(state.take(4, 3).map(|job| job.sample), Some(10));
    }

    #[test]
    fn a_sample_of_a_forgotten_minibatch_is_dropped() {
        let mut state = requested(&[0..2, 2..4]);
        let job = state.take(2, 1).unwrap();
        state.open.clear();
        assert_eq!(state.take(2, 1).map(|job| (job.minibatch, job.sample)), Some((1, 2)));
        state.put(job.minibatch, job.place, Err("unread".into()));
        assert_eq!(state.open[0].missing, 2);
    }
}
