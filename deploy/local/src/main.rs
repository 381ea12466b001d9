//! The program `downpour`: trains on one machine, and has the commands for models and images that need no
//! server.
//!
//! Training starts servers and workers as processes of their own, by executing this program again in a role;
//! it watches and stops them, and shows what they report. Each other command is a file in `commands`.
//!
//! Absent by intent: how anything is computed or stored.

mod asking;
mod child_commands;
mod children;
mod cli;
mod commands;
mod curve;
mod failure;
mod folder;
mod found;
mod interrupts;
mod join;
mod kept;
mod launch;
mod metrics;
mod options;
mod own_address;
mod place;
mod plan_text;
mod progress;
mod result;
mod sample_pictures;
mod server_role;
mod status_text;
mod supervised;
mod watch;

use std::process::ExitCode;

fn main() -> ExitCode {
    let line = cli::parse();
    match line.command {
        Some(command) => commands::run(command),
        None => commands::run(cli::Command::Train(line.options)),
    }
}
