//! The command line: turns flags into options, signals into a shutdown, and results into exit codes.

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode, thread, time::Duration};

use anyhow::{Context, anyhow};
use clap::{Args, Parser, Subcommand};
use kernels::Isa;
use process::{
    Exit, FlagError, RunFlags, Signals, TokenFlags, isa_name, logs,
    logs::{LogFlags, Warnings},
    recipe_help, stdin_end,
};
use protocol::Patience;
use tokio::net::TcpListener;

use crate::{
    Door, Lend, Options, Timing,
    snapshot::inspect::{self, InspectFlags},
};

/// Time for which a server keeps memory that it freed, for what it needs next.
const MEMORY_KEPT: Duration = Duration::from_secs(60);

/// Name of the recipe of a run for which none is named.
const DEFAULT_RECIPE: &str = "paper";

/// A part of the server that holds a network's parameters and applies the gradients of many workers.
#[derive(Debug, Parser)]
#[command(name = "parameter-server", version, args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  parameter-server                                       one process, embedded recipe paper, on 127.0.0.1:7070
  parameter-server --listen 0.0.0.0:7070 --advertise host-a:7070 --shards 2 --servers 2
  parameter-server --listen 0.0.0.0:7071 --advertise host-b:7071 --shards 2 --coordinator host-a:7070 \\
                   --token-file token                    with a copy of the first one's access/server/token
  parameter-server --recipe fine-tune --init-from model.safetensors
                                                         from a trained model; every process needs the file and the flag
  parameter-server health --address host-b:7071          whether that process serves
  parameter-server inspect downpour-run/snapshots        what is in a folder of snapshots

Started again with the same --snapshots, it goes on from the newest complete snapshot.

Exit codes: 0 done, 2 wrong flag or configuration, 3 bad input, 4 diverged, 70 a bug of this program, 130 interrupted
(can be resumed).")]
pub struct Cli {
    /// A command other than serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of serving, the default.
    #[command(flatten)]
    pub flags: Flags,
}

/// Commands of the program other than serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Ask a process of the server whether it serves its shards: exit code 0 if it does, else 1
    Health(HealthFlags),
    /// Says what is in a folder of snapshots
    Inspect(InspectFlags),
}

/// Flags of `parameter-server health`.
#[derive(Clone, Debug, Args)]
pub struct HealthFlags {
    /// Address of the process
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7070")]
    pub address: String,
    /// Seconds within which it must have answered
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub deadline: u16,
}

