//! The command line of the program `worker`: turns flags into options, signals into a shutdown, and results
//! into exit codes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use process::logs::LogFlags;
use process::{Exit, Signals, TokenFlags, stdin_end};
use protocol::Patience;
use setup::{ComputeFlags, Data, exit_of, isa};

use crate::{PICTURE_CACHE, TrainOptions, train};

/// Number of threads of the asynchronous runtime. They only exchange blocks with the server; computing has
/// threads of its own.
const NETWORK_THREADS: usize = 2;
/// Seconds for which a worker waits for its server, unless it is told otherwise, and at most: a month.
const PATIENCE: u64 = 300;
const MOST_PATIENCE: u64 = 30 * 24 * 3600;
/// Megabytes of lent photographs that are kept, unless the flag says otherwise.
const MEGABYTES: u32 = (PICTURE_CACHE >> 20) as u32;

/// One replica of a GoogLeNet that many train together.
#[derive(Debug, Parser)]
#[command(name = "worker", version, arg_required_else_help = true)]
#[command(after_help = "Examples:
  worker train --coordinator 10.0.0.1:7070 --token-file token --data flower_photos

What is done with a model afterwards, and with images before, is in the program downpour.

Exit codes: 0 done, 2 wrong flag, 3 bad input, 4 diverged, 70 a bug of this program, 130 the run was
interrupted.")]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Commands of the program.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take part in a run: lease samples, push gradients, until the run ends
    Train(TrainFlags),
}

/// Flags of `worker train`.
#[derive(Debug, Args)]
#[command(
    after_help = "Any number of workers may join, in any order, before or after the server, and leave at any time.
A worker takes the network and the recipe from the run. It is let in by the token of role worker, a file in the folder of
tokens that the server's first process made.
Without --data the photographs come from the server, if it lends them (downpour --data D --advertise A), as they are
needed; if it lends none, the synthetic set is used, for which nobody needs files.

Examples:
  worker train --token-file downpour-run/snapshots/access/worker/token
                                                      a server on this machine, the synthetic set
  worker train --coordinator 10.0.0.1:7070 --token-file token --data photos --threads 8 --loader-threads 2
  DOWNPOUR_ISA=avx2 worker train                      use no wider instructions than AVX2"
)]
pub struct TrainFlags {
    /// Address of the run's coordinator
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7070")]
    pub coordinator: String,
    /// The token that lets the worker in.
    #[command(flatten)]
    pub token: TokenFlags,
    /// Folder with train/ and val/ class folders, with plain class folders, or with tar shards in their place
    /// [default: the photographs that the server lends, else the synthetic set]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Megabytes of photographs that the server lends which are kept in memory, so that they need not come again
    #[arg(long, value_name = "MB", default_value_t = MEGABYTES, value_parser = clap::value_parser!(u32).range(16..=1 << 20))]
    pub picture_cache: u32,
    /// Instruction set and threads that compute.
    #[command(flatten)]
    pub compute: ComputeFlags,
    /// Threads that decode images
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub loader_threads: u16,
    /// Address of this machine on which to serve Prometheus the worker's metrics, by HTTP at /metrics, as
    /// 127.0.0.1:9101 [default: none]
    #[arg(long, value_name = "ADDRESS")]
    pub http: Option<String>,
    /// Flags of the log.
    #[command(flatten)]
    pub log: LogFlags,
    /// Seconds to wait for a server that does not answer; then the worker gives up
    #[arg(long, value_name = "S", default_value_t = PATIENCE, value_parser = clap::value_parser!(u64).range(1..=MOST_PATIENCE))]
    pub patience: u64,
    /// Say whether the flags are in order, and do no more: exit code 0 if they are, else 2
    #[arg(long)]
    pub check: bool,
    /// Seconds to wait for a data folder that is away, as a network disk can be; then the worker leaves
    #[arg(long, value_name = "S", default_value_t = dataset::PATIENCE.as_secs())]
    pub data_patience: u64,
    /// Name in the server's log: set by a parent process, as that of the log file
    #[arg(long, hide = true)]
    pub name: Option<String>,
    /// The pictures were looked at already: set by a parent process, so that one look is enough
    #[arg(long, hide = true)]
    pub looked_at: bool,
    /// Leave when standard input ends: set by a parent process, so that no child outlives it
    #[arg(long, hide = true)]
    pub end_with_stdin: bool,
}

