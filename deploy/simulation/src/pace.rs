//! The pace of a cluster by formula: images a second, waits, bytes and staleness of asynchronous training,
//! without a single gradient.
//!
//! A worker computes for `t` seconds. Its gradients leave after a third of that, while backward goes on, and
//! each part is answered as it arrives, so that both ways are in use at once. With waits `r` and `s` before the
//! server's link has room to receive and to send, the next step begins after
//!
//! ```text
//! T = max(t, t/3 + r + up, t/3 + r + s + down) + round trip
//! ```
//!
//! where `up` and `down` are the times of the bytes on the slower of the worker's link and the server's. The
//! server's link is a queue of transfers of `q` seconds that is busy for a share `u` of the time. The wait is
//! `c q u / (1 - u)`: of the kind that queues have, with a small `c`, since workers that wait fall in step and
//! rarely meet. As `u` in turn depends on every `T`, both waits are found by bisection. A link that is full makes
//! them as long as it takes to be no more than full.
//!
//! A worker beside a server process has its own part of the parameters without a link. For the rest, what it sends
//! is sent by a server's link too, and what it receives received by one.
//!
//! A worker that is lost every `L` seconds, and away for `A`, finishes `1 / (exp(T / L) - 1)` steps in between.

use parameter_server::MOST_LOGS;
use parameters::Layout;
use protocol::encoded_size;
use settings::Wire;

use crate::links::taken;
use crate::simulate::FORWARD;
use crate::{Cluster, Link, Machine};

/// The factor `c` of a wait at the server's link.
const MEETING: f64 = 0.05;
/// Number of halvings of an interval in which a wait is searched.
const HALVINGS: usize = 24;
/// Number of times that answers are made from the times between two steps, and these from the answers.
const ROUNDS: usize = 5;

/// The pace of one machine of a cluster, all in the mean of a long run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Seconds from the beginning of a step to that of the next, while the machine is there.
    pub cycle: f64,
    /// Number of images a second whose gradients reach the server.
    pub images_per_second: f64,
    /// Number of images a second whose gradients are lost together with the machine, and computed again.
    pub lost_per_second: f64,
    /// Share (0 to 1) of the time in which the machine computes.
    pub computing: f64,
    /// Share (0 to 1) of the time in which the machine is there.
    pub there: f64,
    /// Bytes a second of gradients that the machine sends.
    pub up: f64,
    /// Bytes a second of parameters that it receives.
    pub down: f64,
}

/// The pace of a cluster in asynchronous training.
#[derive(Clone, Debug, PartialEq)]
pub struct Paces {
    /// The pace of each machine, in the order of the cluster.
    pub machines: Vec<Pace>,
    /// Share (0 to 1) of the time in which the server's link receives gradients.
    pub receiving: f64,
    /// Share (0 to 1) of the time in which the server's link sends parameters.
    pub sending: f64,
    /// Mean staleness of a push: the number of updates between the parameters that its gradient was computed
    /// with and its own.
    pub staleness: f64,
}

impl Paces {
    /// Returns the images a second of all machines.
    pub fn images_per_second(&self) -> f64 {
        self.machines.iter().map(|pace| pace.images_per_second).sum()
    }
}

/// Returns the number of bytes of all blocks of a layout in the format `wire`; the largest values alone may take fewer.
pub fn bytes(layout: &Layout, wire: Wire) -> f64 {
    layout.blocks().iter().map(|block| encoded_size(wire, block.range.len()) as f64).sum()
}

/// Computes the pace of the machines of `cluster`, which train a network with this `layout` asynchronously on
/// minibatches of `batch` images.
///
/// # Panics
/// If the cluster has no machine, or one whose step takes no time.
pub fn paces(cluster: &Cluster, layout: &Layout, batch: usize) -> Paces {
    let whole = bytes(layout, Wire::F32);
    let mut loads: Vec<Load> =
        cluster.machines.iter().map(|machine| Load::of(cluster, machine, layout)).collect();
    assert!(loads.iter().all(|load| load.machine.step > 0.0), "a step takes time");
    let mut queues = Queues { cluster, receive: 0.0, send: 0.0 };
    for _ in 0..ROUNDS {
        queues.settle(&loads);
        let cycles: Vec<f64> = loads.iter().map(|load| queues.cycle(load)).collect();
        answer_all(&mut loads, &cycles, whole);
    }
    let cycles: Vec<f64> = loads.iter().map(|load| queues.cycle(load)).collect();
    let machines: Vec<Pace> = loads.iter().map(|load| queues.pace(load, batch as f64)).collect();
    let updates: f64 = machines.iter().map(|pace| pace.images_per_second / batch as f64).sum();
    let stale = |(at, pace): (usize, &Pace)| {
        let own = pace.images_per_second / batch as f64;
        own * ((updates - own) * cycles[at] + updates * age(&loads, at, cycles[at]))
    };
    Paces {
        receiving: queues.busy(&loads).0.min(1.0),
        sending: queues.busy(&loads).1.min(1.0),
        staleness: machines.iter().enumerate().map(stale).sum::<f64>() / updates.max(f64::MIN_POSITIVE),
        machines,
    }
}

