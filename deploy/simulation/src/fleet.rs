//! The description of a fleet: machines in groups, their links, prices and chances of preemption, and the
//! server, as a person writes it into a file.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// Largest number of machines of a fleet.
const MOST_MACHINES: u32 = 1024;

/// A fleet: the machines that are to train, in groups that are alike, and the server.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// The server.
    #[serde(default)]
    pub server: Server,
    /// The groups of machines, each machine with one worker.
    pub machines: Vec<Group>,
}

/// The server of a fleet.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Mbit/s of the link of each server process, either way; `None` means no limit.
    #[serde(default, deserialize_with = "megabits")]
    pub link_mbit: Option<f64>,
    /// Mbit/s of that link outwards, towards the workers; `None` means that of `link_mbit`.
    #[serde(default, deserialize_with = "megabits")]
    pub uplink_mbit: Option<f64>,
    /// Number of server processes, each on a machine of its own with such a link, which share the parameters evenly;
    /// 1 where machines of the fleet are also servers, one process each.
    #[serde(default = "one", deserialize_with = "processes")]
    pub processes: u32,
    /// Price of each server process's machine, an hour; 0 where a machine of the fleet is also the server.
    #[serde(default, deserialize_with = "price")]
    pub price_per_hour: f64,
}

/// A group of machines that are alike.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Name of the group in messages.
    #[serde(deserialize_with = "name")]
    pub name: String,
    /// Number of machines.
    #[serde(default = "one", deserialize_with = "count")]
    pub count: u32,
    /// Number of cores of each machine, all of which train; `None` means as many as the machine that plans has.
    #[serde(default, deserialize_with = "cores")]
    pub cores: Option<u32>,
    /// Images a second of each machine's training steps, alone, as `downpour bench` measures them; `None` means
    /// that those of the machine that plans are scaled by the cores.
    #[serde(default, deserialize_with = "speed")]
    pub images_per_second: Option<f64>,
    /// Mbit/s of each machine's link, either way; `None` means no limit.
    #[serde(default, deserialize_with = "megabits")]
    pub link_mbit: Option<f64>,
    /// Mbit/s of that link outwards, towards the server; `None` means that of `link_mbit`.
    #[serde(default, deserialize_with = "megabits")]
    pub uplink_mbit: Option<f64>,
    /// Milliseconds of a message from a worker to the server and back.
    #[serde(default, deserialize_with = "milliseconds")]
    pub round_trip_ms: f64,
    /// Place of the group: true for machines that each have a server process beside the worker, which uses no link
    /// for the parameters of that process. They have the server's link, unless one of their own is named.
    #[serde(default)]
    pub at_server: bool,
    /// Price of each machine, an hour that it is there.
    #[serde(default, deserialize_with = "price")]
    pub price_per_hour: f64,
    /// Mean number of times an hour that each machine is taken away.
    #[serde(default, deserialize_with = "preemptions")]
    pub preemptions_per_hour: f64,
    /// Minutes until a machine that was taken away, or another in its place, has a worker again.
    #[serde(default = "five", deserialize_with = "minutes")]
    pub minutes_away: f64,
}

impl Default for Server {
    fn default() -> Server {
        Server { link_mbit: None, uplink_mbit: None, processes: 1, price_per_hour: 0.0 }
    }
}

impl Fleet {
    /// Returns the fleet of this machine alone, which is also the server.
    pub fn of_this_machine() -> Fleet {
        let machine = Group {
            name: "this machine".into(),
            count: 1,
            cores: None,
            images_per_second: None,
            link_mbit: None,
            uplink_mbit: None,
            round_trip_ms: 0.0,
            at_server: true,
            price_per_hour: 0.0,
            preemptions_per_hour: 0.0,
            minutes_away: 5.0,
        };
        Fleet { server: Server::default(), machines: vec![machine] }
    }

    /// Returns the number of machines.
    pub fn count(&self) -> u32 {
        self.machines.iter().map(|group| group.count).sum()
    }

    /// Checks what single values do not show.
    ///
    /// # Errors
    /// If there is no machine, or too many, or if the server cannot be where the groups say.
    pub fn check(&self) -> Result<(), String> {
        let count: u64 = self.machines.iter().map(|group| u64::from(group.count)).sum();
        if !(1..=u64::from(MOST_MACHINES)).contains(&count) {
            return Err(format!("machines: found {count} in all groups, expected 1 to {MOST_MACHINES}"));
        }
        let preempted = |group: &&Group| group.at_server && group.preemptions_per_hour > 0.0;
        if let Some(group) = self.machines.iter().find(preempted) {
            return Err(format!(
                "machines.at_server of {:?}: found preemptions_per_hour = {}, expected machines that stay, as the run \
                 stands still without one of its servers",
                group.name, group.preemptions_per_hour
            ));
        }
        let beside = self.beside();
        if beside > 0 && self.server.processes > 1 {
            return Err(format!(
                "server.processes: found {}, expected none named, as the {beside} machines with at_server have one each",
                self.server.processes
            ));
        }
        Ok(())
    }

    /// Returns the number of server processes.
    pub fn processes(&self) -> u32 {
        self.server.processes.max(self.beside())
    }

    /// Returns the number of machines that have a server process beside their worker.
    fn beside(&self) -> u32 {
        self.machines.iter().filter(|group| group.at_server).map(|group| group.count).sum()
    }
}

fn one() -> u32 {
    1
}

fn five() -> f64 {
    5.0
}

/// Reads a number from `least` to `most`.
fn within<'de, D: Deserializer<'de>>(from: D, least: f64, most: f64, unit: &str) -> Result<f64, D::Error> {
    let found = f64::deserialize(from)?;
    match (least..=most).contains(&found) {
        true => Ok(found),
        false => Err(D::Error::custom(format!("found {found}, expected {least} to {most}{unit}"))),
    }
}

/// Reads a whole number from 1 to `most`.
fn whole<'de, D: Deserializer<'de>>(from: D, most: u32, unit: &str) -> Result<u32, D::Error> {
    let found = i64::deserialize(from)?;
    let number = u32::try_from(found).ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| D::Error::custom(format!("found {found}, expected 1 to {most} {unit}")))
}

fn megabits<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    within(from, 0.001, 1e6, " Mbit/s").map(Some)
}

fn speed<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    within(from, 0.001, 1e6, " images a second").map(Some)
}

fn milliseconds<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    within(from, 0.0, 10_000.0, " ms")
}

fn price<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    within(from, 0.0, 1e6, " an hour")
}

fn preemptions<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    within(from, 0.0, 60.0, " an hour")
}

fn minutes<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    within(from, 0.0, 10_000.0, " minutes")
}

fn count<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    whole(from, MOST_MACHINES, "machines")
}

fn processes<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    whole(from, 256, "processes")
}

fn cores<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    whole(from, 1024, "cores").map(Some)
}

fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let found = String::deserialize(from)?;
    match (1..=40).contains(&found.chars().count()) && !found.chars().any(char::is_control) {
        true => Ok(found),
        false => Err(D::Error::custom(format!("found {found:?}, expected 1 to 40 characters"))),
    }
}
