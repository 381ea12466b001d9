//! The command `downpour evaluate`: scores models on images, with one or many crops of each image and alone
//! or as an ensemble (paper, section 7), without a server.
//!
//! Each model's probabilities are computed once for each number of crops and kept in the output folder, so
//! that an interrupted evaluation can be resumed and an ensemble costs nothing more than its members.

mod chosen;
pub(crate) mod combine;
mod members;
mod pictures;
mod predictions;
mod table;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use dataset::{Crops, Dataset, Loader, LoaderConfig, LoaderRange, Minibatch, PATIENCE, Sampling, Split};
use kernels::{Isa, Pool};
use ndarray::{Array1, ArrayView1, ArrayView2};
use serde::Serialize;
use setup::memory::MADE_AHEAD;
use setup::{Data, Outcome, Tally, Threads, isa};

use crate::labels;
use chosen::Chosen;
pub use chosen::Part;
pub use combine::Combine;
use combine::{combined, most_probable};
use members::Member;
use pictures::Confusion;
use predictions::{Key, Predictions};
pub use table::{Estimate, Row};

/// Number of inputs in one forward pass, unless a single image has more crops.
const INPUTS: usize = 16;
/// Interval between two lines of progress in the log.
const RHYTHM: Duration = Duration::from_secs(10);
/// Value that stands for each probability of an image that cannot be read.
const UNREADABLE: f32 = -1.0;

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
    /// Number of threads that compute the network, and the CPUs on which they run.
    pub threads: Threads,
    /// Number of threads that decode images.
    pub loader_threads: usize,
    /// Name of the CPU instruction set to compute with, such as "avx2"; `None` means the best of this
    /// machine.
    pub isa: Option<String>,
}

/// The result of an evaluation of one or more models on a set of images: the scores of all models averaged
/// over the largest number of crops, and a table of errors by number of models and of crops.
#[derive(Clone, Debug, Serialize)]
pub struct EvaluationResult {
    /// Number of images that were scored.
    pub images: u64,
    /// Top-1 accuracy: fraction (0 to 1) of the images whose most probable class is the right one. Like
    /// `top5` and `loss` it belongs to the last row of the table, which averages all models over the largest
    /// number of crops.
    pub top1: f64,
    /// Top-5 accuracy: fraction (0 to 1) of the images whose five most probable classes include the right
    /// one.
    pub top5: f64,
    /// Mean cross-entropy per image, in nats, with all models averaged over the largest number of crops.
    pub loss: f64,
    /// The rows of the table of errors: first those of a single model by number of crops, then, if there are
    /// several models, those of all of them averaged. The single model is the one with the smallest top-1
    /// error at the smallest number of crops, as in the paper.
    pub rows: Vec<Row>,
    /// Scores of each model alone, for each number of crops; empty if there is only one model.
    pub members: Vec<MemberScores>,
    /// Names of the data's class folders that match no label of the models. Their images are predicted but
    /// not scored.
    pub unscored: Vec<String>,
    /// Whether the scored images are those that training holds out for validation (a fifth) of a folder
    /// without a validation split; false if they are a validation split or all images.
    pub held_out: bool,
    /// Note for the user on which images were scored, such as that the models were trained on some of them;
    /// `None` if nothing is to be said.
    pub note: Option<String>,
    /// Number of images that could not be read and are left out of the scores.
    pub unreadable: u64,
    /// Folder to which the predictions, the scores and the plots were written.
    pub output: PathBuf,
}

/// Scores of one model of an ensemble alone, with one number of crops of each image.
#[derive(Clone, Debug, Serialize)]
pub struct MemberScores {
    /// Path of the model file.
    pub model: PathBuf,
    /// Number of crops (parts of an image that are classified) from which each image's prediction is
    /// combined.
    pub crops: usize,
    /// Top-1 accuracy: fraction (0 to 1) of the images whose most probable class is the right one.
    pub top1: f64,
    /// Top-5 accuracy: fraction (0 to 1) of the images whose five most probable classes include the right
    /// one.
    pub top5: f64,
    /// Mean cross-entropy per image, in nats.
    pub loss: f64,
}

