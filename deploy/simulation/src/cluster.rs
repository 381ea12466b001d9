//! The machines that are simulated.

use serde::Serialize;

/// The link of a machine to the network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Link {
    /// Bytes per second from the machine; none: no limit.
    pub up: Option<f64>,
    /// Bytes per second to the machine; none: no limit.
    pub down: Option<f64>,
}

impl Link {
    /// A link that takes no time.
    pub const UNLIMITED: Link = Link { up: None, down: None };
}

/// A machine with one worker.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Machine {
    /// Seconds of one step.
    pub step: f64,
    /// The machine's link.
    pub link: Link,
    /// Seconds from the worker to the server and back.
    pub round_trip: f64,
}

/// The workers and their server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cluster {
    /// The machines with workers.
    pub machines: Vec<Machine>,
    /// The link that all workers share at the server.
    pub server: Link,
    /// Largest deviation of a step's time from that of its machine, as a share of it; drawn uniformly.
    pub jitter: f64,
    /// Mean seconds between two losses of a worker, which then begins anew with the server's parameters;
    /// none: no losses.
    pub between_losses: Option<f64>,
    /// Seconds that a lost worker is away.
    pub away: f64,
}

impl Cluster {
    /// Makes a cluster of `workers` machines whose steps take a second, on links that take no time. From
    /// eight on, one in eight takes twice as long: in a larger cluster there is always a slow machine.
    pub fn of(workers: usize) -> Cluster {
        let slow = |worker: usize| workers >= 8 && worker % 8 == 7;
        let machine = |worker| Machine {
            step: if slow(worker) { 2.0 } else { 1.0 },
            link: Link::UNLIMITED,
            round_trip: 0.0,
        };
        Cluster {
            machines: (0..workers).map(machine).collect(),
            server: Link::UNLIMITED,
            jitter: 0.1,
            between_losses: None,
            away: 0.0,
        }
    }
}
