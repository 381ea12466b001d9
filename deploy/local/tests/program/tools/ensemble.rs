//! `downpour ensemble`: seven models, their table, and what is wrong said before the first of them.

use std::path::Path;

use crate::support::{Ended, binary, run, text};
use crate::tools::evaluate::drawn;

fn ensemble(data: &Path, output: &Path, more: &[&str]) -> Ended {
    let mut command = binary();
    command.args(["ensemble", "--data", text(data), "--output", text(output), "--input-size", "80"]);
    run(command.args(["--width", "0.05", "--epochs", "1", "--crops", "1"]).args(more))
}

#[test]
fn seven_models_are_trained_and_scored_once() {
    let home = tempfile::tempdir().unwrap();
    let (data, output) = (drawn(home.path(), 40, 20), home.path().join("ensemble"));
    let first = ensemble(&data, &output, &["--wider", "0.1"]).expect(0);
    for part in ["\n     7       1       7 ", "top-1 errors of the models alone", "\nmodel 3: average top-1 "]
    {
        assert!(first.stdout.contains(part), "{part:?} is missing from:\n{}", first.stdout);
    }
    for (number, area) in [(1, [0.08, 1.0]), (4, [0.08, 0.6]), (5, [0.35, 1.0]), (7, [0.08, 1.0])] {
        let record = std::fs::read_to_string(output.join(format!("model-{number}/run.json"))).unwrap();
        let asked = &serde_json::from_str::<serde_json::Value>(&record).unwrap()["asked"];
        let found = [0, 1].map(|bound| asked["sampling"]["area"][bound].as_f64().unwrap() as f32);
        assert_eq!(found, area, "model {number}");
        assert_eq!(asked["run"]["sample_seed"], number);
        let width = if number == 7 { 0.1 } else { 0.05 };
        assert!((asked["network"]["width"].as_f64().unwrap() - width).abs() < 1e-6, "model {number}");
    }
    let again = ensemble(&data, &output, &["--wider", "0.1"]).expect(0);
    assert_eq!(again.stdout, first.stdout, "nothing is trained again");
}

#[test]
fn what_is_wrong_with_the_last_model_is_said_before_the_first_is_trained() {
    let home = tempfile::tempdir().unwrap();
    let (data, output) = (drawn(home.path(), 20, 10), home.path().join("ensemble"));
    let ended = ensemble(&data, &output, &["--wider", "99"]).expect(2);
    ended.says(&["failed to train the ensemble: model 7: configuration key network.width: found 99"]);
    assert!(!output.join("model-1").exists());
    run(binary().arg("ensemble")).expect(2).says(&["--data"]);
}
