//! What goes wrong in a simulated run, and when: drawn from its seed.

use std::time::Duration;

use rand::Rng;
use settings::random::{self, Random};

/// Something that goes wrong for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Time at which the fault begins.
    pub begin: Duration,
    /// Time at which the fault is over.
    pub end: Duration,
    /// Kind of the fault.
    pub kind: FaultKind,
}

/// The kinds of trouble. Hosts are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FaultKind {
    /// The process is killed at the begin and started again at the end.
    Killed { host: usize },
    /// The second process of the server is killed at the begin, and its disk is at another host at the end.
    Moved,
    /// Nothing gets through between two hosts, and what was on its way is lost.
    Partitioned { a: usize, b: usize },
    /// Nothing gets through in one direction.
    OneWay { from: usize, to: usize },
    /// What is sent between two hosts arrives at the end, as after a sender's patient repetitions.
    Held { a: usize, b: usize },
    /// Every message on the way between two hosts takes this long.
    Slow { a: usize, b: usize, delay: Duration },
    /// Messages are lost on every way, this many of a hundred.
    Lossy { percent: u32 },
    /// The folder of a process, which is killed at that time, is lost. It is never drawn: a shard process does
    /// not go on without its files.
    FolderLost { host: usize },
}

/// Faults begin before this; a run without any is over by then.
const LAST_BEGIN: Duration = Duration::from_secs(8);
/// Most faults of a run.
const MOST: u64 = 6;

/// The faults of the run with this seed, among `hosts` hosts.
pub fn draw(seed: u64, hosts: usize) -> Vec<Fault> {
    let mut random = random::stream(seed, "faults", &[]);
    let count = 1 + random.next_u64() % MOST;
    (0..count).map(|_| fault(&mut random, hosts)).collect()
}

fn fault(random: &mut Random, hosts: usize) -> Fault {
    let host = below(random, hosts);
    // Another than `host`.
    let peer = (host + 1 + below(random, hosts - 1)) % hosts;
    let (kind, longest) = match below(random, 8) {
        0..=2 => (FaultKind::Killed { host }, 6000),
        3 => (FaultKind::Partitioned { a: host, b: peer }, 12_000),
        4 => (FaultKind::OneWay { from: host, to: peer }, 12_000),
        5 => (FaultKind::Held { a: host, b: peer }, 12_000),
        6 => (FaultKind::Slow { a: host, b: peer, delay: between(random, 100, 500) }, 10_000),
        _ => (FaultKind::Lossy { percent: 1 + below(random, 5) as u32 }, 3000),
    };
    let begin = between(random, 0, LAST_BEGIN.as_millis() as usize);
    Fault { begin, end: begin + between(random, 20, longest), kind }
}

fn below(random: &mut Random, bound: usize) -> usize {
    (random.next_u64() % bound as u64) as usize
}

fn between(random: &mut Random, least: usize, most: usize) -> Duration {
    Duration::from_millis((least + below(random, most - least)) as u64)
}
