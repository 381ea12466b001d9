//! A part of the server: parses the command line and serves.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    parameter_server::cli::run(parameter_server::cli::Cli::parse().flags)
}
