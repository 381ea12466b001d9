//! The options of a run on this machine.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Command, FromArgMatches};
use process::{RunFlags, logs::LogFlags};

use crate::own_address::OwnAddress;

/// The options of one run on this machine.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Folder of images to train on: train/ and val/ with one folder per class, or the class folders alone (a
    /// fifth is then kept for validation); or tar shards in their place [default: ten classes that the
    /// program draws itself]
    #[arg(long, value_name = "D")]
    pub data: Option<PathBuf>,
    /// Seconds to wait for a data folder that is away, as a network disk can be; then the run stops with a
    /// snapshot
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
    /// Let other machines take part, by downpour join, under this address of this one (host:port) [default: nothing
    /// outside this machine reaches the run]
    #[arg(long, value_name = "ADDRESS", help_heading = "Other machines")]
    pub advertise: Option<OwnAddress>,
    /// Server processes that other machines bring, by downpour join --shard; the run begins when all are there
    #[arg(
        long,
        value_name = "N",
        help_heading = "Other machines",
        default_value_t = 0,
        requires = "advertise"
    )]
    #[arg(value_parser = clap::value_parser!(u16).range(0..=128))]
    pub other_shards: u16,
    #[command(flatten, next_help_heading = "The run")]
    pub run: RunFlags,
    /// Instruction set of the kernels: scalar, avx2, avx512 or neon [default: DOWNPOUR_ISA, else the best
    /// here]
    #[arg(long, value_name = "I", help_heading = "Program", hide_possible_values = true)]
    #[arg(value_parser = ["scalar", "avx2", "avx512", "neon"])]
    pub isa: Option<String>,
    /// Address of this machine on which to show and steer the run by a page, by HTTP, as 127.0.0.1:9100 [default: none]
    #[arg(long, value_name = "ADDRESS", help_heading = "Program")]
    pub http: Option<String>,
    /// Write event files into the folder tensorboard/ of the output, which TensorBoard draws, also while the run lasts
    #[arg(long, help_heading = "Program")]
    pub tensorboard: bool,
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
    /// Parses options from the words of a command line, the first of which names the program.
    ///
    /// # Errors
    /// If the words are not options of a training run.
    pub fn parse(
        words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Options, clap::Error> {
        Options::from_arg_matches(
            &Options::augment_args(Command::new("downpour")).try_get_matches_from(words)?,
        )
    }

    /// Returns the name of the recipe, which is a named run configuration, that is used if the options name
    /// neither a recipe nor a configuration file: "paper" with a data folder, "quick" without.
    pub fn default_recipe(&self) -> &'static str {
        if self.data.is_some() { "paper" } else { "quick" }
    }

    /// Returns the number of compute threads of each worker on a machine with `cores` cores.
    pub fn threads_per_worker(&self, cores: usize) -> usize {
        self.threads.map_or_else(|| (cores / usize::from(self.workers)).max(1), usize::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_decides_the_recipe_and_cores_the_threads() {
        let plain = Options::parse(["downpour"]).unwrap();
        assert_eq!((plain.default_recipe(), plain.threads_per_worker(8)), ("quick", 4));
        assert_eq!(plain.threads_per_worker(1), 1);
        let folder = Options::parse(["downpour", "--data", "d", "--threads", "3"]).unwrap();
        assert_eq!((folder.default_recipe(), folder.threads_per_worker(8)), ("paper", 3));
    }
}
