//! The command `downpour evaluate`: scores models on images, with one or many crops of each image and alone
//! or as an ensemble (paper, section 7), without a server.
//!
//! Each model's probabilities are computed once for each number of crops and kept in the output folder, so
//! that an interrupted evaluation can be resumed and an ensemble costs nothing more than its members. What is
//! kept belongs to an image as its file is: of a file that has changed, or could not be read, it is computed
//! anew.

mod chosen;
mod chunks;
mod classes;
pub(crate) mod combine;
mod conclude;
mod count;
mod gallery;
mod members;
mod mistakes;
mod pictures;
mod predict;
mod predictions;
mod result;
mod table;

use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use dataset::{Crops, Split};
use setup::{Data, Threads, isa};

use crate::labels;
use chosen::Chosen;
pub use chosen::Part;
pub use classes::ClassScores;
pub use combine::Combine;
use members::{Distinct, Member};
use predict::Evaluator;
pub use result::{EvaluationResult, MemberScores};
pub use table::{Estimate, Row};

/// Options of [`evaluate`], which scores models on images.
#[derive(Clone, Debug)]
pub struct EvaluateOptions {
    /// Paths of the model files to score: one, or those of an ensemble, whose probabilities are averaged.
    pub models: Vec<PathBuf>,
    /// Path of a text file of class labels, one per line in the order of the networks' outputs, to use
    /// instead of those in the model files; `None` means those in the files.
    pub labels: Option<PathBuf>,
    /// The images to score the models on.
    pub data: Data,
    /// Which images of the data folder to score if the folder has no validation split.
    pub part: Part,
    /// Numbers of crops (parts of an image that are classified) from which each image's prediction is
    /// combined; the table of the result has rows for each number.
    pub crops: Vec<Crops>,
    /// The rule by which the class probabilities of an image's crops become one prediction.
    pub combine: Combine,
    /// Folder to write the predictions, the scores and the plots to; predictions that an earlier evaluation
    /// left there are not computed again.
    pub output: PathBuf,
    /// Folder to write an event file of TensorBoard to, with the pictures of the worst mistakes; `None` means that
    /// none is written.
    pub tensorboard: Option<PathBuf>,
    /// Number of threads that compute the network, and the CPUs on which they run.
    pub threads: Threads,
    /// Number of threads that decode images.
    pub loader_threads: usize,
    /// Name of the CPU instruction set to compute with, such as "avx2"; `None` means the best of this
    /// machine.
    pub isa: Option<String>,
}

/// The end of an evaluation.
#[derive(Clone, Debug)]
pub enum Evaluation {
    /// All images were predicted, and the scores were written.
    Finished(Box<EvaluationResult>),
    /// It was asked to stop before that.
    Stopped(Stopped),
}

/// The place at which an evaluation stopped, from where another one with the same options goes on. Its text is
/// for the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Number of predictions that need not be made any more: one for each image, model and number of crops.
    pub done: u64,
    /// Number of predictions of the whole evaluation.
    pub all: u64,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stopped after {} of {} predictions; the same command goes on", self.done, self.all)
    }
}

/// Scores the models of `options` on its images, and writes the predictions, the result and the plots to its
/// output folder. Once `stop` is true, it stops after the inputs that it is computing.
///
/// # Errors
/// If a file of `options.models` is not a model, if the models have different classes, if the data cannot be
/// used or have none of the models' classes, or if the output folder cannot be written or is in use by
/// another evaluation.
pub fn evaluate(options: &EvaluateOptions, stop: &AtomicBool) -> anyhow::Result<Evaluation> {
    let isa = isa(options.isa.as_deref())?;
    let members: Vec<Member> =
        options.models.iter().map(|path| Member::open(path)).collect::<anyhow::Result<_>>()?;
    let classes = members::common_classes(&members)?;
    let labels = match &options.labels {
        Some(path) => labels::read(path, classes.len())?,
        None => classes.to_vec(),
    };
    let Chosen { data, held_out, note } = Chosen::of(&options.data, &members, options.part)?;
    let label_of_class = labels::of_folders(data.classes(), &labels)?;
    let kept = options.output.join("predictions");
    std::fs::create_dir_all(&kept).with_context(|| format!("create folder {}", kept.display()))?;
    let pool = options.threads.pool()?;

    let mut crops = options.crops.clone();
    crops.sort_unstable();
    crops.dedup();
    let stamps = data.stamps(Split::Validation);
    let data = Arc::new(data);
    let evaluator =
        Evaluator { options, stop, data, stamps, held_out, note, label_of_class, labels, isa, pool };
    let images = evaluator.stamps.len() as u64;
    let Distinct { models, place_of } = Distinct::of(&members);
    let all = images * (crops.len() * models.len()) as u64;
    let (mut counted, mut done) = (Vec::new(), 0);
    for &crops in &crops {
        let mut predicted = Vec::new();
        for model in &models {
            match evaluator.predict(model, crops, &kept)? {
                ControlFlow::Continue(predictions) => predicted.push(predictions),
                ControlFlow::Break(part) => {
                    return Ok(Evaluation::Stopped(Stopped { done: done + part, all }));
                }
            }
            done += images;
        }
        counted.push((crops, evaluator.count(predicted, &place_of)?));
    }
    Ok(Evaluation::Finished(Box::new(evaluator.conclude(&members, counted)?)))
}
