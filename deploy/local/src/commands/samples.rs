//! The command `downpour samples`: draws a contact sheet of the training samples that are made from a few
//! images.

use std::path::{Path, PathBuf};

use clap::Args;
use models::SamplesOptions;
use process::{Exit, RunFlags, print_line};
use setup::Data;

/// Flags of `downpour samples`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  downpour samples --data photos
  downpour samples --data photos --config mine.toml --sample-seed 2 --output sheet.png")]
pub struct Flags {
    /// Folder of images as for `train` [default: the synthetic set]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Flags that choose the run configuration by which the training samples are made.
    #[command(flatten)]
    pub run: RunFlags,
    /// Images, a row each
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub rows: u16,
    /// Epochs, a column each
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub columns: u16,
    /// The PNG file to write
    #[arg(long, value_name = "FILE", default_value = "samples.png")]
    pub output: PathBuf,
}

/// Runs `downpour samples`: writes a contact sheet of training samples and prints the names of the images in
/// its rows.
///
/// # Errors
/// If the configuration or the data cannot be used, if an image cannot be read, or if the PNG file cannot be
/// written.
pub fn run(flags: Flags) -> anyhow::Result<Exit> {
    check_folder_of(&flags.output)?;
    let options = SamplesOptions {
        data: flags.data.map_or(Data::synthetic(), Data::Folder),
        flags: flags.run,
        images: flags.rows.into(),
        epochs: flags.columns.into(),
        output: flags.output,
    };
    print_line(models::samples(&options)?)?;
    Ok(Exit::Done)
}

/// Checks that the folder is there into which the file `output` is to be written, before any work is done for it.
fn check_folder_of(output: &Path) -> anyhow::Result<()> {
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
    let Some(folder) = folder.filter(|folder| !folder.is_dir()) else { return Ok(()) };
    anyhow::bail!(
        "cannot write {}: expected a folder that is there, found none at {}; make it, or name another file with --output",
        output.display(),
        folder.display()
    )
}
