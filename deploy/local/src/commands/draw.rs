//! `downpour draw`: writes pictures of the synthetic set as image files.

use std::path::PathBuf;

use clap::Args;
use dataset::Dataset;
use process::{Exit, print_line};

/// Most pictures of a synthetic set that is written: each is a file.
const MOST_DRAWN: i64 = 10_000_000;

/// Flags of `downpour draw`.
#[derive(Debug, Args)]
pub struct Flags {
    /// Folder for train/ and val/ with a folder for each of the ten classes; must not be there yet
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// Training pictures
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(10..=MOST_DRAWN))]
    pub images: u32,
    /// Validation pictures
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=MOST_DRAWN))]
    pub validation: u32,
    /// Side of the network's input that they are drawn for, in pixels
    #[arg(long, value_name = "S", default_value_t = 64, value_parser = clap::value_parser!(u16).range(32..=2048))]
    pub input_size: u16,
}

/// Writes the pictures, and says how many.
///
/// # Errors
/// A folder that is there already or cannot be written.
pub fn run(flags: &Flags) -> anyhow::Result<Exit> {
    let (images, validation) = (flags.images as usize, flags.validation as usize);
    Dataset::write_synthetic(images, validation, flags.input_size.into(), &flags.output)?;
    let folder = flags.output.display();
    print_line(format_args!("{images} training and {validation} validation pictures in {folder}"))?;
    Ok(Exit::Done)
}