/// Scores the models of `options` on its images, and writes the predictions, the result and the plots to its
/// output folder.
///
/// # Errors
/// If a file of `options.models` is not a model, if the models have different classes, if the data cannot be
/// used or have none of the models' classes, or if the output folder cannot be written or is in use by
/// another evaluation.
pub fn evaluate(options: &EvaluateOptions) -> anyhow::Result<EvaluationResult> {
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
    let evaluator =
        Evaluator { options, data: Arc::new(data), held_out, note, label_of_class, labels, isa, pool };
    let mut counted = Vec::new();
    for &crops in &crops {
        let predictions: Vec<Predictions> = members
            .iter()
            .map(|member| evaluator.predict(member, crops, &kept))
            .collect::<anyhow::Result<_>>()?;
        counted.push((crops, evaluator.count(predictions)?));
    }
    evaluator.conclude(&members, counted)
}

/// An evaluation in progress.
struct Evaluator<'a> {
    options: &'a EvaluateOptions,
    data: Arc<Dataset>,
    /// Whether only the images that training held out are scored.
    held_out: bool,
    /// Note on the choice of images.
    note: Option<String>,
    /// Label of each class folder; `None` for a folder that matches no label.
    label_of_class: Vec<Option<u32>>,
    labels: Vec<String>,
    isa: Isa,
    pool: Arc<Pool>,
}

/// The outcomes of all models with one number of crops.
struct Counted {
    /// Outcomes of the images that are scored: those of each model alone, then those of all models averaged.
    outcomes: Vec<Vec<Outcome>>,
    /// Confusion matrix, row-major: how often each label (row) was predicted as each label (column); empty if
    /// there are many labels.
    confusion: Vec<u32>,
    /// Text of the file of predictions: a header and a line for each image.
    listing: String,
    unreadable: u64,
}