/// The load that one machine puts on the links.
#[derive(Clone, Copy)]
struct Load {
    machine: Machine,
    /// Bytes of its gradients.
    up: f64,
    /// Bytes of one difference of the parameters, or of the parameters where they travel whole.
    one: f64,
    /// Bytes of the answer to a push: all differences since the last.
    down: f64,
    /// Share (0 to 1) of these bytes that take a link.
    linked: f64,
}

impl Load {
    fn of(cluster: &Cluster, machine: &Machine, layout: &Layout) -> Load {
        let one = bytes(layout, machine.formats.parameters);
        let up = bytes(layout, machine.formats.gradients);
        Load { machine: *machine, up, one, down: one, linked: cluster.over_links(machine) }
    }

    /// Returns the seconds for which the server's link receives the gradients, and for which it sends them, since
    /// they come from a machine of a server process.
    fn pushes(&self, server: &Link) -> (f64, f64) {
        let bytes = self.linked * self.up;
        (taken(bytes, server.down), if self.machine.at_server { taken(bytes, server.up) } else { 0.0 })
    }

    /// Returns the seconds for which the server's link receives the answer, since it is for a machine of a server
    /// process, and for which it sends it.
    fn answers(&self, server: &Link) -> (f64, f64) {
        let bytes = self.linked * self.down;
        (if self.machine.at_server { taken(bytes, server.down) } else { 0.0 }, taken(bytes, server.up))
    }

    /// Returns the first gradients' time of leaving, in seconds since the step began.
    fn first(&self) -> f64 {
        FORWARD * self.machine.step
    }

    /// Returns the number of pushes that leave in a second, of steps that begin every `cycle` seconds.
    fn leaving(&self, cycle: f64) -> f64 {
        match self.machine.between_losses {
            None => 1.0 / cycle,
            Some(lives) => (-self.first() / lives).exp() / self.life(cycle, lives),
        }
    }

    /// Returns the number of pushes that arrive in a second.
    fn arriving(&self, cycle: f64) -> f64 {
        match self.machine.between_losses {
            None => 1.0 / cycle,
            Some(lives) => (-cycle / lives).exp() / self.life(cycle, lives),
        }
    }

    /// Returns the seconds of a life and of the absence after it, for each step that a life begins.
    fn life(&self, cycle: f64, lives: f64) -> f64 {
        -(-cycle / lives).exp_m1() * (lives + self.machine.away)
    }
}

/// The server's link, with its waits in seconds.
struct Queues<'a> {
    cluster: &'a Cluster,
    receive: f64,
    send: f64,
}

