//! Runs that are gone on with: with less named than at first, refused, and after an early end.

use std::path::Path;

use super::data::pictures;
use super::whole_run::PATIENCE;
use crate::support::{Home, Running, TINY, run, signal, text, until};

/// The record of a run, as text.
fn record(home: &Home) -> String {
    std::fs::read_to_string(home.output().join("run.json")).unwrap()
}

/// Begins a run of small photographs and stops it.
fn stopped(home: &Home, photos: &Path) {
    let begun = Running::start(&mut home.tiny(30_000, &["--recipe", "quick", "--data", text(photos)]));
    until("the first line of metrics", PATIENCE, || !home.metrics("train").is_empty());
    signal(begun.pid(), "TERM");
    let ended = begun.wait().expect(130);
    assert!(!ended.stderr.contains("waiting for 127."), "a server that ends is called:\n{}", ended.stderr);
}

#[test]
fn a_refused_call_leaves_the_run_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let photos = pictures(folder.path(), 60);
    let home = Home::new();
    stopped(&home, &photos);
    let before = record(&home);
    assert!(!before.contains("commit "), "the hash alone: {before}");
    let elsewhere = tempfile::tempdir().unwrap();
    let others = pictures(elsewhere.path(), 50);
    let missing = folder.path().join("missing");
    for (words, said) in [
        (&["--images", "10"][..], "run.images 10: the run would have 10 samples, expected at least the "),
        (&["--seed", "5"], "run.seed is 1 there, and 5 is asked for"),
        (&["--images", "45000", "--data", text(&others)], "the data is not the run's"),
        (&["--images", "45000", "--data", text(&missing)], "missing is not there"),
        (&["--fresh", "--data", text(&missing)], "missing is not there"),
        (&["--shards", "1"], "was written by 2 shards"),
    ] {
        let refused = run(&mut home.downpour(words)).expect(3).says(&[said]);
        assert!(!refused.stderr.contains("waiting for 127."), "{}", refused.stderr);
        assert_eq!(record(&home), before, "{words:?}");
    }
}

#[test]
fn the_data_of_a_run_is_known_by_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let photos = pictures(folder.path(), 60);
    let home = Home::new();
    stopped(&home, &photos);
    let shown = photos.canonicalize().unwrap();
    let data = format!("data: {}, as run.json has it", shown.display());
    let paper = ["--json", "--images", "30100"];
    let ended = run(&mut home.downpour(&paper)).expect(0).says(&[&data, "recipe quick: ", "resuming at"]);
    assert_eq!(ended.json()["samples"], 30_100);
    let longer = run(&mut home.downpour(&["--json", "--images", "30200"])).expect(0).says(&[&data]);
    assert_eq!(longer.json()["samples"], 30_200);
    run(&mut home.downpour(&[])).expect(0);
    let calls: serde_json::Value = serde_json::from_str(&record(&home)).unwrap();
    assert_eq!(calls["calls"].as_array().unwrap().len(), 4, "also the one that only shows the result");
    let before = record(&home);
    std::fs::rename(&photos, folder.path().join("away")).unwrap();
    run(&mut home.downpour(&["--images", "30300"])).expect(3).says(&[text(&shown), "is not there"]);
    assert_eq!(record(&home), before);
}

#[test]
fn a_run_that_ended_early_goes_on_with_more_patience() {
    let folder = tempfile::tempdir().unwrap();
    let photos = pictures(folder.path(), 60);
    let home = Home::new();
    let every = ["--set", "run.evaluate_epochs=1", "--set", "run.evaluate_last_iterate=true"];
    let words = ["--recipe", "quick", "--data", text(&photos), "--epochs", "800", "--patience-epochs", "2"];
    let early = run(home.downpour(&TINY).args(every).args(words).arg("--json")).expect(0).json();
    let samples = early["samples"].as_u64().unwrap();
    assert_eq!(early["patience_epochs"].as_f64(), Some(2.0), "{early}");
    assert!(samples < 800 * 60, "{early}");
    run(&mut home.downpour(&[]))
        .expect(0)
        .says(&["it ended early, and its patience of 2 epochs is kept: a larger --patience-epochs goes on"]);
    run(&mut home.downpour(&["--epochs", "900"]))
        .expect(3)
        .says(&["its patience of 2 epochs is kept, ", "give a larger --patience-epochs than that too"]);
    // As long as the run was to be, but not so much at once.
    let whole = (samples + 100).to_string();
    let patient = ["--patience-epochs", "1000", "--images", &whole, "--json"];
    let longer = run(&mut home.downpour(&patient)).expect(0).json();
    assert_eq!(longer["samples"].as_u64(), Some(samples + 100));
    assert!(longer["patience_epochs"].is_null(), "{longer}");
}

/// Killed as often as it is started.
#[cfg(target_os = "linux")]
#[test]
fn a_run_that_is_given_up_names_a_log_and_how_it_goes_on() {
    use crate::support::processes;

    let home = Home::new();
    let output = home.output();
    let launcher = Running::start(&mut home.tiny(100_000, &[]));
    for lives in 1..=3 {
        let begun = || home.log("server-0").matches(" joined (").count() >= 2 * lives;
        until("training to begin", PATIENCE, begun);
        let coordinator = processes(&["role parameter-server", "--metrics", text(&output)]);
        signal(coordinator[0], "KILL");
    }
    launcher.wait().expect(1).says(&[
        "server-0 ended unexpectedly",
        "\nits log is ",
        "logs/server-0.log\nthe run stopped ",
        "; the same command begins again",
    ]);
}
