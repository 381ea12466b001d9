//! Data folders: looked at before a run, away during it, and unfit for one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{Home, Running, binary, run, until};

/// A folder of drawn pictures with `train/` and `val/`.
pub(super) fn pictures(home: &Path, images: u32) -> PathBuf {
    let folder = home.join("shapes");
    let mut draw = binary();
    draw.args(["draw", "--input-size", "32", "--validation", "20"]);
    run(draw.args(["--images", &images.to_string()]).arg("--output").arg(&folder)).expect(0);
    folder
}

#[test]
fn pairs_are_drawn_with_a_picture_of_each_of_a_hundred_classes() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("pairs");
    let draw = |validation: &str| {
        let mut draw = binary();
        draw.args(["draw", "--pairs", "--input-size", "32", "--images", "100", "--validation", validation]);
        run(draw.arg("--output").arg(&folder))
    };
    draw("20").expect(2).says(&["expected at least 100 in --images and in --validation, found 100 and 20"]);
    assert!(!folder.exists());
    draw("100").expect(0);
    let found = run(binary().args(["data", "--json"]).arg(&folder)).expect(0).json();
    assert_eq!((found["classes"].as_array().unwrap().len(), found["fit"].as_bool()), (100, Some(true)));
}

#[test]
fn a_look_at_a_folder_tells_what_is_in_it() {
    let home = tempfile::tempdir().unwrap();
    let folder = pictures(home.path(), 100);
    let class = "striped ring";
    let place = folder.join("train").join(class);
    std::fs::write(place.join("notes.txt"), "mine").unwrap();
    std::fs::write(place.join("page.jpg"), "<!DOCTYPE html><html>").unwrap();
    std::fs::create_dir(folder.join("test")).unwrap();

    let shown = run(binary().arg("data").arg(&folder)).expect(0);
    for part in [
        "120 PNG images, 1 HTML page (not read), 1 other file (txt)",
        "left alone beside the classes: test/",
        "train/striped ring/page.jpg: an HTML page, download the picture again",
    ] {
        assert!(shown.stdout.contains(part), "{part} is missing from:\n{}", shown.stdout);
    }
    let found = run(binary().args(["data", "--json"]).arg(&folder)).expect(0).json();
    assert_eq!((found["training"]["pictures"].as_u64(), found["fit"].as_bool()), (Some(101), Some(true)));
    assert_eq!(found["training"]["kinds"]["PNG image"].as_u64(), Some(100));
    assert_eq!(found["classes"].as_array().unwrap().len(), 10);

    run(binary().arg("data").arg(home.path().join("nowhere"))).expect(3).says(&["is not there"]);
}

/// Nothing is started, and nothing is learnt first.
#[test]
fn a_folder_of_which_too_much_cannot_be_read_is_refused_before_the_run() {
    let home = tempfile::tempdir().unwrap();
    let folder = pictures(home.path(), 40);
    for class in std::fs::read_dir(folder.join("val")).unwrap() {
        for file in std::fs::read_dir(class.unwrap().path()).unwrap() {
            std::fs::write(file.unwrap().path(), "broken").unwrap();
        }
    }
    let output = Home::new();
    let data = folder.to_str().unwrap();
    run(&mut output.tiny(64, &["--recipe", "quick", "--data", data])).expect(3).says(&[
        "failed to train: 20 of 20 validation pictures in ",
        "cannot be read, expected at most 5 %: val/",
    ]);
    assert!(!output.output().exists(), "a run was left behind");
    let ended = run(binary().args(["data", "--json"]).arg(&folder)).expect(3);
    assert_eq!(ended.json()["fit"].as_bool(), Some(false));
}

#[test]
fn a_folder_that_is_away_for_a_moment_is_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let (folder, away) = (pictures(home.path(), 60), home.path().join("away"));
    let output = Home::new();
    let data = folder.to_str().unwrap();
    let words = ["--recipe", "quick", "--data", data, "--workers", "1", "--shards", "1"];
    let running = Running::start(&mut output.tiny(60_000, &words));
    until("training", Duration::from_secs(60), || output.log("worker-0").contains("joined the run"));
    std::fs::rename(&folder, &away).unwrap();
    until("a warning", Duration::from_secs(60), || {
        output.log("worker-0").contains("the data folder is away")
    });
    std::fs::rename(&away, &folder).unwrap();
    until("a return", Duration::from_secs(60), || output.log("worker-0").contains("the data folder is back"));
    assert!(!output.log("server-0").contains("skipped an unreadable image"), "{}", output.log("server-0"));
    crate::support::signal(running.pid(), "INT");
    running.wait().expect(130);
}

