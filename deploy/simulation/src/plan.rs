//! The plan of a run on a fleet: how fast, how long, how many bytes, how stale, how many workers are useful, what
//! it costs, and what would be better.

use parameter_server::noise;
use parameters::Layout;
use serde::Serialize;
use settings::{Run, Wire};
use worker::link::{Formats, Rates};

use crate::fleet::{Fleet, Group};
use crate::pace::{Pace, Paces, bytes, paces};
use crate::{Cluster, Link, Machine};

/// Number of bytes per second of a link of one Mbit/s.
pub const MEGABIT: f64 = 1e6 / 8.0;
/// Deviation of a step's time from its mean, as a share of it, that machines are taken to have.
const JITTER: f64 = 0.1;
/// Gain in images a second, as a factor, from which on another choice is advised.
const CLEARLY: f64 = 1.1;
/// Largest number of server processes that is advised.
const MOST_PROCESSES: u32 = 16;
/// Largest minibatch that is advised.
const MOST_BATCH: usize = 256;
const HOUR: f64 = 3600.0;

/// A run that is to be planned on a fleet.
#[derive(Clone, Debug)]
pub struct PlannedRun<'a> {
    /// The machines and the server.
    pub fleet: &'a Fleet,
    /// Images a second of one machine of each group, alone, in the order of the groups; all over 0.
    pub speeds: &'a [f64],
    /// The settings of the run, of which the minibatch and the number formats matter.
    pub run: &'a Run,
    /// The parameters of the network.
    pub layout: &'a Layout,
    /// Length of the run in training images.
    pub images: u64,
    /// Gradient noise scale of the images: the minibatch, in images, whose gradient is half noise; `None` where it
    /// is not known.
    pub noise_scale: Option<f64>,
}

/// The plan of a run: what a fleet is expected to make of it, by formula.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Length of the run in training images.
    pub images: u64,
    /// Images a second of all machines.
    pub images_per_second: f64,
    /// Time to the end of the run in seconds, without evaluations; infinite (`null` in JSON) if no step is ever
    /// finished.
    pub seconds: f64,
    /// Plans of the groups of machines, in the order of the fleet.
    pub groups: Vec<GroupPlan>,
    /// Share (0 to 1) of the time in which the server's link receives gradients.
    pub receiving: f64,
    /// Share (0 to 1) of the time in which the server's link sends parameters.
    pub sending: f64,
    /// Bytes an hour that machines send over their links: gradients.
    pub bytes_up_per_hour: f64,
    /// Bytes an hour that machines receive over their links: parameters, and these whole where a machine returns.
    pub bytes_down_per_hour: f64,
    /// Updates of all parameters that the server makes in a second, one for each minibatch.
    pub updates_per_second: f64,
    /// Mean staleness of a push: the number of updates between the parameters that its gradient was computed with
    /// and its own.
    pub staleness: f64,
    /// Number of machines, each with a worker.
    pub workers: u32,
    /// Gradient noise scale in images, as it was given; `None` where it is not known.
    pub noise_scale: Option<f64>,
    /// Number of workers that would train as fast as all do, if gradient noise cost nothing; `None` where the
    /// noise scale is not known.
    pub useful_workers: Option<f64>,
    /// Number of images in the run that are lost with their machines and computed again; no number if it never
    /// ends.
    pub lost_images: f64,
    /// Price of the run, in the currency of the fleet's prices; no number if it never ends.
    pub cost: f64,
    /// Sentences on choices that would be clearly better.
    pub advice: Vec<String>,
}

/// The part that a group of machines has in a planned run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupPlan {
    /// Name of the group.
    pub name: String,
    /// Number of machines.
    pub count: u32,
    /// Images a second of one machine, alone.
    pub alone: f64,
    /// Images a second of all machines of the group.
    pub images_per_second: f64,
    /// Share (0 to 1) of the time in which a machine computes, while it is there.
    pub computing: f64,
    /// Seconds that a step computes for.
    pub step: f64,
    /// Number format in which gradients travel.
    pub gradients: Wire,
    /// Number format in which parameters travel.
    pub parameters: Wire,
    /// Bytes a second that the links carry from one machine to the server, which its gradients' format fits;
    /// `None` within a machine, and where no link has a limit.
    pub rate_up: Option<f64>,
    /// Bytes a second that the links carry from the server to one machine, which its parameters' format fits.
    pub rate_down: Option<f64>,
    /// Bytes an hour that all machines of the group send.
    pub bytes_up_per_hour: f64,
    /// Bytes an hour that all machines of the group receive.
    pub bytes_down_per_hour: f64,
    /// Price of the group's machines for the run.
    pub cost: f64,
}