/// Flags of `parameter-server`.
#[derive(Clone, Debug, Args)]
#[command(mut_arg("recipe", |flag| flag.help(recipe_help(DEFAULT_RECIPE))))]
pub struct Flags {
    /// Flags that describe the run.
    #[command(flatten)]
    pub run: RunFlags,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7070")]
    pub listen: String,
    /// Address under which workers and other processes reach this one [default: where it listens]
    #[arg(long, value_name = "ADDRESS")]
    pub advertise: Option<String>,
    /// Address of the server's first process [default: this is the first]
    #[arg(long, value_name = "ADDRESS")]
    pub coordinator: Option<String>,
    /// Shards in this process, the same number in each
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub shards: u16,
    /// Processes that form the server (the first one's matter)
    #[arg(long, value_name = "P", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub servers: u16,
    /// Folder for snapshots; a run found there is resumed
    #[arg(long, value_name = "DIR", default_value = "downpour-run/snapshots")]
    pub snapshots: PathBuf,
    /// Seconds between snapshots: what a crash costs at most (the first process's matter)
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    pub snapshot_interval: u16,
    /// Seconds that a worker may be silent before its samples go to others; it reports at least every 2 (the
    /// first process's matter)
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u16).range(3..))]
    pub lease_time: u16,
    /// Folder of the run's certificates and tokens, made where there is none (the first process's matter)
    /// [default: access, in the folder for snapshots]
    #[arg(long, value_name = "DIR")]
    pub access: Option<PathBuf>,
    /// The token that lets this process in (of any process but the first).
    #[command(flatten)]
    pub token: TokenFlags,
    /// Let in whoever reaches the port, to train, to read the model or to end the run, and encrypt nothing
    #[arg(long, conflicts_with_all = ["access", "token_file"])]
    pub insecure: bool,
    /// Removes the snapshots found there and starts anew
    #[arg(long)]
    pub fresh: bool,
    /// File to append metrics to, one JSON object a line [default: none, they are in the log]
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
    /// Folder for event files, which TensorBoard draws: tensorboard --logdir DIR (the first process's matter)
    /// [default: none is written]
    #[arg(long, value_name = "DIR")]
    pub tensorboard: Option<PathBuf>,
    /// Address of this machine on which to show and steer the run by a page (the first process), and show Prometheus its
    /// metrics at /metrics, by HTTP, as 127.0.0.1:9100 [default: none]
    #[arg(long, value_name = "ADDRESS")]
    pub http: Option<String>,
    /// Folder for the run's models: model.safetensors, the average of the newest evaluation or of the moment at
    /// which the run is stopped, and best.safetensors, that of the best evaluation (the first process's matter)
    /// [default: none is written]
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Instruction set: scalar, avx2, avx512 or neon [default: DOWNPOUR_ISA, else the machine's best]
    #[arg(long, value_name = "I")]
    pub isa: Option<String>,
    /// Say whether flags and configuration are in order, and do no more: exit code 0 if they are, else 2
    #[arg(long)]
    pub check: bool,
    /// Flags of the log.
    #[command(flatten)]
    pub log: LogFlags,
    /// The recipe where neither --recipe nor --config is given: set by a parent process
    #[arg(long, hide = true, default_value = DEFAULT_RECIPE)]
    pub default_recipe: String,
    /// Stop when standard input ends: set by a parent process, so that no child outlives it
    #[arg(long, hide = true)]
    pub end_with_stdin: bool,
    /// Print the address listened on as the only line on standard output: for a parent process
    #[arg(long, hide = true)]
    pub print_address: bool,
}

impl Cli {
    /// Runs the command that the command line names, or serves shards if it names none; returns the exit code
    /// of the process.
    pub fn run(self) -> ExitCode {
        match self.command {
            None => run(self.flags),
            Some(Command::Health(flags)) => health(&flags),
            Some(Command::Inspect(flags)) => inspect::run(&flags),
        }
    }
}

