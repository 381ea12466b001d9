//! `downpour evaluate`: what models score on images, by one crop or many, alone or together (paper, section
//! 7), without a server.
//!
//! Each model's probabilities are computed once for each number of crops and kept in the output folder, so
//! that an evaluation goes on after an interruption and an ensemble costs nothing once its members are done.

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

/// Inputs of one forward pass, where one image has not more.
const INPUTS: usize = 16;
/// Time between two lines of progress in the log.
const RHYTHM: Duration = Duration::from_secs(10);
/// Value in the place of each probability of an image that cannot be read.
const UNREADABLE: f32 = -1.0;

/// Options of [`evaluate`].
#[derive(Clone, Debug)]
pub struct EvaluateOptions {
    /// The model files: one, or the members of an ensemble.
    pub models: Vec<PathBuf>,
    /// Labels, one a line, in place of the models' own.
    pub labels: Option<PathBuf>,
    /// The images to score the models on.
    pub data: Data,
    /// The part of a folder without a validation split that is scored.
    pub part: Part,
    /// Numbers of crops, each a row of the table.
    pub crops: Vec<Crops>,
    /// The rule by which crops become one prediction.
    pub combine: Combine,
    /// Folder for predictions and pictures.
    pub output: PathBuf,
    /// Threads that compute.
    pub threads: Threads,
    /// Threads that decode images.
    pub loader_threads: usize,
    /// Instruction set; `None`: the best of the machine.
    pub isa: Option<String>,
}

/// Result of an evaluation.
#[derive(Clone, Debug, Serialize)]
pub struct EvaluationResult {
    /// Number of images scored.
    pub images: u64,
    /// Share of images whose most probable class is right, of all models by the most crops: the last row of
    /// the table.
    pub top1: f64,
    /// Share of images whose five most probable classes hold the right one.
    pub top5: f64,
    /// Mean cross-entropy.
    pub loss: f64,
    /// The table; a single model's rows are those of the best by top-1 error at the fewest crops, as in the
    /// paper.
    pub rows: Vec<Row>,
    /// Scores of each model alone, where there are several.
    pub members: Vec<MemberScores>,
    /// Class folders that are no label of the models: predicted, not scored.
    pub unscored: Vec<String>,
    /// Whether only the images are scored that training held out.
    pub held_out: bool,
    /// A note for people about the choice of images: some were held out, or trained on.
    pub note: Option<String>,
    /// Images that could not be read.
    pub unreadable: u64,
    /// Folder of predictions and pictures.
    pub output: PathBuf,
}

/// Scores of one model alone.
#[derive(Clone, Debug, Serialize)]
pub struct MemberScores {
    /// The model file.
    pub model: PathBuf,
    /// Crops of each image.
    pub crops: usize,
    /// Share of images whose most probable class is right.
    pub top1: f64,
    /// Share of images whose five most probable classes hold the right one.
    pub top5: f64,
    /// Mean cross-entropy.
    pub loss: f64,
}

/// Scores the models and writes predictions and pictures into the output folder.
///
/// # Errors
/// A file that is no model, models of different classes, data that cannot be used or has none of their
/// classes, an output folder that cannot be written or is in use.
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

/// An evaluation that is under way.
struct Evaluator<'a> {
    options: &'a EvaluateOptions,
    data: Arc<Dataset>,
    /// Whether only the images are scored that training held out.
    held_out: bool,
    /// A note for people about the choice of images.
    note: Option<String>,
    /// The label of each class folder, if it has one.
    label_of_class: Vec<Option<u32>>,
    labels: Vec<String>,
    isa: Isa,
    pool: Arc<Pool>,
}

/// Outcomes of all models by one number of crops.
struct Counted {
    /// Outcomes of the images that are scored: those of each model alone, then those of all together.
    outcomes: Vec<Vec<Outcome>>,
    /// Counts of how often each label was taken for each, where there are few labels.
    confusion: Vec<u32>,
    /// A line for each image.
    listing: String,
    unreadable: u64,
}

impl Evaluator<'_> {
    /// Computes what is missing of a model's predictions.
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
        let (first, views) = (predictions.rows, crops.count());
        let batch = (INPUTS / views).max(1);
        let mut engine = member.model.engine(batch * views, self.isa, Arc::clone(&self.pool))?;
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
            "{}: {views} crops of {} images{}",
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

    /// Scores each model and all together.
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

    /// Makes the table and writes the files.
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

/// Computes a row of probabilities for each position of a minibatch, whose first position is `first`; none if
/// no image could be read.
fn rows(
    minibatch: &Minibatch,
    first: usize,
    logits: Option<ArrayView2<f32>>,
    combine: Combine,
) -> Option<Vec<f32>> {
    let logits = logits?;
    let (views, classes) = (logits.nrows() / minibatch.samples.len(), logits.ncols());
    let mut rows = vec![UNREADABLE; minibatch.positions as usize * classes];
    for (&sample, logits) in minibatch.samples.iter().zip(logits.axis_chunks_iter(ndarray::Axis(0), views)) {
        let at = (sample as usize - first) * classes;
        combined(logits, combine, &mut rows[at..at + classes]);
    }
    Some(rows)
}

/// Computes the outcome of probabilities, which need not sum to one; too small ones count as the smallest
/// normal number.
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
    /// Returns the table and what else there is to say, for people.
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
