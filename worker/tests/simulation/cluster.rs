//! A whole run on simulated hosts: the server's processes and the workers as they are, on one thread, under
//! tokio's clock, with faults.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::pending;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use formats::model_file::MODEL_FILE;
use kernels::Isa;
use parameter_server::snapshot::{self, Manifest};
use parameter_server::{Door, Options, Timing};
use process::{Exit, RunFlags};
use protocol::{Connector, Patience};
use serde::Deserialize;
use settings::Wire;
use turmoil::{Builder, Sim};
use worker::actor::Place;
use worker::replica::{self, ReplicaOptions};

use crate::faults::{Fault, FaultKind};
use crate::linear::Linear;
use crate::network::{Simulated, network};

/// Training images of an epoch.
pub const IMAGES: u64 = 160;
/// Epochs of the run.
pub const EPOCHS: u64 = 3;
/// The server's processes, the leader first, then the workers.
pub const HOSTS: [&str; 5] = ["leader", "shards", "worker-0", "worker-1", "worker-2"];
/// The host to which the second process of the server moves.
const ELSEWHERE: &str = "elsewhere";
/// Name of the leader's metrics file.
const METRICS: &str = "metrics.jsonl";
/// Name of the folder that the leader writes the run's models into.
const OUTPUT: &str = "output";
/// Processes of the server.
const PROCESSES: usize = 2;

/// Hosts take turns of this length, so it is also the least time that a message takes.
const TICK: Duration = Duration::from_millis(10);
const LEAST_DELAY: Duration = Duration::from_millis(1);
const MOST_DELAY: Duration = Duration::from_millis(60);
/// A run that takes longer than this hangs.
const LONGEST: Duration = Duration::from_secs(600);
const PORT: u16 = 7070;

/// The outcome of a run.
pub struct Outcome {
    /// The newest snapshot of the leader's folder.
    pub manifest: Manifest,
    /// The balance of the account at the end, as the metrics file has it; `None` if it stayed open, because a
    /// process was away.
    pub account: Option<Account>,
    /// Time at which the last process had ended.
    pub took: Duration,
}

/// The numbers of the metrics file's line about the account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Account {
    pub used: u64,
    pub surplus_least: i64,
    pub surplus_most: i64,
    pub mismatch: Option<String>,
}

/// The ends of processes that came to an end by themselves, by host.
type Ends = Rc<RefCell<BTreeMap<&'static str, anyhow::Result<Exit>>>>;

/// One run with these faults; everything that is left to chance is drawn from `seed`.
///
/// # Errors
/// What the run did not do as it should.
pub fn simulate(seed: u64, faults: &[Fault]) -> Result<Outcome, String> {
    let home = tempfile::tempdir().map_err(|error| error.to_string())?;
    simulate_in(home.path(), seed, &HOSTS, &flags(seed), faults)
}

