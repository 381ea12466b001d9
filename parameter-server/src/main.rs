//! A part of the server: parses the command line and does what it says.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    parameter_server::cli::Cli::parse().run()
}
