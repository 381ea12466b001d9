//! `downpour fetch`: gets a run's parameters as a model file.

use std::path::PathBuf;

use clap::Args;
use process::Exit;
use process::logs::{self, LogFlags};
use protocol::Patience;
use worker::FetchOptions;

/// Flags of `downpour fetch`.
#[derive(Debug, Args)]
pub struct Flags {
    /// Address of the run's coordinator
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7070")]
    pub coordinator: String,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "model.safetensors")]
    pub output: PathBuf,
    /// Write the parameters as the newest updates left them, not their average
    #[arg(long)]
    pub last_iterate: bool,
}

/// Gets the parameters and writes the file.
///
/// # Errors
/// A server that stays away, a run that no worker joined yet, a file that cannot be written.
pub async fn run(flags: Flags) -> anyhow::Result<Exit> {
    logs::start(&LogFlags::default());
    let Flags { coordinator, output, last_iterate } = flags;
    worker::fetch(FetchOptions { coordinator, output, last_iterate, patience: Patience::default() }).await?;
    Ok(Exit::Done)
}
