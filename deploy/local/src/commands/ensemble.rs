//! The command `downpour ensemble`: trains the paper's ensemble (section 7) on a folder of images, and scores
//! its models alone and together.
//!
//! Seven models start from the same initial values. They differ in the order of the images and in their
//! samples; one of them sees mainly smaller relative crops, one mainly larger ones, and the seventh is wider.
//! Each is a run in a folder of its own, so that the same command continues after an interruption.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use dataset::Crops;
use models::{Combine, EvaluateOptions, Part};
use process::logs::{self, LogFlags};
use process::{Exit, print_line};
use setup::{Data, Threads};

use crate::commands::evaluate::evaluated;
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::launch::{Training, settle, train};
use crate::options::Options;
use crate::result::RunResult;

/// Name of the recipe of all members, of which some change the area of the crops.
const RECIPE: &str = "paper";
/// Number of members, from the first on, that differ only in their samples. Their averages are compared with
/// their last iterates.
const ALIKE: usize = 3;

/// Flags of `downpour ensemble`.
#[derive(Debug, Args)]
#[command(
    after_help = "The models lie in model-1 to model-7 of the output folder, each as `downpour --output` leaves it, and what
`downpour evaluate` writes of all of them in evaluation.

Examples:
  downpour ensemble --data photos
  downpour ensemble --data photos --input-size 80 --width 0.25 --wider 0.5 --epochs 20 --crops 1,10"
)]
pub struct Flags {
    /// Folder of images to train on, as for `train`
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Folder for the models and their evaluation; an ensemble found there goes on
    #[arg(long, value_name = "DIR", default_value = "ensemble")]
    pub output: PathBuf,
    /// Side of the square input in pixels
    #[arg(long, value_name = "S", default_value_t = 112)]
    pub input_size: usize,
    /// Width multiplier of the first six models
    #[arg(long, value_name = "X", default_value_t = 0.5)]
    pub width: f32,
    /// Width multiplier of the seventh model
    #[arg(long, value_name = "X", default_value_t = 0.75)]
    pub wider: f32,
    /// Length of each run in epochs
    #[arg(long, value_name = "E", default_value_t = 60.0)]
    pub epochs: f64,
    /// Crops of each image that is scored, 1, 10 or 144; several, with commas, make a table
    #[arg(long, value_name = "N", default_value = "1,10,144", value_delimiter = ',')]
    pub crops: Vec<Crops>,
}

/// A model of the ensemble.
struct Member {
    /// Number of the model, from 1, which is also the seed of its samples.
    number: usize,
    width: f32,
    /// Smallest and largest fraction of an image's area that a training crop takes; `None` means that of the
    /// recipe.
    area: Option<[f32; 2]>,
}

impl Flags {
    fn members(&self) -> [Member; 7] {
        let member = |number, width, area| Member { number, width, area };
        [
            member(1, self.width, None),
            member(2, self.width, None),
            member(3, self.width, None),
            member(4, self.width, Some([0.08, 0.6])),
            member(5, self.width, Some([0.35, 1.0])),
            member(6, self.width, None),
            member(7, self.wider, None),
        ]
    }

    /// Returns the options of a member's run.
    fn options(&self, member: &Member) -> anyhow::Result<Options> {
        let folder = self.output.join(format!("model-{}", member.number));
        let mut words: Vec<OsString> = vec!["downpour".into()];
        let mut word = |name: &str, value: OsString| words.extend([name.into(), value]);
        word("--data", self.data.clone().into());
        word("--output", folder.into());
        word("--recipe", RECIPE.into());
        if let Some([least, most]) = member.area {
            word("--set", format!("sampling.area={least},{most}").into());
        }
        word("--input-size", self.input_size.to_string().into());
        word("--width", member.width.to_string().into());
        word("--epochs", self.epochs.to_string().into());
        word("--sample-seed", member.number.to_string().into());
        Ok(Options::parse(words)?)
    }
}

/// Runs `downpour ensemble`: trains the seven models one after the other, scores them, and prints a table
/// like the paper's Table 3.
///
/// # Errors
/// If a model cannot be trained, which the text names, or if the models cannot be scored.
pub async fn run(flags: &Flags) -> Result<Exit, Failure> {
    let mut interrupts = Interrupts::listen()?;
    std::fs::create_dir_all(&flags.output).map_err(|error| {
        Failure::bad_input(format!(
            "cannot create the output folder {}: {error}; name a folder that can be made with --output",
            flags.output.display()
        ))
    })?;
    let members = flags.members();
    let of_member = |member: &Member, failure: Failure| Failure {
        text: format!("model {}: {}", member.number, failure.text),
        ..failure
    };
    let mut runs = Vec::new();
    for member in &members {
        let options = flags.options(member)?;
        // What is wrong with the last is said before the first is trained.
        settle(&options).map_err(|failure| of_member(member, failure))?;
        runs.push(options);
    }
    let mut results = Vec::new();
    for (member, options) in members.iter().zip(&runs) {
        process::tell(format_args!("model {} of {}: width {}", member.number, members.len(), member.width));
        match train(options, &mut interrupts).await.map_err(|failure| of_member(member, failure))? {
            Training::Finished(result) => results.push(*result),
            Training::Interrupted => return Ok(Exit::Interrupted),
        }
    }
    logs::start(&LogFlags::default());
    let options = EvaluateOptions {
        models: results.iter().map(|result| result.model.clone()).collect(),
        labels: None,
        data: Data::Folder(flags.data.clone()),
        part: Part::Unseen,
        crops: flags.crops.clone(),
        combine: Combine::Mean,
        output: flags.output.join("evaluation"),
        tensorboard: None,
        threads: Threads::default(),
        loader_threads: 1,
        isa: process::isa_name(None),
    };
    let Some(evaluated) = evaluated(options, &mut interrupts).await? else { return Ok(Exit::Interrupted) };
    let text = format!("{}\n\n{}", evaluated.text(), averages(&results[..ALIKE]));
    print_line(text).map_err(|error| Failure::broken(format!("cannot print the result: {error}")))?;
    Ok(Exit::Done)
}

/// Returns a text with the scores of the averaged parameters and of the last iterate, a line for each model.
fn averages(results: &[RunResult]) -> String {
    let mut text =
        "The average of the parameters and the last iterate, one centre crop (models that differ in their \
                    samples alone):"
            .to_owned();
    for (result, number) in results.iter().zip(1..) {
        text += &format!(
            "\nmodel {number}: average top-1 {:.2} %, loss {:.4}; last iterate top-1 {:.2} %, loss {:.4}",
            100.0 * result.top1,
            result.loss,
            100.0 * result.last_iterate.top1,
            result.last_iterate.loss
        );
    }
    text
}
