//! The command `downpour classify`: prints the five most probable labels of image files.

use std::path::PathBuf;

use clap::Args;
use formats::model_file::MODEL_FILE;
use models::{ClassifyOptions, Form};
use process::Exit;
use setup::ComputeFlags;

/// Flags of `downpour classify`.
#[derive(Debug, Args)]
#[command(
    after_help = "The model is the model file of a run, or a caffe model of GoogLeNet such as the public one.

Examples:
  downpour classify --model downpour-run rose.jpg tulip.png
  downpour classify --model model.safetensors --csv photos > guesses.csv
  downpour classify --model bvlc_googlenet.caffemodel --labels synset_words.txt --json photos/*.jpg"
)]
pub struct Flags {
    /// The model file, or the folder of a run (its best model, else its newest) or of a snapshot
    #[arg(long, value_name = "MODEL", default_value = MODEL_FILE)]
    pub model: PathBuf,
    /// Labels, one a line in the order of the classes [default: those of the model]
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Image files, and folders of them
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<PathBuf>,
    /// Flags that choose the CPU instruction set and the compute threads.
    #[command(flatten)]
    pub compute: ComputeFlags,
    /// Print one JSON object for each image: image, top (each with class, label and probability)
    #[arg(long)]
    pub json: bool,
    /// Print CSV: a head, and a line for each image with its labels and their probabilities
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
}

/// Runs `downpour classify`: prints the five most probable labels of every image, in the order of the images.
///
/// # Errors
/// If the model file is not a model or if the number of labels is not that of its classes. If images cannot
/// be read, the error comes after the labels of all others have been printed.
pub fn run(flags: Flags) -> anyhow::Result<Exit> {
    let (threads, isa) = (flags.compute.threads(), flags.compute.isa());
    let form = match (flags.json, flags.csv) {
        (true, _) => Form::Json,
        (_, true) => Form::Csv,
        _ => Form::Text,
    };
    let Flags { model, labels, images, .. } = flags;
    models::classify(&ClassifyOptions { model, labels, images, form, threads, isa })?;
    Ok(Exit::Done)
}
