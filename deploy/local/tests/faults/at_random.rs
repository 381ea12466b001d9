//! Twelve runs in which any process is killed, told to end or stopped for a while, at any time. One that
//! fails is named, and runs alone by `DOWNPOUR_FAULT_SEED=7 cargo test -p downpour --test faults at_random`.

use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use parameter_server::snapshot::Manifest;
use rand::RngExt;
use settings::random;

use crate::ALONE;
use crate::cluster::{Cluster, Shape};
use crate::pictures;

const SEED: &str = "DOWNPOUR_FAULT_SEED";

/// Runs with faults of one test run.
const SEEDS: u64 = 12;
const SERVERS: usize = 2;
const WORKERS: usize = 2;
const EPOCHS: u64 = 16;
/// Largest excess of the loss at the end over the runs without faults.
const WORSE: f64 = 0.15;
/// Time beyond that of the runs without faults after which a run counts as held up for good. It says nothing
/// of speed, since the machine may be busy with other things.
const HELD_UP: Duration = Duration::from_secs(60);
/// Most faults of a run.
const MOST: u64 = 3;

/// Number of the signal that tells a process to end; one that does not listen yet dies of it.
const SIGTERM: i32 = 15;

/// Something that goes wrong with one process for a while.
#[derive(Debug)]
struct Fault {
    kind: FaultKind,
    process: usize,
    begin: Duration,
    end: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum FaultKind {
    /// SIGKILL, and started again at the end.
    Killed,
    /// SIGTERM, and started again at the end if it obeyed by then.
    Told,
    /// SIGSTOP, and SIGCONT at the end.
    Stopped,
}

/// The end of a run.
#[derive(Debug)]
struct Outcome {
    took: Duration,
    loss: f64,
}

#[test]
fn killed_told_to_end_and_stopped_at_random_the_run_ends_as_without() {
    // Another test's failure is no reason to fail.
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let data = tempfile::tempdir().unwrap();
    pictures::write(data.path());
    let faultless: Vec<Outcome> = (0..3).map(|_| run(data.path(), &[]).unwrap()).collect();
    println!("without faults: {faultless:?}");
    let longest = faultless.iter().map(|outcome| outcome.took).max().unwrap();
    let loss = faultless.iter().map(|outcome| outcome.loss).sum::<f64>() / faultless.len() as f64;
    let seeds = match std::env::var(SEED) {
        Ok(seed) => vec![seed.parse().expect("a seed is a number")],
        Err(_) => (0..SEEDS).collect(),
    };
    let mut failed = String::new();
    for seed in seeds {
        let faults = draw(seed, longest);
        let outcome = run(data.path(), &faults).and_then(|outcome| match outcome {
            _ if outcome.took > longest + HELD_UP => Err(format!("{outcome:?}: held up")),
            _ if outcome.loss > (1.0 + WORSE) * loss => Err(format!("{outcome:?}: too bad")),
            _ => Ok(outcome),
        });
        println!("seed {seed}: {faults:?}: {outcome:?}");
        if let Err(text) = outcome {
            writeln!(failed, "seed {seed} of {faults:#?}\n{text}").unwrap();
        }
    }
    assert!(failed.is_empty(), "without faults {longest:?} and loss {loss}\n{failed}");
}

/// Draws the faults of the run with this seed, within the time that one without faults takes.
fn draw(seed: u64, faultless: Duration) -> Vec<Fault> {
    let mut random = random::stream(seed, "faults", &[]);
    let count = random.random_range(1..=MOST);
    let fault = |_| {
        let process = random.random_range(0..SERVERS + WORKERS);
        let kind = [FaultKind::Killed, FaultKind::Told, FaultKind::Stopped][random.random_range(0..3)];
        // A stopped worker may wake up after others got its samples; for a stopped server everybody waits.
        let longest = if kind == FaultKind::Stopped && process >= SERVERS { 4500 } else { 1500 };
        // Some begin before the processes listen to signals.
        let latest = if random.random_bool(0.2) { Duration::from_millis(10) } else { faultless.mul_f64(0.9) };
        let begin = latest.mul_f64(random.random_range(0.0..1.0));
        Fault { kind, process, begin, end: begin + Duration::from_millis(random.random_range(20..longest)) }
    };
    (0..count).map(fault).collect()
}

/// A run with these faults: its end, if it ends as it should.
fn run(data: &Path, faults: &[Fault]) -> Result<Outcome, String> {
    let images = EPOCHS * pictures::IMAGES;
    let mut cluster = Cluster::start(Shape { servers: SERVERS, workers: WORKERS, images, seed: 5 }, data);
    let begun = Instant::now();
    let mut ahead: Vec<(Duration, bool, &Fault)> =
        faults.iter().flat_map(|fault| [(fault.begin, true, fault), (fault.end, false, fault)]).collect();
    ahead.sort_by_key(|(at, ..)| *at);
    let mut ahead = ahead.into_iter().peekable();
    loop {
        while let Some((_, begins, fault)) = ahead.next_if(|(at, ..)| *at <= begun.elapsed()) {
            if begins { begin(&mut cluster, fault) } else { end(&mut cluster, fault) }
        }
        for process in 0..SERVERS + WORKERS {
            let Some(status) = cluster.ended(process) else { continue };
            match (status.code(), status.signal()) {
                // Whoever was told to end, and with the leader everybody, is started again, by compose as
                // well.
                (Some(130), _) => cluster.spawn(process),
                (_, Some(SIGTERM)) if !cluster.listens(process) => cluster.spawn(process),
                (Some(0), _) => {}
                _ => return Err(format!("process {process} ended with {status}\n{}", cluster.logs())),
            }
        }
        if cluster.ended(0).is_some_and(|status| status.success()) {
            break;
        }
        cluster.pause(begun)?;
    }
    let manifest = cluster.finished()?;
    let took = begun.elapsed();
    let loss = check(&manifest, images).map_err(|text| format!("{text}\n{}", cluster.logs()))?;
    Ok(Outcome { took, loss })
}

fn begin(cluster: &mut Cluster, fault: &Fault) {
    match fault.kind {
        FaultKind::Killed => cluster.kill(fault.process),
        FaultKind::Told => cluster.signal(fault.process, "TERM"),
        FaultKind::Stopped => cluster.signal(fault.process, "STOP"),
    }
}

fn end(cluster: &mut Cluster, fault: &Fault) {
    match fault.kind {
        // Told to end, a worker hands in what it has in hand and is content.
        FaultKind::Killed | FaultKind::Told if !cluster.runs(fault.process) => cluster.spawn(fault.process),
        FaultKind::Killed | FaultKind::Told => {}
        FaultKind::Stopped => cluster.signal(fault.process, "CONT"),
    }
}

/// Loss of the averaged parameters, if every image of every epoch is accounted for.
fn check(manifest: &Manifest, images: u64) -> Result<f64, String> {
    let progress = &manifest.run.progress;
    let ledgers: Vec<(u64, u64)> =
        progress.ledgers.iter().map(|ledger| (ledger.epoch, ledger.distinct + ledger.skipped)).collect();
    if progress.used + progress.skipped != images
        || ledgers != (0..EPOCHS).map(|epoch| (epoch, pictures::IMAGES)).collect::<Vec<_>>()
    {
        return Err(format!("not every image of every epoch is accounted for: {progress:?}"));
    }
    let evaluation = manifest.evaluation().expect("a finished run was evaluated");
    Ok(evaluation.average.get("loss").expect("a classifier has a loss"))
}
