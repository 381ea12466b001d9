//! Metrics of a run: the meter that sums them, the list of numbers in a line, and their outputs: the log, the metrics
//! file and the event file.

mod balance;
mod event_file;
mod history;
mod meter;
mod metrics_file;
pub mod noise;
mod numbers;
mod outputs;
mod pace;
pub mod series;
mod worker_meter;

use protocol::{Evaluation, Scores, TrainingLine};
use serde::Serialize;

pub use self::{
    balance::Balance,
    event_file::EventFile,
    history::{History, Point},
    meter::{Meter, RunPosition, Traffic},
    metrics_file::MetricsFile,
    noise::Noise,
    numbers::{NUMBERS, Number, Value},
    outputs::Outputs,
    worker_meter::WorkerMeter,
};

/// Line of metrics, which the server writes to its log and to the files of [`Outputs`].
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// Metrics of the training since the previous training line.
    Train(TrainingLine),
    /// Scores of a finished evaluation on the validation images.
    Evaluation(EvaluationLine),
    /// End of the patience with the run.
    Patience(PatienceLine),
    /// Balance of the run's account, once all workers have left.
    Account(Balance),
}

/// Line of metrics about the end of the patience with a run, whose evaluations do not gain: it ends before its
/// length.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PatienceLine {
    /// Number of samples used when the newest evaluation was ordered.
    pub samples: u64,
    /// Number of samples used when the best evaluation was ordered.
    pub best_samples: u64,
    /// Patience of the run in epochs.
    pub epochs: f64,
}

/// Line of metrics about an evaluation on the validation images, together with numbers of the newest training
/// line (line of training metrics).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvaluationLine {
    /// Number of samples used when the evaluation was ordered.
    pub samples: u64,
    /// Number of validation images that were scored.
    pub images: u64,
    /// Number of images of the validation split that could not be read and were left out.
    pub unreadable: u64,
    /// Scores of the running average of the parameters, which is the model that a run yields.
    #[serde(flatten)]
    pub average: Scores,
    /// Scores of the last iterate, which is the parameters as the newest update left them; `None` where they were
    /// not scored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_iterate: Option<Scores>,
    /// Training speed of the newest training line, in images per second.
    pub images_per_second: f64,
    /// Learning rate in the newest training line: that of the newest update.
    pub learning_rate: f64,
    /// Mean staleness in the newest training line: the number of updates of a parameter between a worker's
    /// fetch and the push of the gradient computed from it.
    pub staleness_mean: f64,
}

impl EvaluationLine {
    /// Combines `evaluation`, made on a validation split of `validation` images, with numbers of the newest
    /// training line, `latest`, which are 0 if there is none.
    pub fn new(evaluation: &Evaluation, validation: u64, latest: Option<&TrainingLine>) -> EvaluationLine {
        EvaluationLine {
            samples: evaluation.samples,
            images: evaluation.images,
            unreadable: validation.saturating_sub(evaluation.images),
            average: evaluation.average.clone(),
            last_iterate: evaluation.last_iterate.clone(),
            images_per_second: latest.map_or(0.0, |line| line.images_per_second),
            learning_rate: latest.map_or(0.0, |line| line.learning_rate),
            staleness_mean: latest.map_or(0.0, |line| line.staleness_mean),
        }
    }
}

impl Line {
    /// Writes the line to the log.
    pub fn log(&self) {
        // More digits than these carry no information and make the line hard to read.
        let digits = |value: f64, digits: i32| (value * 10f64.powi(digits)).round() / 10f64.powi(digits);
        // The log's fields are fixed: a score that a task does not have is left out.
        let score = |scores: &Scores, name| scores.get(name).map(|score| digits(score, 4));
        match self {
            Line::Train(line) => {
                let auxiliary: Vec<f64> = line.auxiliary_losses.iter().map(|loss| digits(*loss, 4)).collect();
                tracing::info!(
                    step = line.step,
                    epoch = line.epoch,
                    samples = line.samples,
                    done = digits(line.done, 4),
                    seconds_left = line.seconds_left.map(|seconds| digits(seconds, 0)),
                    loss = digits(line.loss, 4),
                    auxiliary_losses = ?auxiliary,
                    top1 = score(&line.scores, "top1"),
                    images_per_second = digits(line.images_per_second, 1),
                    learning_rate = digits(line.learning_rate, 7),
                    staleness_mean = digits(line.staleness_mean, 2),
                    staleness_max = line.staleness_max,
                    bytes_in = line.bytes_in,
                    bytes_out = line.bytes_out,
                    leases = line.leases,
                    workers = line.workers,
                    refused = line.refused,
                    limited = line.limited,
                    noise_scale = line.noise_scale.map(|scale| digits(scale, 0)),
                    useful_workers = line.useful_workers.map(|workers| digits(workers, 1)),
                    "training"
                );
            }
            Line::Evaluation(line) => tracing::info!(
                samples = line.samples,
                images = line.images,
                top1 = score(&line.average, "top1"),
                top5 = score(&line.average, "top5"),
                loss = score(&line.average, "loss"),
                last_iterate_top1 = line.last_iterate.as_ref().and_then(|scores| score(scores, "top1")),
                last_iterate_loss = line.last_iterate.as_ref().and_then(|scores| score(scores, "loss")),
                "evaluation of the average"
            ),
            Line::Patience(line) => tracing::info!(
                samples = line.samples,
                best_samples = line.best_samples,
                "the run ends: no evaluation has gained for {} epochs",
                line.epochs
            ),
            Line::Account(balance) => match balance.mismatch {
                None => tracing::info!("{balance}"),
                Some(_) => tracing::error!("{balance}"),
            },
        }
    }
}
