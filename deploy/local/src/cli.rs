//! The command line of `downpour`.

use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

use crate::commands::{
    bench, classify, completion, data, describe, draw, ensemble, evaluate, export, fetch, join, plan, runs,
    samples, simulate, status, steer, token,
};
use crate::options::Options;
use crate::place::Place;
use crate::server_role;

/// Train GoogLeNet on this machine: parameter-server shards and asynchronous workers, each a process of its
/// own. Commands do the rest: look at images, score models, hand them on, measure
#[derive(Debug, Parser)]
#[command(name = "downpour", version, after_help = SHORT_LESSON, after_long_help = LESSON)]
#[command(args_conflicts_with_subcommands = true)]
pub struct CommandLine {
    #[command(flatten)]
    pub options: Options,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Commands of the program; without one it trains.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train on this machine, as downpour does without a command
    Train(Options),
    /// Take part in a run of another machine, with this one's processors
    Join(join::Flags),
    /// Show what a run does now: progress, numbers, workers, shards, newest warnings
    Status(status::Flags),
    /// Give workers of a run no more samples, until it is resumed
    Pause(Place),
    /// Go on with a run that was paused
    Resume(Place),
    /// Have a worker of a run hand in what it has done and leave
    Drain(steer::DrainFlags),
    /// Have a run take a snapshot now
    Snapshot(Place),
    /// Multiply the learning rate of a run from now on
    Rate(steer::RateFlags),
    /// Stop a run with a snapshot, from which the command that began it goes on
    Stop(Place),
    /// List the runs in a folder with their results
    Runs(runs::Flags),
    /// Score model files on images, by one crop or many, alone and together
    Evaluate(evaluate::Flags),
    /// Print the five most probable labels of image files
    Classify(classify::Flags),
    /// Write a model in a form that other programs read
    Export(export::Flags),
    /// Get the averaged parameters of a run and write them as a model file
    Fetch(fetch::Flags),
    /// Train seven models on a folder of images, and score them alone and together
    Ensemble(ensemble::Flags),
    /// Look at a data folder: classes, kinds of files, sizes, what is passed over and why
    Data(data::Flags),
    /// Write a contact sheet of the training samples that a configuration makes
    Samples(samples::Flags),
    /// Write pictures of the synthetic set as image files, to look at or to train on
    Draw(draw::Flags),
    /// Print the network's layers, parameters and multiply-adds
    Describe(describe::Flags),
    /// Measure training steps (or the forward pass) on this machine
    Bench(bench::Flags),
    /// Say what a run would make of a fleet of machines: images a second, time, bytes, useful workers, price
    Plan(plan::Flags),
    /// Train with many workers in virtual time: what N machines on given links would make of a run
    Simulate(simulate::Flags),
    /// Make the tokens by which a run's server lets processes in
    #[command(subcommand)]
    Token(token::Command),
    /// Print what makes a shell complete commands and flags of downpour
    Completion(completion::Flags),
    /// Take one part of a run, as a child of the launcher
    #[command(subcommand, hide = true)]
    Role(Role),
}

/// The parts of a run, with the command lines of their own binaries.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "a process parses one command")]
pub enum Role {
    /// Run a server process, with the command line of the binary `parameter-server`
    ParameterServer(server_role::ServerFlags),
    /// Run a worker, with the command line of the binary `worker`
    #[command(subcommand)]
    Worker(worker::cli::Command),
}

/// Parses the command line of this process. If it is wrong, prints an explanation and ends the process.
pub fn parse() -> CommandLine {
    let words: Vec<_> = std::env::args_os().collect();
    CommandLine::try_parse_from(&words).unwrap_or_else(|error| {
        let first = words.get(1).and_then(|word| word.to_str()).unwrap_or_default();
        advised(error, first).exit()
    })
}

/// Adds a tip to an error of the command line if a folder seems to have been named in the place of a command.
/// `first` is the first argument.
fn advised(mut error: clap::Error, first: &str) -> clap::Error {
    let place = match error.kind() {
        // Behind a flag of training, such a word is a command in the wrong place for clap.
        ErrorKind::InvalidSubcommand | ErrorKind::ArgumentConflict => ContextKind::InvalidSubcommand,
        ErrorKind::UnknownArgument if first == "train" || first.starts_with('-') => ContextKind::InvalidArg,
        _ => return error,
    };
    let Some(ContextValue::String(word)) = error.get(place) else { return error };
    let word = word.clone();
    let is_like_a_command = error.get(ContextKind::SuggestedSubcommand).is_some();
    let is_a_command = CommandLine::command().find_subcommand(&word).is_some();
    if word.starts_with('-') || is_a_command || is_like_a_command && !Path::new(&word).exists() {
        return error;
    }
    let tip = format!("--data {word}? The images to train on are named by this flag: downpour --data {word}");
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    error
}