#[test]
fn a_folder_that_stays_away_stops_the_run_with_a_snapshot() {
    let home = tempfile::tempdir().unwrap();
    let (folder, away) = (pictures(home.path(), 60), home.path().join("away"));
    let output = Home::new();
    let data = folder.to_str().unwrap();
    let words =
        ["--recipe", "quick", "--data", data, "--workers", "1", "--shards", "1", "--data-patience", "2"];
    let running = Running::start(&mut output.tiny(3000, &words));
    until("training", Duration::from_secs(60), || output.log("worker-0").contains("joined the run"));
    std::fs::rename(&folder, &away).unwrap();
    let ended =
        running.wait().expect(3).says(&["has been away for 2 s", "give the same command again: it goes on"]);
    assert!(!ended.stderr.contains("--fresh"), "{}", ended.stderr);
    assert!(ended.stderr.contains("80 PNG images"), "{}", ended.stderr);
    std::fs::rename(&away, &folder).unwrap();
    let resumed = run(&mut output.tiny(3000, &[&words[..], &["--json"]].concat())).expect(0);
    assert_eq!(resumed.json()["samples"].as_u64(), Some(3000));
    assert!(
        !resumed.stderr.contains("PNG images"),
        "a run that goes on has been looked at: {}",
        resumed.stderr
    );
    assert!(output.log("server-0").contains("resuming from snapshot"), "{}", output.log("server-0"));
}

/// Pictures that are whole at their start pass the look before a run, and fail only when they are decoded.
#[test]
fn without_a_validation_picture_that_can_be_read_there_is_no_result() {
    let home = tempfile::tempdir().unwrap();
    let folder = pictures(home.path(), 40);
    for class in std::fs::read_dir(folder.join("val")).unwrap() {
        for file in std::fs::read_dir(class.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let picture = std::fs::read(&path).unwrap();
            std::fs::write(path, &picture[..picture.len() / 2]).unwrap();
        }
    }
    let words = ["--recipe", "quick", "--data", folder.to_str().unwrap(), "--workers", "1"];
    let ended = run(&mut Home::new().tiny(40, &words)).expect(3);
    ended.says(&["none of the 20 validation images can be read", "the image is truncated"]);
}

/// The accuracy is that of the others.
#[test]
fn pictures_that_cannot_be_read_are_counted_in_the_result() {
    let home = tempfile::tempdir().unwrap();
    let folder = pictures(home.path(), 40);
    for split in ["train", "val"] {
        let class = std::fs::read_dir(folder.join(split)).unwrap().next().unwrap().unwrap().path();
        let picture = std::fs::read_dir(class).unwrap().next().unwrap().unwrap().path();
        std::fs::write(picture, "broken").unwrap();
    }
    let output = Home::new();
    let words = ["--recipe", "quick", "--data", folder.to_str().unwrap(), "--workers", "1", "--json"];
    let result = run(&mut output.tiny(40, &words)).expect(0).json();
    for (key, expected) in [("validation_images", 19), ("validation_skipped", 1), ("skipped", 1)] {
        assert_eq!(result[key].as_u64(), Some(expected), "{key}");
    }
}

/// What a run put aside is what an evaluation of its model on the same folder scores.
#[test]
fn what_a_run_held_out_is_scored_by_itself() {
    let home = tempfile::tempdir().unwrap();
    let folder = pictures(home.path(), 100).join("train");
    let output = Home::new();
    let data = folder.to_str().unwrap();
    let result = run(&mut output.tiny(64, &["--recipe", "quick", "--data", data, "--json"])).expect(0).json();
    assert_eq!(result["validation_images"].as_u64(), Some(20));
    let mut evaluate = binary();
    evaluate
        .args(["evaluate", "--json", "--data", data])
        .arg("--model")
        .arg(output.output().join("model.safetensors"));
    let found = run(evaluate.arg("--output").arg(home.path().join("evaluation"))).expect(0).json();
    assert_eq!((found["images"].as_u64(), found["held_out"].as_bool()), (Some(20), Some(true)));
    assert_eq!(found["top1"], result["top1"]);
}
