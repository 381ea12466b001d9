//! The program `worker`, which trains one replica of the model in a run of the parameter server.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    worker::cli::run(worker::cli::Cli::parse().command)
}