impl PlannedRun<'_> {
    /// Plans the run.
    ///
    /// # Panics
    /// If there is no machine, or not a speed for every group.
    pub fn plan(&self) -> Plan {
        let mut plan = self.without_advice();
        plan.advice = self.advice(&plan);
        plan
    }

    /// Returns the fleet as a cluster that can be simulated, with the formats that each machine's worker takes.
    pub fn cluster(&self) -> Cluster {
        assert_eq!(self.speeds.len(), self.fleet.machines.len(), "a speed for every group");
        let server = self.server();
        let machines = self.groups().flat_map(|(group, speed, rates)| {
            let step = self.run.batch as f64 / speed;
            // A machine that comes back gets the parameters whole.
            let whole = bytes(self.layout, Wire::F32) / rates.down;
            let machine = Machine {
                link: self.own_link(group),
                round_trip: group.round_trip_ms / 1000.0,
                at_server: group.at_server,
                formats: Formats::fitting(self.run, self.layout.len(), step, rates),
                between_losses: (group.preemptions_per_hour > 0.0).then(|| HOUR / group.preemptions_per_hour),
                away: 60.0 * group.minutes_away + whole,
                ..Machine::of(step)
            };
            std::iter::repeat_n(machine, group.count as usize)
        });
        Cluster { machines: machines.collect(), server, jitter: JITTER }
    }

    /// Returns the link of all server processes together.
    fn server(&self) -> Link {
        let server = &self.fleet.server;
        let all = |rate: f64| rate * f64::from(self.fleet.processes());
        let Link { up, down } = link(server.link_mbit, server.uplink_mbit);
        Link { up: up.map(all), down: down.map(all) }
    }

    /// Returns the link of each machine of a group: where a server process is on it, that of the server.
    fn own_link(&self, group: &Group) -> Link {
        let server = &self.fleet.server;
        match group.at_server {
            true => link(group.link_mbit.or(server.link_mbit), group.uplink_mbit.or(server.uplink_mbit)),
            false => link(group.link_mbit, group.uplink_mbit),
        }
    }

    /// Returns the groups, each with the speed of a machine and the rates that it has of the links.
    fn groups(&self) -> impl Iterator<Item = (&Group, f64, Rates)> {
        // The share of the bytes of a machine with a server process that take links, as there are others.
        let others = 1.0 - 1.0 / f64::from(self.fleet.processes());
        let linked = || self.fleet.machines.iter().filter(move |group| !group.at_server || others > 0.0);
        let beside = || linked().filter(|group| group.at_server);
        let ups = linked().map(|group| (group.count, self.own_link(group).up));
        let downs = linked().map(|group| (group.count, self.own_link(group).down));
        let server = self.server();
        let ups_beside = beside().map(|group| (group.count, self.own_link(group).up));
        let downs_beside = beside().map(|group| (group.count, self.own_link(group).down));
        let into = fair_share(server.down, ups.chain(downs_beside));
        let out_of = fair_share(server.up, downs.chain(ups_beside));
        self.fleet.machines.iter().zip(self.speeds).map(move |(group, &speed)| {
            let rate = |own: Option<f64>, share: f64| own.map_or(share, |own| own.min(share));
            let own = self.own_link(group);
            let rates = match group.at_server {
                true if others == 0.0 => Rates::UNLIMITED,
                true => {
                    let share = into.min(out_of);
                    Rates { up: rate(own.up, share) / others, down: rate(own.down, share) / others }
                }
                false => Rates { up: rate(own.up, into), down: rate(own.down, out_of) },
            };
            (group, speed, rates)
        })
    }

    fn without_advice(&self) -> Plan {
        let Paces { machines, receiving, sending, staleness } =
            paces(&self.cluster(), self.layout, self.run.batch);
        let images_per_second: f64 = machines.iter().map(|pace| pace.images_per_second).sum();
        let seconds = self.images as f64 / images_per_second;
        let lost: f64 = machines.iter().map(|pace| pace.lost_per_second).sum();
        let workers = self.fleet.count();
        let mut first = 0;
        let groups: Vec<GroupPlan> = self
            .groups()
            .map(|(group, speed, rates)| {
                let paces = &machines[first..first + group.count as usize];
                first += group.count as usize;
                self.group(group, speed, rates, paces, seconds / HOUR)
            })
            .collect();
        let server = f64::from(self.fleet.processes()) * self.fleet.server.price_per_hour * seconds / HOUR;
        let batch = self.run.batch as f64;
        Plan {
            images: self.images,
            images_per_second,
            seconds,
            receiving,
            sending,
            bytes_up_per_hour: groups.iter().map(|group| group.bytes_up_per_hour).sum(),
            bytes_down_per_hour: groups.iter().map(|group| group.bytes_down_per_hour).sum(),
            updates_per_second: images_per_second / batch,
            staleness,
            workers,
            noise_scale: self.noise_scale,
            useful_workers: self.noise_scale.map(|scale| noise::useful(workers, batch, scale)),
            lost_images: lost * seconds,
            cost: server + groups.iter().map(|group| group.cost).sum::<f64>(),
            groups,
            advice: Vec::new(),
        }
    }

    fn group(&self, group: &Group, speed: f64, rates: Rates, paces: &[Pace], hours: f64) -> GroupPlan {
        let step = self.run.batch as f64 / speed;
        let formats = Formats::fitting(self.run, self.layout.len(), step, rates);
        let sum = |of: fn(&Pace) -> f64| paces.iter().map(of).sum::<f64>();
        let there = sum(|pace| pace.there);
        let returns = if group.at_server { 0.0 } else { there * group.preemptions_per_hour };
        let linked = HOUR * if group.at_server { 1.0 - 1.0 / f64::from(self.fleet.processes()) } else { 1.0 };
        let limited = |rate: f64| rate.is_finite().then_some(rate);
        GroupPlan {
            name: group.name.clone(),
            count: group.count,
            alone: speed,
            images_per_second: sum(|pace| pace.images_per_second),
            computing: sum(|pace| pace.computing) / there,
            step,
            gradients: formats.gradients,
            parameters: formats.parameters,
            rate_up: limited(rates.up),
            rate_down: limited(rates.down),
            bytes_up_per_hour: linked * sum(|pace| pace.up),
            bytes_down_per_hour: linked * sum(|pace| pace.down) + returns * bytes(self.layout, Wire::F32),
            cost: there * group.price_per_hour * hours,
        }
    }

    /// Returns sentences on what would be clearly better than `plan`, this run's.
    fn advice(&self, plan: &Plan) -> Vec<String> {
        let mut advice = Vec::new();
        let batch = self.run.batch;
        if let Some(scale) = self.noise_scale
            && let Some(text) = noise::advice(plan.workers, batch as f64, scale)
        {
            let few = |workers: &u32| noise::advice(*workers, batch as f64, scale).is_none();
            let enough = (1..plan.workers).rev().find(few).unwrap_or(1);
            advice.push(format!("{text}; {enough} would do"));
        }
        if let Some((processes, speed)) = self.more_processes(plan) {
            advice.push(format!(
                "the server's link limits the run: {processes} server processes, each on a machine with such a link, \
                 would make {speed:.1} images/s"
            ));
        }
        let larger = 2 * batch;
        let useful = |scale| noise::advice(plan.workers, larger as f64, scale).is_none();
        if larger <= MOST_BATCH && self.noise_scale.is_none_or(useful) {
            let run = Run { batch: larger, ..self.run.clone() };
            let speed = PlannedRun { run: &run, ..self.clone() }.without_advice().images_per_second;
            if speed > CLEARLY * plan.images_per_second {
                advice.push(format!(
                    "the links limit the run: with minibatches of {larger}, which are exchanged half as often, it would \
                     make {speed:.1} images/s"
                ));
            }
        }
        advice
    }

    /// Returns the number of server processes, and the images a second with them, up to which each doubling
    /// clearly gains; `None` if the first does not.
    fn more_processes(&self, plan: &Plan) -> Option<(u32, f64)> {
        let alone = self.fleet.machines.iter().any(|group| group.at_server);
        if alone || self.fleet.server.link_mbit.is_none() {
            return None;
        }
        let with = |processes: u32| {
            let mut fleet = self.fleet.clone();
            fleet.server.processes = processes;
            PlannedRun { fleet: &fleet, ..self.clone() }.without_advice().images_per_second
        };
        let mut best = None;
        let (mut processes, mut speed) = (2 * self.fleet.server.processes, plan.images_per_second);
        while processes <= MOST_PROCESSES {
            let more = with(processes);
            if more < CLEARLY * speed {
                break;
            }
            best = Some((processes, more));
            (processes, speed) = (2 * processes, more);
        }
        best
    }
}

