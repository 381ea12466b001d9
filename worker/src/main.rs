//! The replica: joins, leases, computes, pushes, evaluates.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    worker::cli::run(worker::cli::Cli::parse().command)
}
