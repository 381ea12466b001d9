//! The program `parameter-server`: parses the command line and runs its command.

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: process::Allocator = process::ALLOCATOR;

fn main() -> ExitCode {
    parameter_server::cli::Cli::parse().run()
}