/// A run in the folder `home`, which may have been begun there before, of these of the hosts and with these flags.
///
/// # Errors
/// What the run did not do as it should.
pub fn simulate_in(
    home: &Path,
    seed: u64,
    hosts: &[&'static str],
    flags: &RunFlags,
    faults: &[Fault],
) -> Result<Outcome, String> {
    let mut sim = Builder::new()
        .rng_seed(seed)
        .tick_duration(TICK)
        .min_message_latency(LEAST_DELAY)
        .max_message_latency(MOST_DELAY)
        .build();
    let ends = Ends::default();
    for (host, name) in hosts.iter().copied().enumerate() {
        let connector = Connector { network: network(), patience: patience(seed, host), token: None };
        if host < PROCESSES {
            serve(&mut sim, name, name, options(flags, name, home, connector), ends.clone());
        } else {
            work(&mut sim, name, connector, ends.clone());
        }
    }
    let moved = {
        let connector = Connector { network: network(), patience: patience(seed, HOSTS.len()), token: None };
        let options = options(flags, HOSTS[1], home, connector);
        Options { advertise: Some(address(ELSEWHERE)), ..options }
    };
    let took = run(&mut sim, home, hosts, faults, &ends, moved)?;
    for (name, end) in &*ends.borrow() {
        match end {
            Ok(Exit::Done) => {}
            // Whoever was away when the run ended finds nobody any more.
            Err(error) if *name != HOSTS[0] && format!("{error:#}").contains("cannot reach") => {}
            other => return Err(format!("{name} ended with {other:?}")),
        }
    }
    let newest = snapshot::newest(&home.join(HOSTS[0])).map_err(|error| error.to_string())?;
    let manifest = newest.ok_or("there is no snapshot at the end")?;
    let account = account(&home.join(METRICS)).map_err(|error| error.to_string())?;
    let (_, model) = formats::read(&home.join(OUTPUT).join(MODEL_FILE)).map_err(|error| error.to_string())?;
    let (scored, kept) = (manifest.evaluation().map(|last| last.samples), &model.metadata["samples"]);
    if scored.map(|samples| samples.to_string()).as_ref() != Some(kept) {
        return Err(format!("the model is of {kept} samples, the last evaluation of {scored:?}"));
    }
    Ok(Outcome { manifest, account, took })
}

/// Reads the last line of a metrics file, if it is about the account.
fn account(metrics: &Path) -> anyhow::Result<Option<Account>> {
    let text = std::fs::read_to_string(metrics)?;
    let last: serde_json::Value = serde_json::from_str(text.lines().last().context("no line")?)?;
    Ok((last["kind"] == "account").then(|| serde_json::from_value(last)).transpose()?)
}

/// Steps until every process has ended, with the faults at their times; returns how long that took. `moved` are
/// the options of the second process of the server at another host.
fn run(
    sim: &mut Sim<'_>,
    home: &Path,
    hosts: &[&'static str],
    faults: &[Fault],
    ends: &Ends,
    moved: Options,
) -> Result<Duration, String> {
    let mut now = Duration::ZERO;
    let mut active: Vec<&Fault> = Vec::new();
    loop {
        let begin = faults.iter().filter(|fault| (now..now + TICK).contains(&fault.begin));
        let (over, still): (Vec<&Fault>, Vec<&Fault>) =
            active.into_iter().chain(begin.clone()).partition(|fault| fault.end < now + TICK);
        active = still;
        for fault in begin.chain(over) {
            tracing::info!(
                "{now:?}: {} {:?}",
                if active.contains(&fault) { "begin of" } else { "end of" },
                fault.kind
            );
            set(sim, home, fault.kind, &active, ends, &moved);
        }
        sim.step().map_err(|error| error.to_string())?;
        now += TICK;
        let ended = ends.borrow();
        if hosts.iter().all(|name| ended.contains_key(name)) {
            return Ok(now);
        }
        if now > LONGEST {
            let ended: Vec<_> = ended.keys().collect();
            return Err(format!("the run hangs: after {now:?} only {ended:?} have ended"));
        }
    }
}

/// Makes host or link as the active faults want it.
fn set(sim: &mut Sim<'_>, home: &Path, kind: FaultKind, active: &[&Fault], ends: &Ends, moved: &Options) {
    let kinds = || active.iter().map(|fault| fault.kind);
    match kind {
        FaultKind::Killed { host } => {
            let down = kinds().any(|other| other == kind);
            match (down, sim.is_host_running(HOSTS[host])) {
                (true, true) => sim.crash(HOSTS[host]),
                // What ended by itself stays so.
                (false, false) if !ends.borrow().contains_key(HOSTS[host]) => sim.bounce(HOSTS[host]),
                _ => {}
            }
        }
        FaultKind::Moved => match active.iter().any(|fault| fault.kind == kind) {
            true => sim.crash(HOSTS[1]),
            false => serve(sim, ELSEWHERE, HOSTS[1], moved.clone(), ends.clone()),
        },
        FaultKind::Partitioned { a, b } | FaultKind::OneWay { from: a, to: b } | FaultKind::Held { a, b } => {
            sim.release(HOSTS[a], HOSTS[b]);
            for other in kinds() {
                match other {
                    FaultKind::Held { a, b } => sim.hold(HOSTS[a], HOSTS[b]),
                    FaultKind::OneWay { from, to } => sim.partition_oneway(HOSTS[from], HOSTS[to]),
                    FaultKind::Partitioned { a, b } => sim.partition(HOSTS[a], HOSTS[b]),
                    FaultKind::Killed { .. }
                    | FaultKind::Moved
                    | FaultKind::Slow { .. }
                    | FaultKind::Lossy { .. }
                    | FaultKind::FolderLost { .. } => {}
                }
            }
        }
        FaultKind::Slow { a, b, delay } => {
            let (least, most) =
                if kinds().any(|other| other == kind) { (delay, delay) } else { (LEAST_DELAY, MOST_DELAY) };
            sim.set_link_latency(HOSTS[a], HOSTS[b], least);
            sim.set_link_max_message_latency(HOSTS[a], HOSTS[b], most);
        }
        FaultKind::Lossy { .. } => {
            let percent =
                kinds().map(|kind| if let FaultKind::Lossy { percent } = kind { percent } else { 0 });
            sim.set_fail_rate(f64::from(percent.max().unwrap_or(0)) / 100.0);
        }
        FaultKind::FolderLost { host } => {
            assert!(!sim.is_host_running(HOSTS[host]), "a process that runs has its folder");
            // At the fault's end it may be gone already.
            let _ = std::fs::remove_dir_all(home.join(HOSTS[host]));
        }
    }
}

/// A process of the server, called `name` among the ends, at a host.
fn serve(sim: &mut Sim<'_>, host: &str, name: &'static str, options: Options, ends: Ends) {
    sim.host(host, move || {
        let (options, ends) = (options.clone(), ends.clone());
        async move {
            let end = parameter_server::run(options, Simulated::bind(PORT).await?, pending()).await;
            ends.borrow_mut().insert(name, end);
            Ok(())
        }
    });
}

/// A worker.
fn work(sim: &mut Sim<'_>, name: &'static str, connector: Connector, ends: Ends) {
    let coordinator = address(HOSTS[0]);
    let options =
        ReplicaOptions { coordinator, name: name.into(), connector, place: Place::Inline, telemetry: None };
    sim.host(name, move || {
        let (options, ends) = (options.clone(), ends.clone());
        async move {
            let end = replica::run(&Linear::new(IMAGES, Duration::ZERO), &options, pending()).await;
            ends.borrow_mut().insert(name, end);
            Ok(())
        }
    });
}

fn address(host: &str) -> String {
    format!("{host}:{PORT}")
}

/// The flags of the run with this seed.
pub fn flags(seed: u64) -> RunFlags {
    // Gradients and parameters travel in another format with each seed.
    let wire = Wire::ALL[seed as usize % Wire::ALL.len()];
    RunFlags {
        epochs: Some(EPOCHS as f64),
        batch: Some(2),
        learning_rate: Some(0.1),
        seed: Some(seed),
        set: vec![("run.wire".into(), wire.name().into())],
        ..RunFlags::default()
    }
}

fn options(flags: &RunFlags, name: &str, home: &Path, connector: Connector) -> Options {
    let leader = name == HOSTS[0];
    Options {
        flags: flags.clone(),
        default_recipe: "quick".into(),
        advertise: Some(address(name)),
        coordinator: (!leader).then(|| address(HOSTS[0])),
        shards: 1,
        processes: PROCESSES as u32,
        snapshots: home.join(name),
        metrics: leader.then(|| home.join(METRICS)),
        tensorboard: None,
        output: leader.then(|| home.join(OUTPUT)),
        fresh: false,
        door: Door::Open,
        isa: Isa::scalar(),
        connector,
        http: None,
        lend: None,
        warnings: Default::default(),
        timing: Timing {
            lease: Duration::from_secs(8),
            snapshots: Duration::from_secs(2),
            farewell: Duration::from_secs(5),
        },
    }
}

/// The patience of a host: less than in earnest, so that calls that nobody answers any more end soon.
fn patience(seed: u64, host: usize) -> Patience {
    Patience {
        give_up_after: Duration::from_secs(120),
        jitter: seed.wrapping_mul(31).wrapping_add(host as u64),
        ..Patience::default()
    }
}