/// Runs a command of the program `worker` and returns the exit code for its process. An error is printed as
/// one line on standard error.
pub fn run(command: Command) -> ExitCode {
    process::end_on_panic(dataset::is_decoding);
    process::raise_open_files();
    let Command::Train(flags) = command;
    match run_train(flags) {
        Ok(exit) => exit.into(),
        Err(error) => {
            process::tell(format_args!("failed to train: {error:#}"));
            exit_of(&error).into()
        }
    }
}

fn run_train(flags: TrainFlags) -> anyhow::Result<Exit> {
    process::logs::start(&flags.log);
    if flags.check {
        isa(flags.compute.isa().as_deref())?;
        return Ok(Exit::Done);
    }
    process::logs::introduce();
    kernels::memory::retain_freed_memory();
    let options = TrainOptions {
        coordinator: flags.coordinator,
        name: flags.name,
        data: flags.data.map(Data::Folder),
        picture_cache: (flags.picture_cache as usize) << 20,
        threads: flags.compute.threads(),
        loader_threads: flags.loader_threads.into(),
        isa: flags.compute.isa(),
        data_patience: Duration::from_secs(flags.data_patience),
        looked_at: flags.looked_at,
        token: flags.token,
        http: flags.http,
        patience: Patience { give_up_after: Duration::from_secs(flags.patience), ..Patience::default() },
    };
    let end_with_stdin = flags.end_with_stdin;
    let exit = in_runtime(async move {
        let stop = stop_signal(end_with_stdin);
        train(options, stop).await
    })?;
    tracing::info!(
        "{}",
        match exit {
            Exit::Done => "ended: all samples that it was given are used, or went back",
            Exit::Diverged => "ended, since the run diverged",
            _ => "stopped with the server; the same command goes on with the run",
        }
    );
    Ok(exit)
}

/// Runs `work` on a runtime of its own and does not wait afterwards for threads that are still computing.
fn in_runtime<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(NETWORK_THREADS)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

/// Listens for stop signals from now on. What it returns resolves on one or, with `end_with_stdin`, at the end
/// of standard input.
fn stop_signal(end_with_stdin: bool) -> impl Future<Output = ()> {
    let mut signals = Signals::listen().expect("a signal handler can be installed");
    async move {
        let reason = tokio::select! {
            reason = signals.next() => reason,
            () = stdin_end(end_with_stdin) => "end of standard input",
        };
        tracing::info!("{reason}: leaving after the minibatch in hand");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn train_takes_its_flags_and_none_that_the_run_decides() {
        let words = "worker train --coordinator h:1 --threads 2 --loader-threads 3";
        let Command::Train(flags) = Cli::parse_from(words.split(' ')).command;
        assert_eq!(
            (flags.coordinator.as_str(), flags.compute.threads, flags.loader_threads),
            ("h:1", Some(2), 3)
        );
        for decided in ["--batch=8", "--seed=2", "--config=mine.toml", "--recipe=quick", "--no-aux"] {
            assert!(Cli::try_parse_from(["worker", "train", decided]).is_err(), "{decided}");
        }
    }

    #[test]
    fn every_number_of_the_command_has_a_range() {
        let parses = |words: &str| Cli::try_parse_from(words.split(' ')).is_ok();
        for (words, most) in [
            ("worker train --threads", 1024),
            ("worker train --loader-threads", 1024),
            ("worker train --patience", MOST_PATIENCE),
        ] {
            assert!(parses(&format!("{words} {most}")), "{words}");
            for wrong in ["0", &(most + 1).to_string(), "-1", "1e300", "NaN", "inf"] {
                assert!(!parses(&format!("{words}={wrong}")), "{words}={wrong}");
            }
        }
    }
}
