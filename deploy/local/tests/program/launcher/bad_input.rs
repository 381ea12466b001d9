//! Mistakes of a user: each ends with its exit code and a text that says what to do, and nothing is lost.

use crate::support::{Home, TINY, binary, run, text};

#[test]
fn a_wrong_flag_names_itself() {
    let home = Home::new();
    run(&mut home.downpour(&["--bacth", "3"])).expect(2).says(&["--bacth", "--batch"]);
    run(&mut home.downpour(&["--batch", "many"])).expect(2).says(&["many", "--batch"]);
    run(&mut home.downpour(&["--isa", "mmx"])).expect(2).says(&["mmx", "avx2"]);
    run(&mut home.downpour(&["--batch", "0"])).expect(2).says(&["run.batch", "1 to 4096"]);
    run(&mut home.downpour(&["--recipe", "papper"])).expect(2).says(&["papper", "quick, paper"]);
    assert!(!home.output().exists());
}

#[test]
fn a_wrong_configuration_key_is_named_with_its_line() {
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my.toml");
    std::fs::write(&file, "recipe = \"mine\"\nbacth = 3\n").unwrap();
    run(&mut home.downpour(&["--config", text(&file)])).expect(2).says(&["my.toml", "line 2", "bacth"]);
    let none = folder.path().join("none.toml");
    run(&mut home.downpour(&["--config", text(&none)])).expect(2).says(&[
        "cannot read",
        "none.toml",
        "with --config",
    ]);
    assert!(!home.output().exists());
}

/// Nothing is started, nothing is written, and what an earlier run left stays. Other systems are not asked.
#[cfg(target_os = "linux")]
#[test]
fn a_batch_that_no_memory_holds_is_refused_at_once_with_one_that_fits() {
    let home = Home::new();
    let large = ["--recipe", "paper", "--batch", "4096", "--input-size", "2048"];
    let ended = run(&mut home.downpour(&large)).expect(2);
    ended.says(&["with a batch of 4096 needs ", " GiB of memory, this machine has ", "choose "]);
    assert!(!home.output().exists());
    let snapshots = home.output().join("snapshots");
    std::fs::create_dir_all(&snapshots).unwrap();
    std::fs::write(home.output().join("run.json"), r#"{"program":"downpour"}"#).unwrap();
    run(home.downpour(&large).arg("--fresh")).expect(2).says(&["with a batch of 4096 needs "]);
    assert!(snapshots.exists());
}

#[test]
fn a_network_that_cannot_be_built_is_refused_before_anything_starts() {
    let home = Home::new();
    let small = ["--recipe", "paper", "--input-size", "64"];
    run(&mut home.downpour(&small)).expect(2).says(&["auxiliary heads", "at least 79", "--no-aux"]);
    let large = ["--recipe", "paper", "--input-size", "2048", "--width", "4"];
    run(&mut home.downpour(&large)).expect(2).says(&["the network is too large", "--width"]);
    assert!(!home.output().exists());
}

#[test]
fn a_data_folder_that_cannot_be_used_is_told_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    for (data, words) in
        [(folder.path().join("no-such-folder"), "no-such-folder"), (folder.path().to_path_buf(), "class")]
    {
        let home = Home::new();
        run(&mut home.downpour(&["--data", text(&data)])).expect(3).says(&[words, text(&data)]);
        assert!(!home.output().exists(), "a run was left behind");
        std::fs::create_dir(home.output()).unwrap();
        run(&mut home.downpour(&["--data", text(&data)])).expect(3);
        assert_eq!(std::fs::read_dir(home.output()).unwrap().count(), 0, "a run was left behind");
    }
}

#[test]
fn a_model_file_and_classes_that_do_not_fit_are_told_before_anything_starts() {
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("photos");
    let drawn = ["draw", "--images", "20", "--validation", "10", "--output", text(&photos)];
    run(binary().args(drawn)).expect(0);
    let classes = ["--data", text(&photos), "--recipe", "quick", "--classes", "3"];
    let ended = run(home.downpour(&TINY).args(classes)).expect(2);
    ended.says(&["failed to train: --classes 3: ", " has 10 classes"]);
    let page = folder.path().join("model.safetensors");
    std::fs::write(&page, "<!DOCTYPE html><html>not found</html>").unwrap();
    let ended = run(home.downpour(&TINY).args(["--init-from", text(&page)])).expect(3);
    ended.says(&["failed to train: start from a model (--init-from): ", "model.safetensors"]);
    assert!(!home.output().exists(), "a run was left behind");
}

#[test]
fn a_foreign_folder_is_not_touched() {
    let home = Home::new();
    std::fs::create_dir(home.output()).unwrap();
    let thesis = home.output().join("model.safetensors");
    std::fs::write(&thesis, "two years of work").unwrap();
    for arguments in [&[][..], &["--fresh"]] {
        run(&mut home.downpour(arguments)).expect(3).says(&[
            "model.safetensors",
            "nothing was touched",
            "--output",
        ]);
    }
    assert_eq!(std::fs::read_to_string(&thesis).unwrap(), "two years of work");
    assert_eq!(std::fs::read_dir(home.output()).unwrap().count(), 1);
}

#[test]
fn an_output_path_that_is_a_file_is_refused() {
    let home = Home::new();
    std::fs::write(home.output(), "x").unwrap();
    run(&mut home.downpour(&[])).expect(3).says(&[
        "cannot create the output folder",
        "expected a folder, found the file",
        "with --output",
    ]);
}

#[test]
fn a_port_in_use_is_told_by_its_address() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut server = binary();
    server.args(["role", "parameter-server", "--listen", &address, "--shards", "1"]);
    run(&mut server).expect(3).says(&[&address, "in use"]);
}

#[test]
fn divergence_names_the_rate_to_try() {
    let home = Home::new();
    // One worker: what several do depends on how they come to each other. The recipe's clip would keep the
    // loss finite.
    let alone = ["--workers", "1", "--images", "5000", "--learning-rate", "8"];
    let unclipped = ["--set", "optimisation.clip_norm=1000000000"];
    let ended = run(home.downpour(&TINY).args(alone).args(unclipped)).expect(4);
    ended.says(&["diverged", "at learning rate 8", "try --learning-rate 4 --fresh"]);
    assert!(home.output().join("curve.svg").exists(), "what was seen until then is drawn");
}
