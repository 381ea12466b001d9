//! What is typed: commands, slips, and folders where a command should stand.

use crate::support::{binary, run};

#[test]
fn a_word_that_is_no_command_is_asked_back() {
    run(binary().arg("photos")).expect(2).says(&["'photos'", "--data photos? "]);
    run(binary().args(["train", "photos"])).expect(2).says(&["'photos'", "--data photos? "]);
    run(binary().arg("evalute")).expect(2).says(&["'evalute'", "similar subcommand", "'evaluate'"]);
    run(binary().args(["evaluate", "--crop", "10"])).expect(2).says(&["'--crop'", "'--crops'"]);
}

#[test]
fn help_lists_every_command_and_explains_each() {
    let all = run(binary().arg("help")).expect(0).stdout;
    let commands = [
        "train", "evaluate", "classify", "export", "fetch", "ensemble", "data", "samples", "draw",
        "describe", "bench", "plan", "simulate",
    ];
    for command in commands {
        assert!(all.contains(&format!("\n  {command} ")), "{command} is missing from:\n{all}");
        let own = run(binary().args(["help", command])).expect(0).stdout;
        assert!(own.contains(&format!("Usage: downpour {command}")), "{own}");
        assert_eq!(run(binary().args([command, "--help"])).expect(0).stdout, own);
    }
}

#[test]
fn what_is_wrong_with_a_command_is_one_line_with_its_exit_code() {
    for (words, code, expected) in [
        (
            "describe --input-size 64",
            2,
            "failed to describe the network: the auxiliary heads pool 5x5 windows",
        ),
        ("bench --isa mmx --steps 1", 2, "failed to bench: "),
        (
            "bench --batch 4096 --input-size 2048 --steps 1",
            2,
            "failed to bench: a training step with a batch of 4096",
        ),
        (
            "classify a.jpg --model /does/not/exist",
            3,
            "failed to classify: there is no model /does/not/exist: expected a model file, ",
        ),
        ("export --format onnx --output /x --model /does/not/exist", 3, "failed to export the model: "),
        (
            "samples --data /does/not/exist",
            3,
            "failed to draw samples: data folder /does/not/exist is not there",
        ),
        ("draw --output /proc/none", 3, "failed to draw: "),
        (
            "draw --pairs --images 50 --output /proc/none",
            2,
            "failed to draw: --pairs makes a hundred classes",
        ),
        ("simulate --classes 3", 2, "--classes 3: the data has 10 classes"),
        ("data /does/not/exist", 3, "failed to look at the data: data folder /does/not/exist is not there"),
        ("fetch --coordinator nowhere", 3, "failed to fetch the model: "),
        (
            "evaluate --model /does/not/exist",
            3,
            "failed to evaluate the model: there is no model /does/not/exist",
        ),
    ] {
        run(binary().args(words.split(' '))).expect(code).says(&[expected]);
    }
}
