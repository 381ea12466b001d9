//! The queue of planned events in the order of their virtual times.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// An event of a simulated worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The worker begins a step with the parameters that it holds.
    Begin,
    /// The first gradients of the worker's step leave, while backward goes on.
    Leave,
    /// The gradient that the worker pushed has arrived at the server.
    Arrive,
    /// The worker is lost (crashes), together with the step that it was computing.
    Lose,
    /// The worker is back after a loss, and gets the server's parameters.
    Return,
}

/// An event planned for a worker at a moment of simulated time.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Simulated time of the event since the start of the run, in seconds.
    pub time: f64,
    /// Number of the worker, from 0.
    pub worker: usize,
    /// Number of times that the worker had been lost (crashed) when the event was planned. The event does not
    /// take place if the worker has been lost again in the meantime.
    pub life: u64,
    /// What happens to the worker.
    pub event: Event,
    /// Number of the entry: events at the same time take place in the order in which they were planned.
    order: u64,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// Orders the earliest event as the greatest, since the queue gives the greatest first.
    fn cmp(&self, other: &Entry) -> Ordering {
        other.time.total_cmp(&self.time).then(other.order.cmp(&self.order))
    }
}

/// The queue of the planned events of all workers, in the order of their simulated times.
#[derive(Debug, Default)]
pub struct Events {
    queue: BinaryHeap<Entry>,
    planned: u64,
}

impl Events {
    /// Plans an event of worker `worker` at the simulated time `time`, in seconds since the start of the run.
    /// `life` is the number of times that the worker has been lost (crashed) so far; the event is void once
    /// it is lost again.
    pub fn plan(&mut self, time: f64, worker: usize, life: u64, event: Event) {
        self.planned += 1;
        self.queue.push(Entry { time, worker, life, event, order: self.planned });
    }

    /// Removes and returns the earliest planned event, or `None` if none is planned.
    pub fn next(&mut self) -> Option<Entry> {
        self.queue.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_then_as_planned() {
        let mut events = Events::default();
        for (time, worker) in [(2.0, 0), (1.0, 1), (1.0, 2), (0.5, 3)] {
            events.plan(time, worker, 0, Event::Begin);
        }
        let order: Vec<usize> = std::iter::from_fn(|| events.next()).map(|entry| entry.worker).collect();
        assert_eq!(order, [3, 1, 2, 0]);
    }
}
