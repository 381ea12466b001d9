//! Tests of the program itself: what it prints, and its exit codes.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
};

fn server(home: &Path, words: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_parameter-server"))
        .args(words)
        .args([
            "--snapshots",
            home.join("snapshots").to_str().unwrap(),
            "--print-address",
            "--end-with-stdin",
        ])
        .env_remove("DOWNPOUR_ISA")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Returns the exit code and the last line of the log of a process that ends by itself.
fn fails(home: &Path, words: &[&str]) -> (Option<i32>, String) {
    let output = server(home, words).wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), text.lines().last().unwrap_or_default().to_string())
}

/// Returns the exit code of `parameter-server health` and its text.
fn health(address: &str) -> (Option<i32>, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_parameter-server"));
    let output = program.args(["health", "--address", address, "--deadline", "2"]).output().unwrap();
    assert_eq!(output.stdout, b"");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_address_is_printed_the_port_is_held_and_the_end_of_stdin_stops_it() {
    let home = tempfile::tempdir().unwrap();
    let mut first = server(home.path(), &["--listen", "127.0.0.1:0"]);
    let mut address = String::new();
    BufReader::new(first.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let address = address.trim();
    let expected =
        format!("failed to serve: cannot listen on {address}: address in use; choose another with --listen");
    assert_eq!(fails(home.path(), &["--listen", address]), (Some(3), expected));
    assert_eq!(health(address), (Some(0), String::new()));
    drop(first.stdin.take());
    assert_eq!(first.wait().unwrap().code(), Some(130));
    let (code, text) = health(address);
    assert!(code == Some(1) && text.starts_with(&format!("{address} does not serve: expected")), "{text}");
    let (code, text) = health("nowhere");
    assert!(code == Some(1) && text.contains("it has no port"), "{text}");
    let mut log = String::new();
    first.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains(&format!("listening on {address}")), "{log}");
}

#[test]
fn wrong_flags_and_keys_are_named() {
    let home = tempfile::tempdir().unwrap();
    let wrong = |words: &[&str]| fails(home.path(), words);
    let text = "failed to serve: configuration key run.batch: found 0, expected 1 to 4096 images";
    assert_eq!(wrong(&["--batch", "0"]), (Some(2), text.into()));
    let text = "failed to serve: recipe \"none\" is not known; expected one of quick, paper, bvlc, fine-tune";
    assert_eq!(wrong(&["--recipe", "none"]), (Some(2), text.into()));
    let (code, text) = wrong(&["--isa", "mmx"]);
    assert!(code == Some(2) && text.contains("mmx") && text.contains("scalar"), "{text}");
    assert_eq!(wrong(&["--shards", "0"]).0, Some(2));
    let (code, text) = wrong(&["--listen", "0.0.0.0:0"]);
    assert!(code == Some(3) && text.contains("name one with --advertise"), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_takes_as_many_file_descriptors_as_its_system_gives() {
    let home = tempfile::tempdir().unwrap();
    let snapshots = home.path().join("snapshots");
    let mut server = Command::new("sh")
        .args(["-c", "ulimit -S -n 64 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_parameter-server")])
        .args(["--listen", "127.0.0.1:0", "--print-address", "--end-with-stdin", "--snapshots"])
        .arg(snapshots)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.id())).unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let numbers: Vec<&str> = files.split_whitespace().collect();
    assert_eq!(numbers[0], numbers[1], "{files}");
    drop(server.stdin.take());
    assert_eq!(server.wait().unwrap().code(), Some(130));
}

/// Returns the set of signals that a process treats as `what` ("SigIgn" or "SigCgt") says, a bit for each.
#[cfg(target_os = "linux")]
fn signals(process: u32, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix(&format!("{what}:"))).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_hangup_ends_it_as_other_signals_do_and_stays_ignored_under_nohup() {
    const HANGUP: u64 = 1 << 0;
    const TERMINATE: u64 = 1 << 14;
    for (before, ends) in [("", true), ("trap '' HUP; ", false)] {
        let home = tempfile::tempdir().unwrap();
        let mut server = Command::new("sh")
            .args(["-c", &format!("{before}exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_parameter-server")])
            .args(["--listen", "127.0.0.1:0", "--print-address", "--end-with-stdin", "--snapshots"])
            .arg(home.path().join("snapshots"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut address).unwrap();
        while signals(server.id(), "SigCgt") & TERMINATE == 0 {
            assert_eq!(server.try_wait().unwrap(), None);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(signals(server.id(), "SigIgn") & HANGUP == 0, ends);
        assert!(Command::new("kill").args(["-HUP", &server.id().to_string()]).status().unwrap().success());
        if !ends {
            assert_eq!(health(address.trim()), (Some(0), String::new()));
            drop(server.stdin.take());
        }
        let ended = server.wait_with_output().unwrap();
        let log = String::from_utf8(ended.stderr).unwrap();
        assert_eq!((ended.status.code(), log.contains("SIGHUP")), (Some(130), ends), "{log}");
    }
}
