//! Whole runs on a simulated network. What happens there, and when, depends on a seed alone. One that fails
//! is named, and runs alone, with its log, by `DOWNPOUR_SIMULATION_SEED=7 cargo test -p worker --test
//! simulation one_run -- --nocapture`.

mod cluster;
mod faults;
#[path = "../cluster/linear.rs"]
mod linear;
mod network;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cluster::{Account, EPOCHS, HOSTS, IMAGES, Outcome, simulate, simulate_in};
use faults::{Fault, FaultKind};
use parameter_server::coordinator::SavedRun;
use parameter_server::coordinator::leases::EpochLedger;
use parameters::checkpoint::Checkpoint;
use process::RunFlags;
use process::logs::{self, LogFlags};
use protocol::Life;

const SEED: &str = "DOWNPOUR_SIMULATION_SEED";

/// Runs with faults of one test run.
const SEEDS: u64 = 200;
/// Largest excess of the loss at the end over that of the run with the same seed without faults, as a fraction
/// of the latter.
const WORSE: f64 = 0.15;
/// Begin of the line of output with that excess.
const EXCESS: &str = "excess of the loss: ";

#[test]
fn without_faults_every_image_is_used_once() {
    let outcome = simulate(0, &[]).unwrap();
    check(&outcome, f64::INFINITY).unwrap();
    let ledgers = &outcome.manifest.run.progress.ledgers;
    assert!(ledgers.iter().all(|ledger| ledger.repeated + ledger.lost == 0), "{ledgers:?}");
    let even = Account { used: EPOCHS * IMAGES, surplus_least: 0, surplus_most: 0, mismatch: None };
    assert_eq!(outcome.account, Some(even));
}

#[test]
fn a_server_process_at_another_host_takes_its_place_and_workers_find_it() {
    let seconds = |seconds: f64| Duration::from_secs_f64(seconds);
    // Before the first snapshot, after several, and at once after its death or after the lease time.
    for (seed, begin, away) in [(1, 1.0, 0.05), (2, 4.5, 0.05), (3, 4.5, 10.0), (4, 6.0, 3.0)] {
        let fault = Fault { begin: seconds(begin), end: seconds(begin + away), kind: FaultKind::Moved };
        let outcome = simulate(seed, &[fault]).unwrap();
        check(&outcome, f64::INFINITY).unwrap();
        let addresses = &outcome.manifest.run.addresses;
        assert_eq!(addresses[1], "elsewhere:7070", "{addresses:?}");
    }
}

/// Workers of the lost run, and the shards of the other process, go over to the new one and take nothing of the
/// old one with them.
#[test]
fn a_server_that_lost_its_folder_begins_a_new_run_which_ends_as_if_there_had_been_no_other() {
    let at = |kind, begin, end| Fault {
        kind,
        begin: Duration::from_millis(begin),
        end: Duration::from_millis(end),
    };
    for seed in 0..8 {
        let killed = 1000 + 400 * seed;
        let faults = [
            at(FaultKind::Killed { host: 0 }, killed, killed + 3000),
            at(FaultKind::FolderLost { host: 0 }, killed + 1000, killed + 1000),
        ];
        let outcome = simulate(seed, &faults).unwrap();
        check(&outcome, loss(&simulate(seed, &[]).unwrap())).unwrap();
        let run = &outcome.manifest.run;
        assert_eq!(run.life.count, 0, "it is the first life of a run");
        assert!(run.progress.ledgers.iter().all(|ledger| ledger.repeated + ledger.lost == 0), "{run:?}");
        assert!(run.surplus.values().flatten().all(|surplus| *surplus == 0), "{run:?}");
    }
}

/// The rate halves after 200 samples: in one run by its stairs, in the other as it goes on. With one worker both end
/// with the same bits.
#[test]
fn a_finished_run_goes_on_as_if_it_had_been_so_from_the_start() {
    let part = |images, learning_rate, stairs: [&str; 2]| {
        let mut flags = cluster::flags(0);
        (flags.epochs, flags.images, flags.learning_rate) = (None, Some(images), Some(learning_rate));
        let [factor, epochs] = stairs.map(String::from);
        // The ramp is a part of the length with which the run began.
        flags.set.extend([
            ("optimisation.ramp".into(), "0".into()),
            ("optimisation.stair_factor".into(), factor),
            ("optimisation.stair_epochs".into(), epochs),
        ]);
        flags
    };
    let (level, stairs) = (["1", "1.25"], ["0.5", "1.25"]);
    let undisturbed = end_of(&[part(400, 0.1, level)]);
    assert!(undisturbed == end_of(&[part(200, 0.1, level), part(400, 0.1, level)]), "longer");
    let halved = end_of(&[part(400, 0.1, stairs)]);
    assert!(halved != undisturbed);
    assert!(halved == end_of(&[part(200, 0.1, level), part(400, 0.05, level)]), "longer at half the rate");
}

