//! Simulated runs of a very small network on the synthetic set.

use std::process::Command;
use std::sync::Arc;

use dataset::Dataset;
use kernels::{Isa, Pool};
use network::{Architecture, GoogLeNet};
use parameter_server::update_rule;
use protocol::UpdateRule;
use settings::{MomentumPlace, Optimisation, Sampling, Wire};
use simulation::{Cluster, Link, Machine, Method, Report, Run, simulate};
use worker::link::Formats;

/// A way of training, and where momentum lives.
type Way = (Method, MomentumPlace);

/// A run of `images` images on a cluster.
fn run(cluster: Cluster, (method, momentum_at): Way, images: u64) -> Run {
    let mut configuration = settings::recipe("quick").unwrap();
    configuration.run.images = Some(images);
    let architecture = Architecture {
        classes: 10,
        input_size: 32,
        width: 0.1,
        auxiliary_heads: false,
        ..Architecture::paper()
    };
    Run {
        cluster,
        method,
        network: Arc::new(GoogLeNet::new(&architecture).unwrap()),
        dropout: None,
        dataset: Arc::new(Dataset::synthetic(96, 20, 32)),
        sampling: Sampling::default(),
        seed: 3,
        warm_start: None,
        rule: update_rule::of(&configuration, 96),
        optimisation: Optimisation {
            momentum_at,
            clip_tensors: Some(1.0),
            clip_norm: None,
            ..configuration.optimisation
        },
        batch: 16,
        evaluate_every: 64,
        until: None,
        isa: Isa::detect(),
        pool: Arc::new(Pool::new(1).unwrap()),
    }
}

fn report(cluster: Cluster, way: Way, images: u64) -> Report {
    Report { real_seconds: 0.0, ..simulate(&run(cluster, way, images), |_| {}).unwrap() }
}

const OWN: Way = (Method::Asynchronous, MomentumPlace::Worker);
const SHARED: Way = (Method::Asynchronous, MomentumPlace::Shard);
const TOGETHER: Way = (Method::Synchronous, MomentumPlace::Worker);

#[test]
fn a_simulated_run_is_the_same_each_time_it_is_made() {
    let [first, second] = [(); 2].map(|()| serde_json::to_string(&report(Cluster::of(3), OWN, 320)).unwrap());
    assert_eq!(first, second);
}

#[test]
fn every_image_is_used_once_and_each_evaluation_is_there() {
    for (workers, way) in [(1, OWN), (4, OWN), (4, SHARED), (4, TOGETHER)] {
        let found = report(Cluster::of(workers), way, 320);
        assert_eq!((found.images, found.repeated, found.refused), (320, 0, 0), "{way:?}");
        assert_eq!(found.evaluations.last().unwrap().images, 320, "{way:?}");
        assert_eq!(found.staleness_max > 0, workers > 1 && way != TOGETHER, "{way:?}");
    }
}

/// Steps of a second on machines that do not jitter, and transfers whose lengths are known.
#[test]
fn time_is_that_of_steps_and_transfers() {
    let plain = Cluster { jitter: 0.0, ..Cluster::of(1) };
    let steps = 320.0 / 16.0;
    let free = report(plain.clone(), TOGETHER, 320);
    assert!((free.seconds - steps).abs() < 1e-9, "{}", free.seconds);
    assert_eq!(free.computing, 1.0);
    // All parameters take two seconds up, of which two thirds of one are hidden behind backward, and two
    // down.
    let bytes = free.bytes_up as f64 / steps;
    let mut linked = plain.clone();
    linked.machines[0].link = Link { up: Some(bytes / 2.0), down: Some(bytes / 2.0) };
    linked.machines[0].round_trip = 0.5;
    let found = report(linked, TOGETHER, 320);
    let expected = steps * (1.0 / 3.0 + 2.0 + 2.0 + 0.5);
    assert!((found.seconds - expected).abs() < 1e-6, "{}, expected {expected}", found.seconds);
    // At the server, four workers' transfers stand in line.
    let shared = Link { up: Some(bytes / 2.0), down: Some(bytes / 2.0) };
    let crowded = report(Cluster { server: shared, jitter: 0.0, ..Cluster::of(4) }, OWN, 320);
    assert!(crowded.seconds > steps / 4.0 * 8.0 - 8.0, "{}", crowded.seconds);
    assert!(crowded.receiving > 0.9, "{}", crowded.receiving);
}

/// Parameters of one part come back while gradients of the next are on their way.
#[test]
fn both_ways_are_in_use_at_once() {
    let plain = Cluster { jitter: 0.0, ..Cluster::of(1) };
    let steps = 320.0 / 16.0;
    let free = report(plain.clone(), OWN, 320);
    let bytes = free.bytes_up as f64 / steps;
    for (up, down) in [(2.0, 1.0), (1.0, 2.0), (2.0, 2.0)] {
        let mut linked = plain.clone();
        linked.machines[0].link = Link { up: Some(bytes / up), down: Some(bytes / down) };
        linked.machines[0].round_trip = 0.5;
        let found = report(linked, OWN, 320);
        // The run ends when the last gradients have arrived; it began within half a step.
        let (cycle, last) = (1.0 / 3.0 + 2.0 + 0.5, 1.0 / 3.0 + up + 0.25);
        let begin = found.seconds - (steps - 1.0) * cycle - last;
        assert!((-1e-6..0.5).contains(&begin), "{up} s up, {down} s down: {} s, {begin}", found.seconds);
    }
}

#[test]
fn a_slow_machine_holds_up_no_other() {
    let machines = vec![Machine::of(60.0), Machine::of(1.0)];
    let found = report(Cluster { machines, ..Cluster::of(2) }, OWN, 320);
    assert!(found.seconds < 24.0, "{} s for twenty steps of the fast one", found.seconds);
}

