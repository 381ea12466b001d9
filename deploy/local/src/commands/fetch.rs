//! The command `downpour fetch`: fetches the parameters of a run as a model file.

use std::path::PathBuf;

use clap::Args;
use process::logs::{self, LogFlags};
use process::{Exit, TokenFlags};
use protocol::{Connector, Patience};
use worker::FetchOptions;

/// Flags of `downpour fetch`.
#[derive(Debug, Args)]
pub struct Flags {
    /// Address of the run's coordinator
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7070")]
    pub coordinator: String,
    /// The token of a reader.
    #[command(flatten)]
    pub token: TokenFlags,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "model.safetensors")]
    pub output: PathBuf,
    /// Write the parameters as the newest updates left them, not their average
    #[arg(long)]
    pub last_iterate: bool,
}

/// Runs `downpour fetch`: fetches the parameters from the run's server and writes them to a model file.
///
/// # Errors
/// If the token cannot be used, if the server does not let a reader in or cannot be reached, if no worker has
/// joined the run yet, or if the model file cannot be written.
pub async fn run(flags: Flags) -> anyhow::Result<Exit> {
    logs::start(&LogFlags::default());
    let Flags { coordinator, token, output, last_iterate } = flags;
    let connector = Connector { token: token.token()?, ..Patience::default().into() };
    worker::fetch(FetchOptions { coordinator, output, last_iterate, connector }).await?;
    Ok(Exit::Done)
}
