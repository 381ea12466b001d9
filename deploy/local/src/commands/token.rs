//! The command `downpour token`: makes the tokens and certificates of a run before its server starts.

use std::path::PathBuf;

use access::{Folder, Role};
use clap::{Args, Subcommand};
use process::{Exit, print_line};

/// Commands of `downpour token`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a run's certificate authority, its server's certificate, and a token for each role
    New(NewFlags),
}

/// Flags of `downpour token new`.
#[derive(Debug, Args)]
#[command(
    after_help = "The server's first process takes the folder by --access, and makes one by itself where it gets none.
Each role's token is a file in a folder of its own: DIR/worker/token, DIR/server/token, DIR/reader/token,
DIR/operator/token. Processes take it by --token-file, or as its text in DOWNPOUR_TOKEN."
)]
pub struct NewFlags {
    /// Folder to write; it must not hold a run's tokens already
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Name of the run, the subject of the server's certificate [default: a random one]
    #[arg(long, value_name = "NAME")]
    pub run: Option<String>,
}

/// Runs a command of `downpour token` and prints the paths of the files that are to be handed on.
///
/// # Errors
/// If the folder holds tokens already, or if a file cannot be written.
pub fn run(command: &Command) -> anyhow::Result<Exit> {
    let Command::New(flags) = command;
    let folder = Folder::make(&flags.folder, flags.run.as_deref())?;
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Coordinator) {
        print_line(format_args!("{role:<9} {}", folder.token_file(role).display()))?;
    }
    Ok(Exit::Done)
}