/// Runs one worker with these flags, one after the other in one folder; returns the bits of every tensor of every
/// shard at the end.
fn end_of(parts: &[RunFlags]) -> Vec<BTreeMap<String, Vec<u32>>> {
    let home = tempfile::tempdir().unwrap();
    let mut id = 0;
    for flags in parts {
        let Outcome { manifest, .. } = simulate_in(home.path(), 0, &HOSTS[..3], flags, &[]).unwrap();
        assert_eq!((manifest.finished(), Some(manifest.run.progress.used)), (true, flags.images));
        assert!(manifest.run.progress.ledgers.iter().all(EpochLedger::complete));
        id = manifest.id;
    }
    let of = |(shard, host): (u32, &&str)| {
        let file = parameter_server::shard::file::path(&home.path().join(host), id, shard);
        let tensors = Checkpoint::read(&file).unwrap().tensors;
        let bits = |values: ndarray::ArrayD<f32>| values.iter().map(|value| value.to_bits()).collect();
        tensors.into_iter().map(|(name, values)| (name, bits(values))).collect()
    };
    (0..).zip(&HOSTS[..2]).map(of).collect()
}

#[test]
fn one_run_with_faults() {
    let seed = std::env::var(SEED).map_or(0, |seed| seed.parse().expect("a seed is a number"));
    logs::start(&LogFlags::default());
    // The runtime numbers its tasks through the whole process, and their numbers decide in which order a
    // process that is killed drops them: so this run comes first.
    let outcome = simulate(seed, &faults::draw(seed, HOSTS.len())).unwrap();
    let faultless = loss(&simulate(seed, &[]).unwrap());
    check(&outcome, faultless).unwrap();
    // The ids of run and life are random in every run.
    let run = SavedRun { life: Life::default(), ..outcome.manifest.run.clone() };
    println!("{:?} {run:?}", outcome.took);
    println!("{EXCESS}{}", loss(&outcome) / faultless - 1.0);
}

#[test]
fn whatever_fails_the_run_ends_and_every_image_is_accounted_for() {
    let (next, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let excesses = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < SEEDS)
                {
                    match alone(seed) {
                        Ok(text) => excesses.lock().unwrap().push(excess(&text)),
                        Err(log) => {
                            failed.lock().unwrap().push(seed);
                            eprintln!("seed {seed} failed; the end of its log:\n{log}");
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {SEEDS} runs failed, seeds {failed:?}", failed.len());
    let excesses = excesses.into_inner().unwrap();
    let mean = excesses.iter().sum::<f64>() / SEEDS as f64;
    let variance = excesses.iter().map(|excess| (excess - mean).powi(2)).sum::<f64>() / (SEEDS - 1) as f64;
    let error = (variance / SEEDS as f64).sqrt();
    println!("mean excess of the loss over {SEEDS} runs: {mean:.4}, standard error {error:.4}");
    assert!(mean < 2.0 * error, "faults make the loss worse by {mean} in the mean, standard error {error}");
}

/// Returns the excess of the loss in the output of [`one_run_with_faults`].
fn excess(text: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(EXCESS));
    line.expect("a run that went well tells its excess").parse().expect("a number")
}

#[test]
fn a_seed_decides_everything() {
    for seed in 0..5 {
        let [first, second] = [(); 2].map(|()| alone(seed).unwrap());
        assert_eq!(first, second, "seed {seed}");
    }
}

/// The run of that seed in a process of its own: what it printed of its end, or the end of its log.
fn alone(seed: u64) -> Result<String, String> {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args(["one_run_with_faults", "--exact", "--nocapture"])
        .env(SEED, seed.to_string())
        .output()
        .unwrap();
    if output.status.success() {
        let text = String::from_utf8_lossy(&output.stdout);
        // The harness says how long it took.
        return Ok(text.lines().filter(|line| !line.contains("finished in")).collect::<Vec<_>>().join("\n"));
    }
    let log = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = log.lines().collect();
    Err(lines[lines.len().saturating_sub(40)..].join("\n"))
}

/// Checks what must hold at the end of every run.
fn check(outcome: &Outcome, faultless: f64) -> Result<(), String> {
    let run = &outcome.manifest.run;
    let progress = &run.progress;
    if !run.finished || progress.used + progress.skipped != EPOCHS * IMAGES {
        return Err(format!("the newest snapshot is not that of the end: {progress:?}"));
    }
    let ledgers: Vec<(u64, u64)> =
        progress.ledgers.iter().map(|ledger| (ledger.epoch, ledger.distinct + ledger.skipped)).collect();
    if ledgers != (0..EPOCHS).map(|epoch| (epoch, IMAGES)).collect::<Vec<_>>() {
        return Err(format!("not every image of every epoch is accounted for: {ledgers:?}"));
    }
    if let Some(account) = &outcome.account
        && (account.used != progress.used || account.mismatch.is_some())
    {
        return Err(format!("the account does not add up: {account:?}"));
    }
    let loss = loss(outcome);
    if loss > (1.0 + WORSE) * faultless {
        return Err(format!("loss {loss}, expected at most {} times {faultless}", 1.0 + WORSE));
    }
    Ok(())
}

/// Computes the loss of the averaged parameters at the end.
fn loss(outcome: &Outcome) -> f64 {
    let evaluation = outcome.manifest.evaluation().expect("a finished run was evaluated");
    evaluation.average.get("loss").expect("a classifier has a loss")
}
