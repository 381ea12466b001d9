//! The machines and links that are simulated.

use serde::Serialize;
use settings::Wire;
use worker::link::Formats;

/// The link of a machine to the network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Link {
    /// Bytes per second that the machine can send; `None` means no limit.
    pub up: Option<f64>,
    /// Bytes per second that the machine can receive; `None` means no limit.
    pub down: Option<f64>,
}

impl Link {
    /// A link of unlimited speed, over which transfers take no time.
    pub const UNLIMITED: Link = Link { up: None, down: None };
}

/// A simulated machine, which runs one worker.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Machine {
    /// Mean duration of one training step of the machine, in seconds of simulated time.
    pub step: f64,
    /// The machine's link to the network.
    pub link: Link,
    /// Round-trip time of a message between the worker and the server, in seconds of simulated time.
    pub round_trip: f64,
    /// Place of the machine: true for one that also has a server process, with an even part of the parameters. Its
    /// worker's messages to that process take no link, and those to others take the links of both.
    pub at_server: bool,
    /// Number formats in which the worker's gradients and parameters travel. Whole parameters arrive exact,
    /// whatever theirs is; so do all in synchronous training.
    pub formats: Formats,
    /// Mean time from the start or return of the worker to its loss (crash), in seconds of simulated time;
    /// `None` means that it is never lost. A lost worker returns with the server's parameters.
    pub between_losses: Option<f64>,
    /// Time from the loss (crash) of the worker to its return, in seconds of simulated time.
    pub away: f64,
}

impl Machine {
    /// Creates a machine whose steps take `step` seconds of simulated time in the mean, whose link takes no time,
    /// which sends and receives 32-bit floats, and which is never lost.
    pub fn of(step: f64) -> Machine {
        Machine {
            step,
            link: Link::UNLIMITED,
            round_trip: 0.0,
            at_server: false,
            formats: Formats { gradients: Wire::F32, parameters: Wire::F32 },
            between_losses: None,
            away: 0.0,
        }
    }
}

/// A cluster to simulate: the machines of the workers, and the link of their server, which is one process or
/// several.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cluster {
    /// The machines, each with one worker.
    pub machines: Vec<Machine>,
    /// The link that all workers share at the server: those of all server processes together.
    pub server: Link,
    /// Largest deviation of a step's duration from the mean duration of its machine, as a fraction of the
    /// latter; each step's deviation is drawn uniformly between this and its negative.
    pub jitter: f64,
}

impl Cluster {
    /// Creates a cluster of `workers` machines whose steps take one second of simulated time on average, with
    /// a jitter of 0.1, whose links take no time and of which none is lost. If there are at least eight
    /// machines, the steps of every eighth take twice as long, since a larger cluster always has a slow
    /// machine.
    pub fn of(workers: usize) -> Cluster {
        let slow = |worker: usize| workers >= 8 && worker % 8 == 7;
        let machine = |worker| Machine::of(if slow(worker) { 2.0 } else { 1.0 });
        Cluster { machines: (0..workers).map(machine).collect(), server: Link::UNLIMITED, jitter: 0.1 }
    }

    /// Returns the share (0 to 1) of the bytes of a machine's worker that take links: all, or, on a machine with one
    /// of several server processes, what is for the others.
    pub fn over_links(&self, machine: &Machine) -> f64 {
        let processes = self.machines.iter().filter(|machine| machine.at_server).count();
        if machine.at_server { 1.0 - 1.0 / processes as f64 } else { 1.0 }
    }
}
