//! Whole runs of the real binary: from start to finish, again, interrupted and resumed, with dying parts.

use std::time::Duration;

use crate::support::{Home, Running, run, signal, text, until};

pub(super) const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_run_ends_with_its_result_and_shows_it_again() {
    let home = Home::new();
    let ended = run(&mut home.tiny(256, &["--json", "--tensorboard"])).expect(0);
    let result = ended.json();
    assert_eq!(ended.stdout.lines().count(), 1, "stdout holds the result alone:\n{}", ended.stdout);
    assert_eq!(result["samples"], 256);
    assert_eq!(result["validation_images"], 1000);
    for share in ["top1", "top5"] {
        assert!((0.0..=1.0).contains(&result[share].as_f64().unwrap()), "{result}");
    }
    assert!(result["loss"].as_f64().unwrap() > 0.0 && result["seconds"].as_f64().unwrap() > 0.0, "{result}");

    assert!(std::fs::metadata(home.output().join("model.safetensors")).unwrap().len() > 1000);
    let training = home.metrics("train");
    assert_eq!(training.last().unwrap()["samples"], 256);
    for key in ["loss", "top1", "images_per_second", "learning_rate", "staleness_mean"] {
        assert!(training.iter().all(|line| line[key].is_f64()), "{key} is missing from {training:?}");
    }
    assert_eq!(home.metrics("evaluation").last().unwrap()["top1"], result["top1"]);
    let curve = std::fs::read_to_string(home.output().join("curve.svg")).unwrap();
    assert!(
        curve.starts_with("<svg") && curve.contains("<circle") && curve.contains("training samples used")
    );
    let [numbers, samples] = ["numbers", "samples"].map(|name| home.events(name));
    assert!(
        matches!(&numbers[..], [file] if file.contains("training/loss") && file.contains("validation/top1"))
    );
    assert!(matches!(&samples[..], [file] if file.contains("training samples")));
    for child in ["server-0", "server-1", "worker-0", "worker-1"] {
        assert!(!home.log(child).is_empty(), "{child} logged nothing");
        assert!(!home.log(child).contains("downpour1."), "{child} logged a token");
    }

    let again = run(&mut home.tiny(256, &["--json"])).expect(0).says(&["is finished", "--fresh"]);
    assert_eq!(again.json(), result);
    let people = run(&mut home.tiny(256, &[])).expect(0);
    assert!(people.stdout.contains("validation accuracy") && people.stdout.contains("1000 images"));
    // A run is the one that the record has, also where not all of it is named again.
    assert_eq!(run(&mut home.downpour(&["--json"])).expect(0).json(), result);
    run(&mut home.tiny(600, &["--seed", "2"]))
        .expect(3)
        .says(&["run.seed: the run has 1, asked for 2", "--fresh"]);
    run(&mut home.tiny(100, &[]))
        .expect(3)
        .says(&["run.images 100: the run would have 100", "at least the 256"]);
    assert_eq!(run(&mut home.tiny(256, &["--json"])).expect(0).json(), result, "it is as it was");
    let longer = run(&mut home.downpour(&["--images", "320", "--json", "--tensorboard"])).expect(0);
    let longer = longer.says(&["resuming at 256 samples"]);
    assert_eq!((longer.json()["samples"].as_u64(), home.metrics("evaluation").len()), (Some(320), 2));
    // The run that goes on has a file of its own, and its samples have been shown.
    assert_eq!(["numbers", "samples"].map(|name| home.events(name).len()), [2, 1]);
    assert!(home.log("server-0").contains("run.images is 320 from here on, and was 256"));

    let anew = run(&mut home.tiny(64, &["--fresh", "--json", "--workers", "1", "--shards", "1"])).expect(0);
    assert_eq!(anew.json()["samples"], 64);
    assert_eq!(home.metrics("evaluation").last().unwrap()["samples"], 64);
}

#[test]
fn an_interrupted_run_goes_on_to_exactly_its_samples() {
    let home = Home::new();
    let first = Running::start(&mut home.tiny(30_000, &[]));
    until("the first line of metrics", PATIENCE, || !home.metrics("train").is_empty());

    let other = run(&mut home.tiny(30_000, &[])).expect(3);
    other.says(&["in use by another downpour", &format!("process {}", first.pid()), "--output"]);

    // As GNU timeout does, to the process and to its group: two signals are one.
    signal(first.pid(), "TERM");
    signal(first.pid(), "TERM");
    let first = first.wait().expect(130);
    let first = first.says(&["stopped at", "of 30,000 samples; the same command goes on from there"]);
    assert!(first.stdout.is_empty(), "{}", first.stdout);
    // The launcher's number is the server's last, not that of its own last look.
    let (_, stopped) = first.stderr.split_once("stopped at ").unwrap();
    let stopped = stopped.split(' ').next().unwrap().replace(',', "");
    let log = home.log("server-0");
    assert!(
        log.contains(&format!("stopped after {stopped} samples; the same command goes on from there")),
        "{log}"
    );
    let before = home.metrics("train").last().map_or(0, |line| line["samples"].as_u64().unwrap());
    assert!(before < 30_000);

    let refused = run(&mut home.tiny(30_000, &["--seed", "2"])).expect(3);
    refused.says(&["run.seed is 1 there, and 2 is asked for", "--fresh"]);

    let second = run(&mut home.tiny(30_000, &["--json"])).expect(0).says(&["resuming at"]);
    assert_eq!(second.json()["samples"], 30_000);
    let samples: Vec<u64> =
        home.metrics("train").iter().map(|line| line["samples"].as_u64().unwrap()).collect();
    assert_eq!(*samples.last().unwrap(), 30_000);
    assert!(samples.is_sorted(), "a clean stop loses nothing: {samples:?}");
}