#[test]
fn the_servers_own_machine_uses_no_link() {
    let slow = Link { up: Some(1.0), down: Some(1.0) };
    let machines = vec![Machine { at_server: true, link: slow, ..Machine::of(1.0) }];
    let found = report(Cluster { machines, server: slow, ..Cluster::of(1) }, OWN, 320);
    assert!(found.seconds < 24.0, "{}", found.seconds);
    assert_eq!((found.receiving, found.sending), (0.0, 0.0));
}

#[test]
fn the_images_of_lost_workers_are_computed_again() {
    let mut cluster = Cluster::of(3);
    cluster.machines.iter_mut().for_each(|one| (one.between_losses, one.away) = (Some(4.0), 1.0));
    let found = report(cluster, OWN, 640);
    assert!(found.repeated > 0, "{found:?}");
    assert_eq!(found.images, 640);
}

/// Parameters are fetched when a lost worker is back, not when it is lost.
#[test]
fn a_worker_that_is_back_has_the_newest_parameters() {
    let mut cluster = Cluster::of(2);
    (cluster.machines[0].between_losses, cluster.machines[0].away) = (Some(5.0), 20.0);
    let found = report(cluster, OWN, 960);
    assert!(found.repeated > 0, "{found:?}");
    assert!(found.staleness_max < 4, "{}", found.staleness_max);
}

#[test]
fn a_run_ends_at_the_accuracy_that_was_asked_for() {
    let mut asked = run(Cluster::of(1), OWN, 100_000);
    asked.until = Some(0.05);
    let found = simulate(&asked, |_| {}).unwrap();
    assert!(found.images < 1000, "{}", found.images);
    assert!(found.first_at(0.05).is_some());
}

/// Gradients of few bits train as those of all, since what their format leaves over goes with the next, while an
/// eighth or a 28th of the bytes travel.
#[test]
fn gradients_and_parameters_of_few_bits_train_as_those_of_all() {
    // So few images, always cropped the same, are learnt by heart in a few steps; in twice as many, where most
    // values wait to be sent.
    const IMAGES: u64 = 8_000;
    let trained = |gradients: Wire, parameters: Wire| {
        let images = if gradients.is_of_largest() { 2 * IMAGES } else { IMAGES };
        let formats = Formats { gradients, parameters };
        let machines = vec![Machine { formats, ..Machine::of(1.0) }; 2];
        let run = run(Cluster { machines, ..Cluster::of(2) }, OWN, images);
        let architecture = Architecture { width: 0.25, ..run.network.architecture().clone() };
        let run = Run {
            network: Arc::new(GoogLeNet::new(&architecture).unwrap()),
            dataset: Arc::new(Dataset::synthetic(32, 20, 32)),
            sampling: Sampling { area: [1.0, 1.0], aspect: [1.0, 1.0], mirror: false, ..run.sampling },
            rule: UpdateRule { learning_rate: 0.002, ..run.rule },
            evaluate_every: 800,
            ..run
        };
        simulate(&run, |_| {}).unwrap()
    };
    let exact = trained(Wire::F32, Wire::F32);
    let loss = |report: &Report| report.evaluations.last().unwrap().training_loss;
    assert!(loss(&exact) < 1.5, "{}, by chance {}", loss(&exact), 10f64.ln());
    // The fewer bits, the more slowly; by chance the loss is over 1.6 worse.
    for (wire, part, worse) in [
        (Wire::Bf16, 1.9, [0.2, 0.2]),
        (Wire::Bits8, 3.5, [0.2, 0.2]),
        (Wire::Bits4, 7.0, [0.2, 0.2]),
        (Wire::Bits1, 20.0, [0.35, 0.5]),
        (Wire::TopPercent, 20.0, [-0.3, -0.3]),
        (Wire::TopPermille, 20.0, [-0.3, -0.3]),
    ] {
        for (parameters, worse) in [Wire::F32, wire].into_iter().zip(worse) {
            let coded = trained(wire, parameters);
            let longer = (coded.images / exact.images) as f64;
            let less = |exact: u64, coded: u64| longer * exact as f64 / coded as f64;
            let (up, down) = (less(exact.bytes_up, coded.bytes_up), less(exact.bytes_down, coded.bytes_down));
            let (few, all) = (loss(&coded), loss(&exact));
            println!(
                "{wire}, {parameters}: {up:.1} and {down:.1} times fewer bytes, loss {few:.3}, {all:.3}"
            );
            let least_down = if parameters == Wire::F32 { 0.999 } else { part };
            assert!(up > part && down > least_down, "{wire}, {parameters}");
            assert_eq!(coded.refused, 0, "{wire}, {parameters}");
            assert!(few - all < worse, "{wire}, {parameters}");
        }
    }
}

/// The table of speed-ups says what is wrong with its flags, without the trace of a program.
#[test]
fn flags_that_the_table_of_speed_ups_cannot_have_are_told() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/speedup.py");
    for (words, expected) in [
        (
            ["--images", "1600"],
            "--images 1600: expected at least 2000, the images over which the learning rate rises",
        ),
        (
            ["--program", "/does/not/exist"],
            "--program /does/not/exist: there is no such program; make it by cargo",
        ),
        // A program that fails.
        (["--program", "false"], "--json: exit code 1; what it says is above"),
    ] {
        let Ok(ended) = Command::new("python3").arg(script).args(words).output() else {
            return; // no Python is here
        };
        let text = String::from_utf8(ended.stderr).unwrap();
        assert!(!ended.status.success() && text.contains(expected) && !text.contains("Traceback"), "{text}");
    }
}
