//! `downpour plan`.

use std::path::{Path, PathBuf};

use crate::support::{binary, run};

fn fleet(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../guide/fleets").join(name)
}

#[test]
fn a_fleet_is_planned_with_its_formats_time_and_price() {
    let eight = run(binary().arg("plan").arg(fleet("eight-old-machines.toml")).args([
        "--json",
        "--epochs",
        "10",
        "--noise-scale",
        "1000",
    ]))
    .expect(0)
    .json();
    let number = |key: &str| eight[key].as_f64().unwrap_or_else(|| panic!("{key} in {eight}"));
    assert_eq!(number("images"), 12_811_670.0);
    assert!((0.5..1.0).contains(&(number("images_per_second") / (8.0 * 24.0))), "{eight}");
    assert!((number("seconds") * number("images_per_second") / number("images") - 1.0).abs() < 1e-9);
    assert!((number("cost") / (8.0 * 0.02 * number("seconds") / 3600.0) - 1.0).abs() < 1e-9);
    assert!((6.0..7.0).contains(&number("useful_workers")), "{eight}");
    assert!(eight["calibration"].is_null(), "{eight}");
    let commands = eight["commands"].as_array().unwrap();
    assert!(commands[0]["command"].as_str().unwrap().ends_with("--set=run.epochs=10"), "{eight}");
    assert!(commands[1]["command"].as_str().unwrap().contains("--threads 4"), "{eight}");

    let text = run(binary().arg("plan").arg(fleet("laptop-and-friends.toml"))).expect(0).stdout;
    for expected in
        ["\nlaptop ", "\nfriends ", "\nall ", "useful workers  not known of 4", "downpour join SERVER:7070"]
    {
        assert!(text.contains(expected), "{expected:?} is missing from:\n{text}");
    }
}

/// Nobody has photographs of the synthetic set, and no formula knows when a run ceases to gain.
#[test]
fn a_plan_is_of_the_data_and_the_length_that_it_names() {
    let fleet = || {
        let mut command = binary();
        command.arg("plan").arg(fleet("laptop-and-friends.toml"));
        command
    };
    let drawn = run(fleet().args(["--recipe", "quick"])).expect(0).stdout;
    assert!(
        drawn.contains("downpour join SERVER:7070 --token-file TOKEN") && !drawn.contains("PHOTOS"),
        "{drawn}"
    );
    for own in [&["--recipe", "quick", "--training-images", "500"][..], &[]] {
        let photos = run(fleet().args(own)).expect(0).stdout;
        assert!(photos.contains("--token-file TOKEN --data PHOTOS"), "{photos}");
    }
    for words in [["--patience-epochs", "5"], ["--set", "run.patience_epochs=5"]] {
        run(fleet().args(words))
            .expect(2)
            .says(&["failed to plan: ", "no formula says when evaluations cease to gain"]);
    }
    let help = run(binary().args(["plan", "--help"])).expect(0).stdout;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for expected in
        ["or fine-tune [default: the file's, else paper]", "Classes [default: ILSVRC-2012's 1000;"]
    {
        assert!(help.contains(expected), "{expected:?} is missing from {help}");
    }
    assert!(!help.contains("--data") && !help.contains("--patience-epochs"), "{help}");
}

/// The guide has the plans of its fleets as they are printed.
#[test]
fn the_guides_plans_are_as_printed() {
    let guide = std::fs::read_to_string(fleet("../plan.md")).unwrap();
    for name in
        ["one-machine", "eight-old-machines", "thirty-spot-machines", "laptop-and-friends", "a-shard-on-each"]
    {
        let file = fleet(&format!("{name}.toml"));
        let description = std::fs::read_to_string(&file).unwrap();
        assert!(guide.contains(&format!("```toml\n{description}```")), "{name}.toml is another in the guide");
        let printed = run(binary().arg("plan").arg(file).args(["--noise-scale", "1000"])).expect(0).stdout;
        assert!(
            guide.contains(&format!("```text\n{printed}```")),
            "{name}: the guide lacks this plan:\n{printed}"
        );
    }
}

#[test]
fn without_a_speed_this_machine_is_measured() {
    let words = "plan --recipe quick --batch 2 --input-size 80 --threads 1 --seconds 0 --set network.auxiliary_heads=false --json";
    let alone = run(binary().args(words.split(' '))).expect(0).json();
    let (speed, measured) = (&alone["images_per_second"], &alone["calibration"]["one"]);
    assert!((speed.as_f64().unwrap() / measured.as_f64().unwrap() - 1.0).abs() < 1e-9, "{alone}");
    assert_eq!(alone["groups"][0]["gradients"], "f32");
    assert_eq!(alone["images"], 90_000);
}

#[test]
fn what_is_wrong_with_a_fleet_is_told_with_its_key() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("fleet.toml");
    let machine = "[[machines]]\nname = \"a\"\n";
    for (text, expected) in [
        ("", "missing field `machines`"),
        ("machines = []", "machines: found 0 in all groups, expected 1 to 1024"),
        ("[[machines]]\ncount = 2", "missing field `name`"),
        ("[[machines]]\nname = \"a\"\ncuont = 2", "unknown field `cuont`, expected one of `name`, `count`,"),
        ("[[machines]]\nname = \"a\"\ncount = 0", "found 0, expected 1 to 1024 machines"),
        ("[[machines]]\nname = \"a\"\ncount = -1", "line 3, column 9"),
        ("[[machines]]\nname = \"a\"\nlink_mbit = nan", "found NaN, expected 0.001 to 1000000 Mbit/s"),
        ("[[machines]]\nname = \"\"", "found \"\", expected 1 to 40 characters"),
        ("[[machines]]\nname = \"a\"\npreemptions_per_hour = 1e300", "expected 0 to 60 an hour"),
        ("[server]\nprocesses = 0\n[[machines]]\nname = \"a\"", "found 0, expected 1 to 256 processes"),
        (
            "[server]\nprocesses = 2\n[[machines]]\nname = \"a\"\ncount = 8\nat_server = true",
            "server.processes: found 2, expected none named, as the 8 machines with at_server have one each",
        ),
        (
            "[[machines]]\nname = \"a\"\nat_server = true\npreemptions_per_hour = 1",
            "found preemptions_per_hour = 1, expected machines that stay",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        run(binary().arg("plan").arg(&path)).expect(2).says(&["failed to plan: ", "fleet.toml", expected]);
    }
    let many = machine.replace("\"a\"", "\"a\"\ncount = 1024").repeat(2);
    std::fs::write(&path, many).unwrap();
    run(binary().arg("plan").arg(&path)).expect(2).says(&["found 2048 in all groups"]);
    run(binary().args(["plan", "/does/not/exist"]))
        .expect(2)
        .says(&["cannot read configuration file /does/not/exist"]);
}
