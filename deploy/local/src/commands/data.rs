//! The command `downpour data`: shows what a data folder contains, before anything is trained on it.

use std::path::PathBuf;

use clap::Args;
use models::look;
use process::Exit;

/// Flags of `downpour data`.
#[derive(Debug, Args)]
#[command(
    after_help = "Reads the first bytes of every file, changes nothing, and ends with 3 where a run would not begin.

Example:
  downpour data photos"
)]
pub struct Flags {
    /// Folder of images, laid out as for training: a folder for each class, or train/ and val/ with such folders
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Print one JSON object: classes, kinds, sizes, what is passed over and left out
    #[arg(long)]
    pub json: bool,
}

/// Runs `downpour data`: prints what the data folder contains.
///
/// # Errors
/// If the folder is not a data set, or if it is unsuitable for training because too many of its images cannot
/// be read.
pub fn run(flags: &Flags) -> anyhow::Result<Exit> {
    look::show(&flags.folder, flags.json)?;
    Ok(Exit::Done)
}
