//! `downpour fetch` from a run that goes on.

use std::time::Duration;

use parameters::checkpoint::Checkpoint;

use crate::support::{Home, Running, binary, run, signal, text, until};

#[test]
fn the_parameters_of_a_run_are_fetched_while_it_trains() {
    let home = Home::new();
    let running = Running::start(&mut home.tiny(1_000_000, &["--workers", "1", "--shards", "1"]));
    until("training", Duration::from_secs(60), || home.log("worker-0").contains("joined the run"));
    let log = home.log("server-0");
    let (_, address) = log.split_once("listening on 127.0.0.1:").expect("the server says where it listens");
    let port: String = address.chars().take_while(char::is_ascii_digit).collect();
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("fetched.safetensors");
    let mut fetch = binary();
    fetch.args(["fetch", "--coordinator", &format!("127.0.0.1:{port}"), "--output", text(&model)]);
    let refused = run(fetch.arg("--last-iterate")).expect(3);
    refused.says(&[
        "does not let this process make the call status: expected a token, found none",
        "--token-file",
    ]);
    let token = |role: &str| home.output().join("access").join(role).join("token");
    let text = std::fs::read_to_string(token("worker")).unwrap();
    // What a worker may fetch, it may as well write into a file.
    run(fetch.env("DOWNPOUR_TOKEN", text)).expect(0);
    run(fetch.env("DOWNPOUR_TOKEN", "").arg("--token-file").arg(token("reader"))).expect(0);
    let fetched = Checkpoint::read(&model).unwrap();
    assert_eq!((&*fetched.metadata["input_size"], &*fetched.metadata["parameters"]), ("32", "last iterate"));
    signal(running.pid(), "INT");
    running.wait().expect(130);
}
