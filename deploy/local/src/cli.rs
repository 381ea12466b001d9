//! The command line of `downpour`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use process::{RunFlags, logs::LogFlags};

/// Train GoogLeNet on this machine: parameter-server shards and asynchronous workers, each a process of its own
#[derive(Debug, Parser)]
#[command(name = "downpour", version, after_help = SHORT_LESSON, after_long_help = LESSON)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct CommandLine {
    #[command(flatten)]
    pub options: Options,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What a user may ask of one run.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Folder of images to train on: train/ and val/ with one folder per class, or the class folders alone (a fifth
    /// is then kept for validation); or tar shards in their place [default: ten classes that the program draws itself]
    #[arg(long, value_name = "D")]
    pub data: Option<PathBuf>,
    /// Seconds to wait for a data folder that is away, as a network disk can be; then the run stops with a snapshot
    #[arg(long, value_name = "S", default_value_t = 60)]
    pub data_patience: u64,
    /// Folder for the model, metrics, curve, snapshots and logs; a run found there is resumed
    #[arg(long, value_name = "O", default_value = "downpour-run")]
    pub output: PathBuf,
    /// Worker processes: each holds a replica of the network
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: u16,
    /// Server processes: each holds a part of the parameters
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub shards: u16,
    /// Compute threads of each worker [default: cores / workers, at least 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Keep each compute thread on a CPU of its own: those of worker 0 on the first ones, and so on (Linux)
    #[arg(long)]
    pub pin: bool,
    #[command(flatten, next_help_heading = "The run")]
    pub run: RunFlags,
    /// Instruction set of the kernels: scalar, avx2, avx512 or neon [default: DOWNPOUR_ISA, else the best here]
    #[arg(long, value_name = "I", help_heading = "Program", hide_possible_values = true)]
    #[arg(value_parser = ["scalar", "avx2", "avx512", "neon"])]
    pub isa: Option<String>,
    /// Remove what an earlier run left in the output folder, and begin anew
    #[arg(long, help_heading = "Program")]
    pub fresh: bool,
    /// Print the result as one JSON object on the last line of stdout, and nothing else there
    #[arg(long, help_heading = "Program")]
    pub json: bool,
    /// Show the logs of servers and workers here too, not only in the output folder
    #[arg(long, help_heading = "Program")]
    pub verbose: bool,
    #[command(flatten, next_help_heading = "Program")]
    pub logs: LogFlags,
}

impl Options {
    /// The recipe where neither a recipe nor a configuration file is named.
    pub fn default_recipe(&self) -> &'static str {
        if self.data.is_some() { "paper" } else { "quick" }
    }

    /// Compute threads of each worker on a machine of `cores`.
    pub fn threads_per_worker(&self, cores: usize) -> usize {
        self.threads.map_or_else(|| (cores / usize::from(self.workers)).max(1), usize::from)
    }
}

/// What the program runs itself as; people use the binaries `parameter-server` and `worker` for this.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "a process parses one command")]
pub enum Command {
    /// Look at a data folder: classes, kinds of files, sizes, what is passed over and why
    Data(worker::look::DataFlags),
    /// Take one part of a run, as a child of the launcher
    #[command(subcommand, hide = true)]
    Role(Role),
}

/// The parts of a run, with the command lines of their own binaries.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// As the binary `parameter-server`
    ParameterServer(parameter_server::cli::Flags),
    /// As the binary `worker`
    #[command(subcommand)]
    Worker(worker::cli::Command),
}

const SHORT_LESSON: &str = "More, with examples and the files that a run leaves: downpour --help";

const LESSON: &str = "\
Examples:
  downpour                              train on the embedded set with the recipe quick
  downpour data photos                  look at your own images first
  downpour --data photos                train on them with the recipe paper
  downpour --data photos --input-size 128 --epochs 20 --output photos-run
  downpour --workers 4 --shards 2       more replicas
  downpour --json | tail -n 1           the result for a script

What you will see: samples done, images a second, loss, top-1, learning rate, staleness (updates applied between a
gradient's fetch and its use) and the time left; each evaluation as it comes in; at the end the validation accuracy.

Ctrl-C stops workers and servers with a snapshot; the same command goes on from there. A second Ctrl-C stops at once.
A finished run is not trained again: its result is printed; --fresh begins anew.

What a run leaves in its output folder:
  model.safetensors  averaged parameters        metrics.jsonl  a line per training interval and evaluation
  curve.svg          loss and top-1             snapshots/     state to resume from
  run.json           what was asked for         logs/          logs of every server and worker

Exit codes: 0 done, 1 broken off (a server or the workers failed), 2 wrong flag or configuration, 3 unusable data, file
or folder, 4 diverged, 70 a bug of this program, 130 interrupted.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn data_decides_the_recipe_and_cores_the_threads() {
        let plain = CommandLine::parse_from(["downpour"]).options;
        assert_eq!((plain.default_recipe(), plain.threads_per_worker(8)), ("quick", 4));
        assert_eq!(plain.threads_per_worker(1), 1);
        let folder = CommandLine::parse_from(["downpour", "--data", "d", "--threads", "3"]).options;
        assert_eq!((folder.default_recipe(), folder.threads_per_worker(8)), ("paper", 3));
    }

    #[test]
    fn help_shows_no_role() {
        let help = CommandLine::command().render_long_help().to_string();
        assert!(help.contains("--data") && help.contains("Exit codes") && !help.contains("role"), "{help}");
    }
}