impl Evaluator<'_> {
    /// Computes those predictions of a model that the output folder does not hold yet.
    fn predict(&self, member: &Member, crops: Crops, kept: &Path) -> anyhow::Result<Predictions> {
        let images = self.data.len(Split::Validation);
        let key = Key {
            model: member.hash.clone(),
            data: self.data.fingerprint().to_string(),
            images,
            classes: member.model.card.classes.len(),
            crops: crops.count(),
            combine: self.options.combine,
        };
        let mut predictions = Predictions::open(kept, &key)?;
        if predictions.complete() {
            return Ok(predictions);
        }
        let (first, per_image) = (predictions.rows, crops.count());
        let batch = (INPUTS / per_image).max(1);
        let mut engine = member.model.engine(batch * per_image, self.isa, Arc::clone(&self.pool))?;
        let config = LoaderConfig {
            threads: self.options.loader_threads,
            size: member.model.input_size(),
            sampling: Sampling::default(),
            preprocessing: member.model.card.preprocessing,
            crops,
            seed: 0,
            batch,
            depth: MADE_AHEAD,
            patience: PATIENCE,
        };
        let mut loader = Loader::new(Arc::clone(&self.data), config);
        loader.request(LoaderRange {
            split: Split::Validation,
            epoch: 0,
            start: first as u64,
            end: images as u64,
        });
        tracing::info!(
            "{}: {per_image} crops of {} images{}",
            member.model.path.display(),
            images - first,
            if first > 0 { format!(", {first} are done") } else { String::new() }
        );
        let (start, mut told) = (Instant::now(), Instant::now());
        while let Some(minibatch) = loader.next()? {
            minibatch.skipped.iter().for_each(|skipped| tracing::warn!("cannot be read: {skipped}"));
            let logits = (!minibatch.labels.is_empty()).then(|| engine.logits(minibatch.images.view()));
            let position = predictions.rows;
            let rows = rows(&minibatch, position, logits.as_ref().map(|l| l.view()), self.options.combine);
            predictions.append(
                &rows.unwrap_or_else(|| vec![UNREADABLE; minibatch.positions as usize * key.classes]),
            )?;
            if told.elapsed() >= RHYTHM {
                told = Instant::now();
                let rate = (predictions.rows - first) as f64 / start.elapsed().as_secs_f64();
                let left = (images - predictions.rows) as f64 / rate;
                tracing::info!(
                    "{} of {images} images, {rate:.1} a second, {left:.0} s left",
                    predictions.rows
                );
            }
        }
        Ok(predictions)
    }

    /// Scores each model alone and all models averaged.
    fn count(&self, mut predictions: Vec<Predictions>) -> anyhow::Result<Counted> {
        let (models, classes) = (predictions.len(), self.labels.len());
        let mut readers =
            predictions.iter_mut().map(Predictions::read).collect::<anyhow::Result<Vec<_>>>()?;
        let mut counted = Counted {
            outcomes: vec![Vec::new(); models + 1],
            confusion: vec![0; if classes <= pictures::MOST_CLASSES { classes * classes } else { 0 }],
            listing: "image\tclass\tlabel".to_owned(),
            unreadable: 0,
        };
        for place in 1..=classes.min(5) {
            counted.listing += &format!("\tguess {place}\tprobability {place}");
        }
        counted.listing.push('\n');
        let mut row = Array1::zeros(classes);
        for image in 0..self.data.len(Split::Validation) {
            let class = self.data.label(Split::Validation, image) as usize;
            let label = self.label_of_class[class];
            let mut together = Array1::<f32>::zeros(classes);
            let mut unreadable = false;
            for (reader, outcomes) in readers.iter_mut().zip(&mut counted.outcomes) {
                reader.next(row.as_slice_mut().expect("a row is contiguous"))?;
                unreadable |= row[0] == UNREADABLE;
                if let (Some(label), false) = (label, unreadable) {
                    outcomes.push(outcome(row.view(), label));
                }
                together += &row;
            }
            if unreadable {
                counted.unreadable += 1;
                continue;
            }
            together /= models as f32;
            let best = most_probable(together.view());
            if let Some(label) = label {
                counted.outcomes[models].push(outcome(together.view(), label));
                if let Some(count) = counted.confusion.get_mut(label as usize * classes + best[0]) {
                    *count += 1;
                }
            }
            let named = label.map_or("-", |label| &self.labels[label as usize]);
            let image = self.data.name(Split::Validation, image);
            counted.listing += &format!("{image}\t{}\t{named}", self.data.classes()[class]);
            for label in best {
                counted.listing += &format!("\t{}\t{:.6}", self.labels[label], together[label]);
            }
            counted.listing.push('\n');
        }
        Ok(counted)
    }

    /// Builds the table and writes the files of the result.
    fn conclude(
        &self,
        members: &[Member],
        counted: Vec<(Crops, Counted)>,
    ) -> anyhow::Result<EvaluationResult> {
        let (fewest, most) = (&counted[0].1, &counted[counted.len() - 1].1);
        let models = members.len();
        let images = fewest.outcomes[models].len();
        ensure!(
            images > 0,
            "none of the images of the model's classes can be read; the log names the reasons"
        );
        let wrong = |outcomes: &Vec<Outcome>| outcomes.iter().filter(|outcome| !outcome.first()).count();
        let best =
            (0..models).min_by_key(|&model| wrong(&fewest.outcomes[model])).expect("at least one model");
        let base = &fewest.outcomes[best];
        let mut rows = Vec::new();
        let columns = if models > 1 { vec![(1, best), (models, models)] } else { vec![(1, 0)] };
        for (number, column) in columns {
            for (crops, counted) in &counted {
                let base = (!rows.is_empty()).then_some(&base[..]);
                rows.push(Row::new(number, *crops, &counted.outcomes[column], base));
            }
        }
        let mut alone = Vec::new();
        for (crops, counted) in counted.iter().filter(|_| models > 1) {
            for (member, outcomes) in members.iter().zip(&counted.outcomes) {
                let scores = tally(outcomes).scores();
                alone.push(MemberScores {
                    model: member.model.path.clone(),
                    crops: crops.count(),
                    top1: scores.top1,
                    top5: scores.top5,
                    loss: scores.loss,
                });
            }
        }
        let output = &self.options.output;
        let listing = output.join("predictions.tsv");
        files::write(&listing, most.listing.as_bytes())
            .with_context(|| format!("write {}", listing.display()))?;
        pictures::write(&output.join("errors.svg"), pictures::errors(&rows))?;
        if !most.confusion.is_empty() {
            let confusion = Confusion { classes: self.labels.clone(), counts: most.confusion.clone() };
            pictures::write(&output.join("confusion.svg"), pictures::confusion(&confusion))?;
        }
        let unscored = self.data.classes().iter().zip(&self.label_of_class);
        let unscored =
            unscored.filter(|(_, label)| label.is_none()).map(|(class, _)| class.clone()).collect();
        let scores = tally(&most.outcomes[models]).scores();
        let result = EvaluationResult {
            images: images as u64,
            top1: scores.top1,
            top5: scores.top5,
            loss: scores.loss,
            rows,
            members: alone,
            unscored,
            held_out: self.held_out,
            note: self.note.clone(),
            unreadable: most.unreadable,
            output: output.clone(),
        };
        let summary = serde_json::to_string_pretty(&result).context("write the table")?;
        let path = output.join("evaluation.json");
        files::write(&path, summary.as_bytes()).with_context(|| format!("write {}", path.display()))?;
        Ok(result)
    }
}

