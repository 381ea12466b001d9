//! Runs in which other machines take part; here they are this machine by another port.

use std::net::TcpListener;
use std::time::Duration;

use super::data::pictures;
#[cfg(target_os = "linux")]
use crate::support::processes;
use crate::support::{Home, Running, binary, run, signal, text, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// An address of this machine that is free now.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn another_machine_brings_a_worker_and_a_shard() {
    let (home, joined) = (Home::new(), Home::new());
    let (address, shard) = (free_address(), free_address());
    let begun = ["--advertise", &address, "--workers", "1", "--shards", "1", "--other-shards", "1"];
    let launcher = Running::start(&mut home.tiny(20_000, &begun));
    let access = home.output().join("access");
    let (worker, server) = (access.join("worker/token"), access.join("server/token"));
    until("the tokens", PATIENCE, || worker.exists() && server.exists());

    let join = |arguments: &[&str]| {
        let mut command = binary();
        command.args(["join", &address, "--token-file", text(&worker), "--threads", "1"]);
        command.arg("--output").arg(joined.output()).args(arguments);
        command
    };
    run(&mut join(&["--shard", &shard])).expect(2).says(&["--server-token-file"]);
    run(&mut join(&["--workers", "0"])).expect(2).says(&["or --shard"]);
    let with_shard = ["--shard", &shard, "--server-token-file", text(&server)];
    let other = Running::start(&mut join(&with_shard));
    until("training with both", PATIENCE, || home.metrics("train").iter().any(|line| line["workers"] == 2));
    let log = home.log("server-0");
    assert!(log.contains(&format!("shards 1 to 1 are at {shard}")), "{log}");
    let now = run(binary().args(["status", "--json"]).arg(home.output())).expect(0).json();
    let mut names: Vec<&str> =
        now["workers"].as_array().unwrap().iter().map(|worker| worker["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert!(names.len() == 2 && names.contains(&"worker-0"), "{now}");
    // A machine without a name has the process's alone.
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    assert!(names.iter().all(|name| name.ends_with("worker-0")), "{now}");
    assert!(host.trim().is_empty() || names.contains(&&*format!("{}/worker-0", host.trim())), "{now}");
    // A worker alone comes and goes.
    let mut third = binary();
    third.args(["join", &address, "--token-file", text(&worker), "--threads", "1"]);
    let alone = Home::new();
    let third = Running::start(third.arg("--output").arg(alone.output()));
    until("training with three", PATIENCE, || home.metrics("train").iter().any(|line| line["workers"] == 3));
    signal(third.pid(), "TERM");
    third.wait().expect(130).says(&["leaving"]);

    let ended = launcher.wait().expect(0);
    ended.says(&["other machines take part by: downpour join", "1 of them also with --shard"]);
    other.wait().expect(0);
}

/// The other's worker is there: whether nobody comes for longer is looked at without waiting, in the program's own tests.
#[test]
fn a_run_goes_on_with_the_workers_of_others_when_its_own_are_drained() {
    let (home, joined, address) = (Home::new(), Home::new(), free_address());
    let begun = ["--advertise", &address, "--workers", "1", "--shards", "1"];
    let launcher = Running::start(&mut home.tiny(1_000_000, &begun));
    let token = home.output().join("access/worker/token");
    until("the first line of metrics", PATIENCE, || !home.metrics("train").is_empty());
    let mut other = binary();
    other.args(["join", &address, "--token-file", text(&token), "--threads", "1"]);
    let other = Running::start(other.arg("--output").arg(joined.output()));
    until("training with both", PATIENCE, || home.metrics("train").iter().any(|line| line["workers"] == 2));
    let downpour = |words: &[&str]| run(binary().args(words).arg(home.output())).expect(0);
    let status = || downpour(&["status", "--json"]).json();
    downpour(&["drain", "0"]);
    until("the worker to leave", PATIENCE, || status()["members"] == 1);
    let samples = status()["samples"].as_u64();
    std::thread::sleep(Duration::from_secs(7));
    assert!(status()["samples"].as_u64() > samples);
    signal(launcher.pid(), "TERM");
    let ended = launcher.wait().expect(130);
    ended.says(&["all workers of this machine have left; the run goes on with 1 of others"]);
    other.wait().expect(130);
}

#[test]
fn an_address_that_does_not_do_is_said_with_the_flag_that_names_it() {
    let home = Home::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let begun =
        |address: &str| run(&mut home.tiny(1000, &["--advertise", address, "--shards", "1"])).expect(3);
    begun(&taken)
        .says(&["failed to train: cannot listen on ", "address in use; choose another with --advertise"]);
    let nowhere = begun("no-such-machine.invalid:40123");
    nowhere.says(&[
        "--advertise no-such-machine.invalid:40123: the run cannot begin",
        "or let a line in /etc/hosts",
    ]);
}

/// The coordinator, which lends them, is killed in between.
#[cfg(target_os = "linux")]
#[test]
fn a_machine_without_the_photographs_gets_them_from_the_first() {
    let photographs = tempfile::tempdir().unwrap();
    let folder = pictures(photographs.path(), 60);
    let (home, joined, address) = (Home::new(), Home::new(), free_address());
    let data = ["--recipe", "quick", "--data", text(&folder), "--workers", "1", "--shards", "1"];
    let begun = [&data[..], &["--advertise", &address, "--json"]].concat();
    let launcher = Running::start(&mut home.tiny(20_000, &begun));
    let token = home.output().join("access/worker/token");
    until("the token", PATIENCE, || token.exists());
    let mut other = binary();
    other.args(["join", &address, "--token-file", text(&token), "--threads", "1", "--picture-cache", "16"]);
    let other = Running::start(other.arg("--output").arg(joined.output()));
    until("training with both", PATIENCE, || home.metrics("train").iter().any(|line| line["workers"] == 2));
    let log = joined.log("worker-0");
    assert!(log.contains(&format!("no photographs here: they come from {address}")), "{log}");

    let output = home.output();
    let coordinator = processes(&["role parameter-server", "--metrics", text(&output)]);
    let [coordinator] = coordinator[..] else { panic!("{coordinator:?}") };
    signal(coordinator, "KILL");
    until("the joined worker's return", PATIENCE, || {
        joined.log("worker-0").matches("joined the run").count() > 1
    });
    let result = launcher.wait().expect(0).says(&["they get the photographs from here"]).json();
    other.wait().expect(0);
    // Samples of the server that was killed may count twice or not at all; every other update is accounted for.
    assert_eq!(
        (&result["samples"], &result["account"]["used"]),
        (&20_000.into(), &20_000.into()),
        "{result}"
    );
    assert!(result["account"]["mismatch"].is_null(), "{result}");
    assert_eq!((&result["skipped"], &result["validation_skipped"]), (&0.into(), &0.into()), "{result}");
}