/// The terminal is closed: nothing can be written to it any more, and the run still stops in order.
#[cfg(target_os = "linux")]
#[test]
fn a_closed_terminal_stops_a_run_with_its_snapshot() {
    let home = Home::new();
    let mut launcher = Running::start(&mut home.tiny(100_000, &[]));
    until("the first line of metrics", PATIENCE, || !home.metrics("train").is_empty());
    launcher.close_output();
    signal(launcher.pid(), "HUP");
    launcher.wait().expect(130);
    let complete = std::fs::read_dir(home.output().join("snapshots")).unwrap().flatten();
    assert_eq!(complete.filter(|entry| entry.path().join("manifest.json").exists()).count(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn a_dying_worker_is_replaced_and_a_dead_launcher_leaves_nobody_behind() {
    use crate::support::processes;

    let home = Home::new();
    let output = home.output();
    let launcher = Running::start(&mut home.tiny(100_000, &[]));
    let of_run = |role: &str| processes(&["role", role, text(&output)]);
    until("training to begin", PATIENCE, || !home.metrics("train").is_empty());
    let workers = of_run("worker");
    assert_eq!(workers.len(), 2);
    assert!(of_run("downpour1.").is_empty(), "a token is on a command line");
    signal(workers[0], "KILL");
    until("another worker", PATIENCE, || {
        let now = of_run("worker");
        now.len() == 2 && !now.contains(&workers[0])
    });

    signal(launcher.pid(), "KILL");
    launcher.wait().says(&["ended unexpectedly", "started again"]);
    until("the children to end", PATIENCE, || of_run("").is_empty());
    let resumed = Running::start(&mut home.tiny(100_000, &[]));
    until("the lock of a dead launcher to be none", PATIENCE, || of_run("worker").len() == 2);
    signal(resumed.pid(), "TERM");
    // The dead worker, still a member to the server, did not keep it from its snapshot.
    resumed.wait().expect(130).says(&["resuming at"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_dying_coordinator_costs_no_more_than_the_way_back_to_the_snapshot() {
    use crate::support::processes;

    let home = Home::new();
    let output = home.output();
    let launcher = Running::start(&mut home.tiny(2000, &["--json"]));
    until("training to begin", PATIENCE, || home.log("server-0").contains("joined"));
    let coordinator = processes(&["role parameter-server", "--metrics", text(&output)]);
    signal(coordinator[0], "KILL");
    let ended = launcher.wait().expect(0);
    let ended = ended.says(&["server-0 ended unexpectedly", "all are started again; the run begins again"]);
    assert_eq!(ended.json()["samples"], 2000);
    // The log of the server that came after it says so too.
    let log = home.log("server-0");
    assert!(log.contains("the run begins again: ") && log.contains("has no complete snapshot"), "{log}");
}

/// Each time the process alone is started again, at the port that it had.
#[cfg(target_os = "linux")]
#[test]
fn a_shard_process_that_dies_three_times_takes_its_place_again() {
    use crate::support::processes;

    let home = Home::new();
    let output = home.output();
    let launcher = Running::start(&mut home.tiny(4000, &["--json"]));
    until("training to begin", PATIENCE, || home.log("server-0").contains("joined"));
    let mut killed = Vec::new();
    for _ in 0..3 {
        let mut found = Vec::new();
        until("the shard process", PATIENCE, || {
            found = processes(&["role parameter-server", "--coordinator", text(&output)]);
            found.len() == 1 && !killed.contains(&found[0])
        });
        signal(found[0], "KILL");
        killed.push(found[0]);
    }
    let ended = launcher.wait().expect(0).says(&["server-1 ended unexpectedly", "started again in 2.0 s"]);
    assert!(!ended.stderr.contains("all are started again"), "{}", ended.stderr);
    assert_eq!(ended.json()["samples"], 4000);
    assert_eq!(home.log("server-0").matches("listening on").count(), 1, "the coordinator went on");
}
