//! One command trains on one machine: shards and workers as processes of their own, started by re-executing itself.
//!
//! Absent by intent: how anything is computed or stored. The launcher starts processes, watches and stops them, and
//! shows what they report.

mod children;
mod cli;
mod curve;
mod failure;
mod folder;
mod interrupts;
mod launch;
mod metrics;
mod posts;
mod progress;
mod result;
mod watch;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let line = cli::CommandLine::parse();
    match line.command {
        Some(cli::Command::Role(cli::Role::ParameterServer(flags))) => parameter_server::cli::run(flags),
        Some(cli::Command::Role(cli::Role::Worker(command))) => worker::cli::run(command),
        Some(cli::Command::Data(flags)) => worker::look::run(&flags),
        None => run(&line.options),
    }
}

fn run(options: &cli::Options) -> ExitCode {
    process::end_on_panic(|| false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(launch::launch(options)),
        Err(error) => Err(failure::Failure::broken(format!("cannot start the runtime: {error}"))),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("failed to train: {}", failure.text);
            ExitCode::from(failure.code)
        }
    }
}