/// Asks a server for its health; a failure is one line on standard error.
fn health(flags: &HealthFlags) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = runtime.context("start the runtime").and_then(|runtime| {
        let deadline = Duration::from_secs(flags.deadline.into());
        Ok(runtime.block_on(protocol::check_health(&flags.address, deadline))?)
    });
    match answer {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Serves shards until the training run ends or the process is told to stop; returns the exit code. A failure
/// is printed as one line on standard error.
pub fn run(flags: Flags) -> ExitCode {
    run_lending(flags, None)
}

/// Serves as [`run`] does, and lends the run's photographs if there is something to lend.
pub fn run_lending(flags: Flags, lend: Option<Lend>) -> ExitCode {
    process::end_on_panic(|| false);
    process::raise_open_files();
    let warnings = logs::start(&flags.log);
    logs::introduce();
    kernels::memory::retain_freed_memory();
    thread::spawn(|| {
        loop {
            thread::sleep(MEMORY_KEPT);
            kernels::memory::return_freed_memory();
        }
    });
    match try_run(flags, lend, warnings) {
        Ok(exit) => exit.into(),
        Err(error) => {
            process::tell(format_args!("failed to serve: {error:#}"));
            Exit::of(error.as_ref(), |cause| cause.is::<kernels::IsaError>()).into()
        }
    }
}

fn try_run(flags: Flags, lend: Option<Lend>, warnings: Warnings) -> anyhow::Result<Exit> {
    let isa = match isa_name(flags.isa) {
        Some(name) => Isa::by_name(&name)?,
        None => Isa::detect(),
    };
    // Checked before the port is opened; a resumed run looks at the flags again.
    flags.run.resolve(&flags.default_recipe)?;
    if flags.check {
        return Ok(Exit::Done);
    }
    let door = match flags.insecure {
        true => Door::Open,
        false => Door::Tokens {
            folder: flags.access.unwrap_or_else(|| flags.snapshots.join("access")),
            token: flags.token,
        },
    };
    let options = Options {
        flags: flags.run,
        default_recipe: flags.default_recipe,
        advertise: flags.advertise,
        coordinator: flags.coordinator,
        shards: flags.shards.into(),
        processes: flags.servers.into(),
        snapshots: flags.snapshots,
        metrics: flags.metrics,
        tensorboard: flags.tensorboard,
        output: flags.output,
        fresh: flags.fresh,
        door,
        isa,
        connector: Patience::default().into(),
        timing: Timing {
            lease: Duration::from_secs(flags.lease_time.into()),
            snapshots: Duration::from_secs(flags.snapshot_interval.into()),
            ..Timing::default()
        },
        http: http_address(flags.http.as_deref(), flags.insecure)?,
        lend,
        warnings,
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    let exit = runtime.block_on(async move {
        let stop = stop_signal(flags.end_with_stdin);
        let listener = listen(&flags.listen).await?;
        if flags.print_address {
            println!("{}", listener.local_addr().context("ask where the server listens")?);
        }
        crate::run(options, listener, stop).await
    });
    // A shard that is still being written must not keep the process alive.
    runtime.shutdown_background();
    exit
}

/// Returns the address on which to serve pages, if there is one; whoever reaches it may look, which only a run that
/// is `insecure` lets other machines do.
fn http_address(address: Option<&str>, insecure: bool) -> Result<Option<SocketAddr>, FlagError> {
    let checked = address.map(|address| web::check_address(address, insecure)).transpose();
    checked.map_err(|text| FlagError(format!("--http: {text}")))
}

/// Opens the port.
async fn listen(address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::AddrInUse => "address in use".into(),
            _ => error.to_string(),
        };
        anyhow!("cannot listen on {address}: {reason}; choose another with --listen")
    })
}

/// Listens for stop signals from now on. What it returns resolves on one or, with `end_with_stdin`, at the end
/// of standard input. A second signal ends the process at once.
fn stop_signal(end_with_stdin: bool) -> impl Future<Output = ()> {
    let mut signals = Signals::listen().expect("a signal handler can be installed");
    async move {
        let reason = tokio::select! {
            reason = signals.next() => reason,
            () = stdin_end(end_with_stdin) => "end of standard input",
        };
        tracing::info!("{reason}");
        tokio::spawn(async move {
            let reason = signals.next().await;
            tracing::warn!(
                "{reason} once more: ended at once, without a snapshot of what the newest does not have"
            );
            std::process::exit(Exit::Interrupted.code().into());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// The server has no pictures, on which the recipe of other commands depends.
    #[test]
    fn help_names_the_recipe_that_is_used() {
        let help = Cli::command().render_long_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains("bvlc or fine-tune [default: the file's, else paper]"), "{help}");
        assert!(!help.contains("--data"), "{help}");
        assert_eq!(Cli::parse_from(["parameter-server"]).flags.default_recipe, "paper");
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        let words =
            "parameter-server --listen 0.0.0.0:1 --advertise h:1 --coordinator c:2 --shards 2 --batch 8";
        let flags = Cli::parse_from(words.split(' ')).flags;
        assert_eq!((flags.shards, flags.servers, flags.run.batch), (2, 1, Some(8)));
        assert_eq!(flags.coordinator.as_deref(), Some("c:2"));
        let Some(Command::Health(flags)) = Cli::parse_from(["parameter-server", "health"]).command else {
            panic!("not health")
        };
        let listen = Cli::parse_from(["parameter-server"]).flags.listen;
        assert_eq!((flags.address, flags.deadline), (listen, 3), "asked where it listens");
    }
}