/// Computes a row of probabilities for each position of a minibatch whose first position is `first`; returns
/// `None` if no image could be read.
fn rows(
    minibatch: &Minibatch,
    first: usize,
    logits: Option<ArrayView2<f32>>,
    combine: Combine,
) -> Option<Vec<f32>> {
    let logits = logits?;
    let (per_image, classes) = (logits.nrows() / minibatch.samples.len(), logits.ncols());
    let mut rows = vec![UNREADABLE; minibatch.positions as usize * classes];
    for (&sample, logits) in
        minibatch.samples.iter().zip(logits.axis_chunks_iter(ndarray::Axis(0), per_image))
    {
        let at = (sample as usize - first) * classes;
        combined(logits, combine, &mut rows[at..at + classes]);
    }
    Some(rows)
}

/// Returns the outcome of probabilities, which need not sum to one; those below the smallest normal number
/// count as that number.
fn outcome(probabilities: ArrayView1<f32>, label: u32) -> Outcome {
    let logarithms = probabilities.mapv(|p| if p < f32::MIN_POSITIVE { f32::MIN_POSITIVE } else { p }.ln());
    Outcome::of(logarithms.view(), label)
}

fn tally(outcomes: &[Outcome]) -> Tally {
    let mut tally = Tally::default();
    outcomes.iter().for_each(|outcome| tally.count(outcome));
    tally
}

impl EvaluationResult {
    /// Returns the result as text for the user: the table of errors, notes on the images, and the scores of
    /// all models together.
    pub fn text(&self) -> String {
        let mut text = table::text(&self.rows);
        let mut fewest = self.members.iter().filter(|member| member.crops == self.rows[0].crops).peekable();
        if fewest.peek().is_some() {
            let errors: Vec<String> =
                fewest.map(|member| format!("{:.2}", 100.0 * (1.0 - member.top1))).collect();
            text += &format!(
                "top-1 errors of the models alone, {} crop(s): {} %; the best is the single model above\n",
                self.rows[0].crops,
                errors.join(", ")
            );
        }
        if let Some(note) = &self.note {
            text += &format!("{note}\n");
        }
        if !self.unscored.is_empty() {
            text += &format!("predicted but not scored, no label: {}\n", self.unscored.join(", "));
        }
        if self.unreadable > 0 {
            text += &format!("{} images could not be read\n", self.unreadable);
        }
        text + &format!(
            "top-1 {:.2} %, top-5 {:.2} %, loss {:.4} on {} validation images\nfiles in {}",
            100.0 * self.top1,
            100.0 * self.top5,
            self.loss,
            self.images,
            self.output.display()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_loss_is_of_normalised_scores_and_never_infinite() {
        let found = outcome(array![0.9f32, 0.5].view(), 1);
        assert!(found.not_behind == 1 && (found.loss - (1.4f64 / 0.5).ln()).abs() < 1e-6, "{found:?}");
        assert!(outcome(array![1.0f32, 0.0].view(), 1).loss.is_finite());
    }

    #[test]
    fn an_image_that_cannot_be_read_keeps_its_place() {
        let minibatch = Minibatch {
            images: ndarray::Array4::zeros((2, 3, 1, 1)),
            labels: vec![0, 0],
            samples: vec![10, 12],
            skipped: vec!["b.jpg: damaged".into()],
            positions: 3,
        };
        let logits = array![[0.0, 0.0], [1000.0, 0.0]];
        let found = rows(&minibatch, 10, Some(logits.view()), Combine::Mean).unwrap();
        assert_eq!(found, [0.5, 0.5, UNREADABLE, UNREADABLE, 1.0, 0.0]);
        assert_eq!(rows(&minibatch, 10, None, Combine::Mean), None);
    }
}
