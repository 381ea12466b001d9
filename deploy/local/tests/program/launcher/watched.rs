//! Runs that are watched from a shell until they end.

#[cfg(target_os = "linux")]
use std::net::TcpStream;
use std::time::Duration;

use crate::support::{Home, Running, binary, run, signal, until};
#[cfg(target_os = "linux")]
use crate::support::{processes, text};

const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a tiny run, and waits until it trains.
fn begin(home: &Home, images: u64, arguments: &[&str]) -> Running {
    let launcher = Running::start(&mut home.tiny(images, arguments));
    until("the first line of metrics", PATIENCE, || !home.metrics("train").is_empty());
    launcher
}

#[test]
fn a_watcher_ends_with_the_run_and_tells_its_result() {
    let home = Home::new();
    let launcher = begin(&home, 20_000, &["--workers", "1", "--shards", "1"]);
    let watcher = Running::start(binary().args(["status", "--watch"]).arg(home.output()));
    launcher.wait().expect(0);
    let told = watcher.wait().expect(0).stdout;
    // Whether it sees the server once more before that leaves is a matter of its looks.
    let last = told.rfind("finished").max(told.rfind("the run has ended. Its result:"));
    assert!(told.starts_with("training, ") && last.is_some(), "{told}");
}

#[test]
fn a_watcher_ends_with_a_launcher_that_is_stopped_or_killed() {
    for (name, code) in [("TERM", Some(130)), ("KILL", None)] {
        let home = Home::new();
        let launcher = begin(&home, 1_000_000, &["--workers", "1", "--shards", "1"]);
        let watcher = Running::start(binary().args(["status", "--watch", "--json"]).arg(home.output()));
        let runs = || run(binary().arg("runs").arg(home.output())).expect(0).stdout;
        assert!(runs().contains("running"));
        signal(launcher.pid(), name);
        assert_eq!(launcher.wait().code, code);
        let ended = watcher.wait().expect(0);
        let state = ended.json()["state"].clone();
        assert!(state == "interrupted" || ended.stderr.contains("has ended without a result"), "{ended:?}");
        assert!(runs().contains("stopped"), "{name}");
        assert_eq!(home.output().join("address").exists(), name == "KILL");
    }
}

/// Whoever begins a run on the port of another is not taken for that.
#[cfg(target_os = "linux")]
#[test]
fn a_watcher_by_address_ends_when_another_run_has_the_port() {
    let (home, other) = (Home::new(), Home::new());
    let launcher = begin(&home, 1_000_000, &["--workers", "1", "--shards", "1"]);
    let output = home.output();
    let address = std::fs::read_to_string(output.join("address")).unwrap();
    let address = address.trim().replace("127.0.0.1", "localhost");
    let token = output.join("access/reader/token");
    let words = ["status", "--watch", "--json", &address, "--token-file", text(&token)];
    let said = home.output().join("said");
    let watcher = Running::start(binary().args(words).stdout(std::fs::File::create(&said).unwrap()));
    until("the first look", PATIENCE, || std::fs::metadata(&said).unwrap().len() > 0);
    // The launcher must not see that its server is killed, nor the server that the launcher is.
    signal(launcher.pid(), "STOP");
    let coordinator = processes(&["role parameter-server", "--metrics", text(&output)]);
    let [coordinator] = coordinator[..] else { panic!("{coordinator:?}") };
    signal(coordinator, "KILL");
    signal(launcher.pid(), "KILL");
    until("the port to be free", PATIENCE, || TcpStream::connect(&*address).is_err());
    let advertised = ["--advertise", &address, "--workers", "1", "--shards", "1"];
    let next = begin(&other, 1_000_000, &advertised);
    watcher.wait().expect(0).says(&["has ended; it was last seen at: training, "]);
    drop(next);
}
