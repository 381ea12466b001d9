//! The command `downpour draw`: writes images of the synthetic set as files.

use std::path::PathBuf;

use clap::Args;
use dataset::{Dataset, Scene};
use process::{Exit, FlagError, print_line};

/// Largest number of images of a split that are written, each as a file.
const MOST_DRAWN: i64 = 10_000_000;

/// Flags of `downpour draw`.
#[derive(Debug, Args)]
pub struct Flags {
    /// Folder for train/ and val/ with a folder for each class; must not be there yet
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
    /// Two objects in each picture, one above the other: a hundred classes in place of ten
    #[arg(long)]
    pub pairs: bool,
}

/// Runs `downpour draw`: writes images of the synthetic set, which the program generates itself, as files and
/// prints their number.
///
/// # Errors
/// If there would be fewer images than classes in a split, or if the output folder already exists or cannot
/// be written.
pub fn run(flags: &Flags) -> anyhow::Result<Exit> {
    let (images, validation) = (flags.images as usize, flags.validation as usize);
    if flags.pairs && images.min(validation) < 100 {
        return Err(FlagError(format!(
            "--pairs makes a hundred classes: expected at least 100 in --images and in --validation, found {images} and \
             {validation}"
        ))
        .into());
    }
    let scene = if flags.pairs { Scene::Pair } else { Scene::Object };
    Dataset::write_synthetic(images, validation, flags.input_size.into(), scene, &flags.output)?;
    let folder = flags.output.display();
    print_line(format_args!("{images} training and {validation} validation pictures in {folder}"))?;
    Ok(Exit::Done)
}
