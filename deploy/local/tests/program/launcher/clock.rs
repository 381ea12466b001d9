//! A wall clock that jumps: nothing waits or expires by it, and logs say what it says.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::process::Command;

use crate::support::{Home, run, text};

#[test]
fn a_clock_that_jumps_by_a_century_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("jumping_clock.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/launcher/jumping_clock.c");
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o", text(&library), source]).status();
    if compiled.is_err() {
        eprintln!("a_clock_that_jumps_by_a_century_changes_nothing: skipped: no C compiler (cc) here");
        return;
    }
    assert!(compiled.unwrap().success());
    let year = Command::new("date").arg("+%Y").env("LD_PRELOAD", &library).output().unwrap().stdout;
    assert!([&b"1999\n"[..], b"2099\n"].contains(&&year[..]), "the clock did not jump: {year:?}");
    let home = Home::new();
    let ended = run(home.tiny(1024, &["--json"]).env("LD_PRELOAD", &library)).expect(0);
    assert_eq!(ended.json()["samples"], 1024);
    for child in ["server-0", "server-1", "worker-0", "worker-1"] {
        let log = home.log(child);
        assert!(
            ["1999-01-01T", "2099-01-01T"].contains(&&log[..11])
                && !log.contains("WARN")
                && !log.contains("ERROR"),
            "{child}: {log}"
        );
    }
    // Every sample was used once: no lease ran out.
    assert!(home.log("server-0").contains("repeated=0 skipped=0 lost=0"), "{}", home.log("server-0"));
}
