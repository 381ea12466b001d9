//! The command `downpour export`: writes a model in a format that other programs read.

use std::path::PathBuf;

use clap::Args;
use formats::model_file::MODEL_FILE;
use models::{ExportOptions, Format};
use process::{Exit, print_line};

/// Flags of `downpour export`.
#[derive(Debug, Args)]
#[command(
    after_help = "The model is the model file of a run, or a caffe model of GoogLeNet such as the public one. Beside a
safetensors file, config.json and README.md describe the model.

Examples:
  downpour export --format onnx --output model.onnx
  downpour export --format safetensors --model bvlc_googlenet.caffemodel --labels synset_words.txt --output bvlc.safetensors"
)]
pub struct Flags {
    /// Form to write the model in
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub format: Format,
    /// The model file, or the folder of a run (its best model, else its newest) or of a snapshot
    #[arg(long, value_name = "MODEL", default_value = MODEL_FILE)]
    pub model: PathBuf,
    /// Labels, one a line in the order of the classes [default: those of the model]
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
}

/// Runs `downpour export`: writes the model in the chosen format and prints the path of the new file, and
/// those of the descriptions beside it that are left as they are.
///
/// # Errors
/// If the model file is not a model, if the number of labels is not that of the model's classes, or if the
/// output file cannot be written.
pub fn run(flags: Flags) -> anyhow::Result<Exit> {
    let Flags { format, model, labels, output } = flags;
    let options = ExportOptions { model, labels, format, output };
    let left = models::export(&options)?;
    print_line(format_args!("wrote {}", options.output.display()))?;
    for path in left {
        print_line(format_args!(
            "left {} as it is, which is not of an export to that file: a folder of its own has room for both descriptions",
            path.display()
        ))?;
    }
    Ok(Exit::Done)
}
