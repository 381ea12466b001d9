//! The program `parameter-server`: parses the command line and runs its command.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    parameter_server::cli::Cli::parse().run()
}