impl Queues<'_> {
    /// Returns the seconds from the beginning of a step to the arrival of its last gradients, but for the way there.
    fn sent(&self, load: &Load) -> f64 {
        let Machine { step, link, .. } = load.machine;
        if load.linked == 0.0 {
            return step;
        }
        let (into, out_of) = load.pushes(&self.cluster.server);
        let up = into.max(out_of).max(taken(load.linked * load.up, link.up));
        step.max(load.first() + self.receive + up)
    }

    /// Returns the seconds from the beginning of a step to that of the next.
    fn cycle(&self, load: &Load) -> f64 {
        let Machine { link, round_trip, .. } = load.machine;
        if load.linked == 0.0 {
            return self.sent(load) + round_trip;
        }
        let (into, out_of) = load.answers(&self.cluster.server);
        let down = into.max(out_of).max(taken(load.linked * load.down, link.down));
        self.sent(load).max(load.first() + self.receive + self.send + down) + round_trip
    }

    /// Returns the shares of the time in which the link receives and sends; over 1 where the waits are too
    /// short for what comes.
    fn busy(&self, loads: &[Load]) -> (f64, f64) {
        loads.iter().fold((0.0, 0.0), |(receiving, sending), load| {
            let cycle = self.cycle(load);
            let (pushes, answers) = (load.pushes(&self.cluster.server), load.answers(&self.cluster.server));
            (
                receiving + load.leaving(cycle) * pushes.0 + load.arriving(cycle) * answers.0,
                sending + load.leaving(cycle) * pushes.1 + load.arriving(cycle) * answers.1,
            )
        })
    }

    /// Finds the waits with which the link is as busy as its waits say.
    fn settle(&mut self, loads: &[Load]) {
        let server = self.cluster.server;
        let count = loads.iter().filter(|load| load.linked > 0.0).count().max(1) as f64;
        // All transfers one after the other: nobody waits longer.
        let all = |one: fn(&Load, &Link) -> f64| loads.iter().map(|load| one(load, &server)).sum::<f64>();
        let receive = all(|load, server| load.pushes(server).0 + load.answers(server).0);
        let send = all(|load, server| load.pushes(server).1 + load.answers(server).1);
        // Nobody waits for oneself.
        let others = MEETING * (count - 1.0) / (count * count);
        let wait =
            |busy: f64, all: f64| if busy < 1.0 { others * all * busy / (1.0 - busy) } else { f64::INFINITY };
        let received = |waits: &mut Queues<'_>| {
            waits.receive = shortest(receive, |tried| {
                let busy = Queues { receive: tried, ..*waits }.busy(loads).0;
                wait(busy, receive) <= tried
            });
        };
        let sent = shortest(send, |tried| {
            let mut waits = Queues { send: tried, ..*self };
            received(&mut waits);
            wait(waits.busy(loads).1, send) <= tried
        });
        self.send = sent;
        received(self);
    }

    fn pace(&self, load: &Load, batch: f64) -> Pace {
        let cycle = self.cycle(load);
        let Machine { between_losses, away, round_trip, .. } = load.machine;
        let there = between_losses.map_or(1.0, |lives| lives / (lives + away));
        let lost = between_losses.map_or(0.0, |lives| {
            // A minibatch is in hand until the last gradients have arrived.
            let in_hand = self.sent(load) + round_trip / 2.0;
            -(-in_hand / lives).exp_m1() / load.life(cycle, lives)
        });
        Pace {
            cycle,
            images_per_second: batch * load.arriving(cycle),
            lost_per_second: batch * lost,
            computing: there * load.machine.step / cycle,
            there,
            up: load.up * load.leaving(cycle),
            down: load.down * load.arriving(cycle),
        }
    }
}

/// Returns the shortest wait, of at most `most` seconds, that is `enough`.
fn shortest(most: f64, enough: impl Fn(f64) -> bool) -> f64 {
    if enough(0.0) {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, most);
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        match enough(middle) {
            true => high = middle,
            false => low = middle,
        }
    }
    high
}

/// Returns the machines that follow the same log as the one at place `at`, itself among them.
fn followers(loads: &[Load], at: usize) -> impl Iterator<Item = usize> {
    let own = loads[at].machine.formats.parameters;
    let same = move |&other: &usize| loads[other].machine.formats.parameters == own;
    (at % MOST_LOGS..loads.len()).step_by(MOST_LOGS).filter(same)
}

/// Sets the bytes of every answer. The machine of a log's followers that is fastest has a difference made in each
/// of its steps; the others get all that were made since their last, or, if those are more, the whole parameters.
fn answer_all(loads: &mut [Load], cycles: &[f64], whole: f64) {
    for at in 0..loads.len() {
        if loads[at].machine.formats.parameters.is_whole() {
            continue;
        }
        let fastest = followers(loads, at).map(|other| cycles[other]).fold(f64::INFINITY, f64::min);
        loads[at].down = (loads[at].one * cycles[at] / fastest).min(whole);
    }
}

/// Returns the mean age in seconds of the newest difference when a machine asks for it: that of those who share a
/// log was made for the first of them to ask, up to a step ago.
fn age(loads: &[Load], at: usize, cycle: f64) -> f64 {
    if loads[at].machine.formats.parameters.is_whole() {
        return 0.0;
    }
    let sharing = followers(loads, at).count() as f64;
    cycle / 2.0 * (sharing - 1.0) / sharing
}
