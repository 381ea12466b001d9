//! The links of a cluster in virtual time: two queues of transfers, to the server and from it.

use std::collections::VecDeque;
use std::ops::Range;

use crate::{Cluster, Machine};

/// The links while a cluster trains. The links of all server processes are one of their speed together.
pub(crate) struct Links<'a> {
    cluster: &'a Cluster,
    receiving: Queue,
    sending: Queue,
}

/// Number of busy times that a direction of a link remembers; in the gaps of those before nothing is sent any more.
const REMEMBERED: usize = 64;

/// A direction of the server's link: transfers stand in line. One that is booked late, since it became known late,
/// is sent in the gaps that those before left.
#[derive(Default)]
struct Queue {
    /// The newest busy times, in seconds of virtual time, in order and apart from each other.
    taken: VecDeque<Range<f64>>,
    /// Seconds for which it was busy.
    busy: f64,
}

impl Queue {
    /// Takes the link for so many seconds, from `first` on, whenever it is free; returns the virtual times of the
    /// beginning and the end.
    fn take(&mut self, first: f64, seconds: f64) -> (f64, f64) {
        self.busy += seconds;
        let oldest =
            self.taken.front().filter(|_| self.taken.len() == REMEMBERED).map_or(first, |oldest| oldest.end);
        let (mut begin, mut end, mut left) = (f64::INFINITY, first.max(oldest), seconds);
        let mut at = self.taken.partition_point(|taken| taken.end < end);
        let from = at;
        while let Some(taken) = self.taken.get(at) {
            let gap = taken.start - end;
            if gap > 0.0 {
                begin = begin.min(end);
            }
            if gap >= left {
                break;
            }
            left -= gap.max(0.0);
            end = taken.end;
            at += 1;
        }
        (begin, end) = (begin.min(end), end + left);
        if seconds > 0.0 {
            // What lies between the beginning and the end is busy throughout.
            let start = self.taken.get(from).map_or(begin, |taken| taken.start.min(begin));
            self.taken.drain(from..at);
            self.taken.insert(from, start..end);
            if self.taken.len() > REMEMBERED {
                self.taken.pop_front();
            }
        }
        (begin, end)
    }
}

/// The virtual times, in seconds, of a push on its way.
pub(crate) struct Sent {
    /// Time at which the first of it reaches the server.
    pub(crate) reaches: f64,
    /// Time at which all of it has arrived there.
    pub(crate) arrives: f64,
}

impl<'a> Links<'a> {
    pub(crate) fn new(cluster: &'a Cluster) -> Links<'a> {
        Links { cluster, receiving: Queue::default(), sending: Queue::default() }
    }

    /// Sends a push of `bytes` bytes, of which the first leave a machine at `first` and the last at `computed` or
    /// later.
    pub(crate) fn push(&mut self, machine: &Machine, bytes: f64, first: f64, computed: f64) -> Sent {
        let half_round = machine.round_trip / 2.0;
        let bytes = bytes * self.cluster.over_links(machine);
        if bytes == 0.0 {
            return Sent { reaches: first + half_round, arrives: computed + half_round };
        }
        let server = &self.cluster.server;
        let (mut begin, mut end) = self.receiving.take(first, taken(bytes, server.down));
        if machine.at_server {
            let (sent, all_sent) = self.sending.take(first, taken(bytes, server.up));
            (begin, end) = (begin.max(sent), end.max(all_sent));
        }
        end = end.max(begin + taken(bytes, machine.link.up));
        // The last gradients leave when backward ends.
        Sent { reaches: begin + half_round, arrives: end.max(computed) + half_round }
    }

    /// Sends an answer of `bytes` bytes to a machine, of which the first leave the server at `first`; returns the
    /// virtual time, in seconds, at which the machine has all of it.
    pub(crate) fn answer(&mut self, machine: &Machine, bytes: f64, first: f64) -> f64 {
        let half_round = machine.round_trip / 2.0;
        let bytes = bytes * self.cluster.over_links(machine);
        if bytes == 0.0 {
            return first + half_round;
        }
        let server = &self.cluster.server;
        let (mut begin, mut end) = self.sending.take(first, taken(bytes, server.up));
        if machine.at_server {
            let (received, all_received) = self.receiving.take(first, taken(bytes, server.down));
            (begin, end) = (begin.max(received), end.max(all_received));
        }
        end.max(begin + taken(bytes, machine.link.down)) + half_round
    }

    /// Returns the seconds for which the server's link received, and for which it sent.
    pub(crate) fn busy(&self) -> (f64, f64) {
        (self.receiving.busy, self.sending.busy)
    }
}

/// Returns the seconds that `bytes` take at `rate` bytes per second; 0 if there is no limit.
pub(crate) fn taken(bytes: f64, rate: Option<f64>) -> f64 {
    rate.map_or(0.0, |rate| bytes / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_booked_late_is_sent_in_the_gaps() {
        let mut queue = Queue::default();
        assert_eq!(queue.take(0.0, 2.0), (0.0, 2.0));
        assert_eq!(queue.take(1.0, 1.0), (2.0, 3.0), "in line");
        assert_eq!(queue.take(10.0, 2.0), (10.0, 12.0));
        assert_eq!(queue.take(4.0, 1.0), (4.0, 5.0), "in a gap");
        assert_eq!(queue.take(4.5, 6.0), (5.0, 13.0), "around what is there");
        assert_eq!(queue.take(1.0, 2.0), (3.0, 14.0), "in two pieces");
        assert_eq!(queue.busy, 14.0);
    }
}