fn link(either: Option<f64>, outwards: Option<f64>) -> Link {
    let rate = |megabits: f64| megabits * MEGABIT;
    Link { up: outwards.or(either).map(rate), down: either.map(rate) }
}

/// Returns what each machine may have of a link of `all` bytes per second, which groups of so many machines share
/// whose own links have such a rate: those that can take less leave the rest to the others. Infinite if there is
/// no limit.
fn fair_share(all: Option<f64>, groups: impl Iterator<Item = (u32, Option<f64>)>) -> f64 {
    let Some(mut left) = all else { return f64::INFINITY };
    let mut groups: Vec<(u32, f64)> =
        groups.map(|(count, rate)| (count, rate.unwrap_or(f64::INFINITY))).collect();
    groups.sort_by(|one, other| one.1.total_cmp(&other.1));
    let mut machines: u32 = groups.iter().map(|(count, _)| count).sum();
    for (count, rate) in groups {
        if rate * f64::from(machines) >= left {
            break;
        }
        left -= rate * f64::from(count);
        machines -= count;
    }
    if machines == 0 { f64::INFINITY } else { left / f64::from(machines) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_shared_evenly_by_those_that_can_take_more() {
        let share = |all, groups: &[(u32, Option<f64>)]| fair_share(all, groups.iter().copied());
        assert_eq!(share(None, &[(2, Some(1.0))]), f64::INFINITY);
        assert_eq!(share(Some(100.0), &[(4, None)]), 25.0);
        assert_eq!(share(Some(100.0), &[(2, None), (2, Some(10.0))]), 40.0);
        assert_eq!(share(Some(100.0), &[(2, Some(30.0)), (2, Some(20.0))]), 30.0);
        assert_eq!(share(Some(100.0), &[(2, Some(10.0))]), f64::INFINITY, "the link is no limit");
    }
}
