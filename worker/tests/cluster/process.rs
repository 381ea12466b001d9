//! The program as the shell sees it: exit codes, texts, and how it leaves.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command as AsyncCommand};
use tokio::time::timeout;

use crate::server::{Server, small};

const WORKER: &str = env!("CARGO_BIN_EXE_worker");

fn worker(words: &str) -> Output {
    Command::new(WORKER).args(words.split_whitespace()).output().unwrap()
}

#[test]
fn bad_input_is_met_with_one_line_and_its_exit_code() {
    let empty = tempfile::tempdir().unwrap();
    let empty = empty.path().display();
    for (words, code, expected) in [
        ("train --batsh 3".to_string(), 2, "unexpected argument '--batsh'"),
        ("train --threads 0".into(), 2, "0 is not in 1.."),
        ("train --batch 3".into(), 2, "unexpected argument '--batch'"),
        ("evaluate --model x".into(), 2, "unrecognized subcommand 'evaluate'"),
        ("train --isa mmx".into(), 2, "failed to train: "),
        (
            "train --data /does/not/exist".into(),
            3,
            "failed to train: data folder /does/not/exist is not there",
        ),
        (format!("train --data {empty}"), 3, "is empty: expected train/ and val/"),
        ("train --coordinator nowhere".into(), 3, "expected host:port"),
    ] {
        let output = worker(&words);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words}: {text}");
        assert!(text.contains(expected), "{words}: expected {expected:?} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminated_worker_leaves_in_good_order() {
    let server = Server::start(small(1_000_000), 1, 1).await;
    let mut child = start(&server);
    server.until(|status| status.samples > 0).await;
    let id = child.id().unwrap().to_string();
    let parent = child.stdin.take();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    left(&server, child).await;
    drop(parent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_leaves_when_its_parent_is_gone() {
    let server = Server::start(small(1_000_000), 1, 1).await;
    let mut child = start(&server);
    server.until(|status| status.samples > 0).await;
    drop(child.stdin.take());
    left(&server, child).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn divergence_is_exit_code_4() {
    let mut configuration = small(1_000_000);
    configuration.optimisation.learning_rate = 10.0;
    let server = Server::start(configuration, 1, 1).await;
    let mut child = start(&server);
    let parent = child.stdin.take();
    let output = child.wait_with_output().await.unwrap();
    drop(parent);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("try --learning-rate 5"), "{text}");
}

/// Far longer than a worker takes to leave on a busy machine, and far shorter than its patience.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(server: &Server) -> Child {
    AsyncCommand::new(WORKER)
        .args(["train", "--coordinator", &server.address, "--threads", "1", "--end-with-stdin"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Waits for a worker that is to leave. One that waited for its server or for anybody else would take minutes.
async fn left(server: &Server, child: Child) {
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("the worker leaves").unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("left the run; the rest of its samples went back"), "{text}");
    let status = server.status();
    assert_eq!((status.workers, status.leases), (0, 0), "{status:?}");
}
