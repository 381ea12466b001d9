//! The command `downpour evaluate`: scores model files on images.

use std::path::PathBuf;

use clap::Args;
use dataset::Crops;
use formats::model_file::MODEL_FILE;
use models::evaluate::EvaluationResult;
use models::{Combine, EvaluateOptions, Evaluation, Part};
use process::logs::{self, LogFlags};
use process::{Exit, print_line};
use setup::{ComputeFlags, Data};

use crate::failure::Failure;
use crate::interrupts::Interrupts;

/// Flags of `downpour evaluate`.
#[derive(Debug, Args)]
#[command(
    after_help = "Data: a folder with val/ and class folders in it, or the class folders themselves. Of the folder that a model was trained
on, only the fifth is scored that training held out; of another one, every image. A class folder is a label by the label's WNID or one of its words; other folders are predicted, not scored. Tar shards
may take the place of class folders; the names of their classes stand in classes.txt beside val/.

The output folder gets predictions.csv (the five most probable labels of each image), classes.csv (recall and precision
of each class), mistakes.html (the pictures of the worst mistakes), errors.svg, confusion.svg (up to 40 classes),
evaluation.json, and predictions/, from which the same command goes on after an interruption.

Examples:
  downpour evaluate --model downpour-run --data flower_photos
  downpour evaluate --model downpour-run/snapshots/7
  downpour evaluate --model a.safetensors --model b.safetensors --data photos --crops 1,10,144"
)]
pub struct Flags {
    /// A model file, or the folder of a run (its best model, else its newest) or of a snapshot; given several
    /// times, the models are scored together as well [default: model.safetensors]
    #[arg(long = "model", value_name = "MODEL")]
    pub models: Vec<PathBuf>,
    /// Labels, one a line in the order of the classes [default: those of the model]
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// The images [default: the synthetic set]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Score the fifth of the images alone that training holds out of class folders or shards without train/
    /// and val/ [default: so where the model was trained on this folder]
    #[arg(long, requires = "data", conflicts_with = "all")]
    pub held_out: bool,
    /// All images of class folders or shards without train/ and val/, also those that the model was trained
    /// on
    #[arg(long, requires = "data")]
    pub all: bool,
    /// Crops of each image, 1, 10 or 144; several, with commas, make a table
    #[arg(long, value_name = "N", default_value = "1", value_delimiter = ',')]
    pub crops: Vec<Crops>,
    /// Combination of the probabilities of an image's crops; those of models are averaged
    #[arg(long, value_name = "HOW", value_enum, default_value = "mean")]
    pub combine: Combine,
    /// Folder for predictions and pictures
    #[arg(long, value_name = "DIR", default_value = "evaluation")]
    pub output: PathBuf,
    /// Folder to write an event file to, in which TensorBoard shows the worst mistakes [default: none is written]
    #[arg(long, value_name = "DIR")]
    pub tensorboard: Option<PathBuf>,
    /// Flags that choose the CPU instruction set and the compute threads.
    #[command(flatten)]
    pub compute: ComputeFlags,
    /// Threads that decode images
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub loader_threads: u16,
    /// Print one JSON object: images, top1, top5, loss, rows, members, classes, unscored
    #[arg(long)]
    pub json: bool,
}

/// Runs `downpour evaluate`: scores the models on images, writes the predictions and the plots, and prints
/// the table of errors or one JSON object. Interrupted, it says where it stopped.
///
/// # Errors
/// If a model file is not a model, if the models have different classes, if the data cannot be used, or if
/// the output folder cannot be written.
pub async fn run(flags: Flags) -> Result<Exit, Failure> {
    let mut interrupts = Interrupts::listen()?;
    logs::start(&LogFlags::default());
    let models = if flags.models.is_empty() { vec![MODEL_FILE.into()] } else { flags.models };
    let options = EvaluateOptions {
        models,
        labels: flags.labels,
        data: flags.data.map_or(Data::synthetic(), Data::Folder),
        part: match (flags.held_out, flags.all) {
            (true, _) => Part::HeldOut,
            (_, true) => Part::All,
            _ => Part::Unseen,
        },
        crops: flags.crops,
        combine: flags.combine,
        output: flags.output,
        tensorboard: flags.tensorboard,
        threads: flags.compute.threads(),
        loader_threads: flags.loader_threads.into(),
        isa: flags.compute.isa(),
    };
    let Some(result) = evaluated(options, &mut interrupts).await? else { return Ok(Exit::Interrupted) };
    let text = match flags.json {
        true => serde_json::to_string(&result).map_err(anyhow::Error::from)?,
        false => result.text(),
    };
    print_line(text).map_err(|error| Failure::broken(format!("cannot print the result: {error}")))?;
    Ok(Exit::Done)
}

/// Evaluates models by these options; returns the result, or `None` if it was interrupted: where it stopped,
/// it has then said on standard error.
pub(super) async fn evaluated(
    options: EvaluateOptions,
    interrupts: &mut Interrupts,
) -> Result<Option<EvaluationResult>, Failure> {
    match interrupts.stopping(move |stop| models::evaluate(&options, stop)).await.transpose()? {
        Some(Evaluation::Finished(result)) => Ok(Some(*result)),
        Some(Evaluation::Stopped(stopped)) => {
            eprintln!("{stopped}");
            Ok(None)
        }
        None => Ok(None),
    }
}