const SHORT_LESSON: &str = "More, with examples and the files that a run leaves: downpour --help";

const LESSON: &str = "\
Examples:
  downpour                              train on the synthetic set with the recipe quick
  downpour data photos                  look at your own images first
  downpour --data photos                train on them with the recipe paper
  downpour evaluate --data photos --model downpour-run
  downpour --data photos --input-size 128 --epochs 20 --output photos-run
  downpour --workers 4 --shards 2       more replicas
  downpour --epochs 9                   go on with a run that is finished, also at another --learning-rate
  downpour --json | tail -n 1           the result for a script
  downpour status --watch               from another terminal: what the run does, its workers, its warnings

What you will see: per cent done, epoch, loss and time left, then images a second, top-1, learning rate and staleness
(updates applied between a gradient's fetch and its use); each evaluation as it comes in; at the end the validation accuracy.

Ctrl-C stops workers and servers with a snapshot and the model as it is; the same command goes on from there. Another
Ctrl-C, two seconds later or more, stops at once.
A finished run is not trained again: its result is printed; a larger --epochs goes on with it, --fresh begins anew.

What a run leaves in its output folder:
  model.safetensors  averaged parameters        metrics.jsonl  a line per training interval and evaluation
  best.safetensors   those of the best one      snapshots/     state to resume from
  curve.svg          loss and top-1             logs/          logs of every server and worker
  run.json           what was asked for         access/        the tokens of the run, which nobody else may read
  address            of the run's server, while it is there

Exit codes: 0 done, 1 broken off (a server or the workers failed), 2 wrong flag or configuration, 3 unusable data, file
or folder, 4 diverged, 70 a bug of this program, 130 interrupted.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn training_is_the_command_of_who_names_none() {
        let words = ["--data", "d", "--threads", "3", "--batch", "8"];
        let plain = CommandLine::parse_from(["downpour"].iter().chain(&words)).options;
        let Some(Command::Train(named)) =
            CommandLine::parse_from(["downpour", "train"].iter().chain(&words)).command
        else {
            panic!("not train")
        };
        assert_eq!(format!("{plain:?}"), format!("{named:?}"));
    }

    #[test]
    fn every_number_of_a_command_has_a_range() {
        let parses = |words: &str| CommandLine::try_parse_from(words.split(' ')).is_ok();
        for (words, most) in [
            ("downpour evaluate --loader-threads", 1024),
            ("downpour evaluate --threads", 1024),
            ("downpour bench --batch", 4096),
            ("downpour bench --steps", 100_000),
            ("downpour bench --seconds", 3600),
            ("downpour plan --seconds", 3600),
            ("downpour plan --noise-scale", 1_000_000_000),
            ("downpour plan --training-images", 1_000_000_000),
            ("downpour samples --rows", 100),
            ("downpour samples --columns", 100),
            ("downpour draw --output x --images", 10_000_000),
            ("downpour draw --output x --validation", 10_000_000),
            ("downpour draw --output x --input-size", 2048),
        ] {
            assert!(parses(&format!("{words} {most}")), "{words} {most}");
            for wrong in [(most + 1).to_string(), "-1".into(), "1e300".into(), "NaN".into(), "inf".into()] {
                assert!(!parses(&format!("{words}={wrong}")), "{words}={wrong}");
            }
        }
    }

    #[test]
    fn a_word_that_is_no_command_may_be_a_folder_or_a_slip() {
        let said = |words: &str| {
            let words: Vec<&str> = words.split(' ').collect();
            advised(CommandLine::try_parse_from(&words).unwrap_err(), words[1]).to_string()
        };
        for words in ["downpour photos", "downpour train photos", "downpour --workers 2 photos"] {
            assert!(said(words).contains("tip: --data photos? "), "{}", said(words));
        }
        let slip = said("downpour evalute");
        assert!(slip.contains("'evaluate'") && !slip.contains("--data"), "{slip}");
        // A folder that is there and called almost as a command.
        assert!(said("downpour src").contains("--data src?"), "{}", said("downpour src"));
        assert!(!said("downpour evaluate photos").contains("--data photos?"));
        assert!(!said("downpour train --bacth").contains("--data"));
        let behind = said("downpour --workers 2 evaluate");
        assert!(behind.contains("'evaluate'") && !behind.contains("--data"), "{behind}");
    }

    #[test]
    fn help_shows_no_role() {
        let help = CommandLine::command().render_long_help().to_string();
        assert!(help.contains("--data") && help.contains("Exit codes") && !help.contains("role"), "{help}");
    }
}
