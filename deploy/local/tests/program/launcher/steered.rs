//! A run that is watched and steered from a shell while it goes on.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::{Home, Running, binary, run, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// Asks for a page of this machine, and returns it.
fn page(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_run_is_watched_and_steered_and_its_log_tells_who() {
    let home = Home::new();
    let launcher = Running::start(&mut home.tiny(300_000, &["--http", "127.0.0.1:0"]));
    until("the first line of metrics", PATIENCE, || !home.metrics("train").is_empty());
    let downpour = |words: &[&str]| run(binary().args(words).arg(home.output())).expect(0);
    let status = || downpour(&["status", "--json"]).json();
    let now = status();
    assert_eq!((&now["state"], &now["recipe"]), (&"training".into(), &"quick".into()));
    // Whoever came first has the first number.
    let drained = now["workers"][1]["name"].as_str().unwrap().to_string();
    assert!(["worker-0", "worker-1"].contains(&drained.as_str()), "{now}");
    let text = downpour(&["status"]).stdout;
    assert!(text.starts_with("training, ") && text.contains("worker-1"), "{text}");
    assert!(downpour(&["runs"]).stdout.contains("running"));

    let log = home.log("server-0");
    let http = log.split("http://").nth(1).and_then(|rest| rest.split('/').next()).unwrap();
    assert!(page(http, "/metrics").contains("\ndownpour_members 2\n"));
    assert!(page(http, "/").contains("<title>Downpour</title>"));

    downpour(&["rate", "0.5"]);
    downpour(&["pause"]);
    let paused = status();
    assert_eq!((&paused["state"], &paused["rate_factor"]), (&"paused".into(), &0.5.into()));
    until("the leases to be done", PATIENCE, || status()["leases"] == 0);
    let taken = downpour(&["snapshot"]).stdout;
    assert!(taken.contains(" is complete"), "{taken}");
    downpour(&["drain", "1"]);
    until("the worker to leave", PATIENCE, || status()["members"] == 1);
    downpour(&["resume"]);
    let samples = status()["samples"].as_u64();
    until("training to go on", PATIENCE, || status()["samples"].as_u64() > samples);
    downpour(&["stop"]);
    launcher.wait().expect(130);
    let log = home.log("server-0");
    for order in [
        "set the learning rate to 0.5 times that of the schedule",
        "paused the run",
        "ordered a snapshot",
        &format!("drains worker 1 ({drained})"),
        "resumed the run",
        "stops the run",
    ] {
        let line =
            log.lines().find(|line| line.contains(order)).unwrap_or_else(|| panic!("no {order}:\n{log}"));
        assert!(line.contains(" operator at 127.0.0.1:"), "{line}");
    }
    assert!(home.log(&drained).contains("the run goes on without this worker"));
    let gone = run(binary().arg("status").arg(home.output())).expect(3);
    gone.says(&["no run goes on in "]);
}
