//! What happens next: events in the order of their virtual times.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Events of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The worker begins a step with the parameters that it has.
    Begin,
    /// The worker's push has arrived at the server.
    Arrive,
    /// The worker is lost, with the step that it was computing.
    Lose,
}

/// An event of a worker at a time.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Seconds since the start.
    pub time: f64,
    /// Number of the worker.
    pub worker: usize,
    /// The worker's life for which the event was planned: it does not happen once the worker has been lost.
    pub life: u64,
    /// The event.
    pub event: Event,
    /// Number of the entry, since events of one time happen in the order in which they were planned.
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

/// Planned events.
#[derive(Debug, Default)]
pub struct Events {
    queue: BinaryHeap<Entry>,
    planned: u64,
}

impl Events {
    /// Plans an event of a worker in one of its lives; a worker that is lost begins another.
    pub fn plan(&mut self, time: f64, worker: usize, life: u64, event: Event) {
        self.planned += 1;
        self.queue.push(Entry { time, worker, life, event, order: self.planned });
    }

    /// Takes the earliest planned event out.
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
