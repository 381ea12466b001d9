//! The line of training metrics that the coordinator reports at intervals.

use super::{report::MOST_HEADS, scores::Scores};
use crate::{
    fields::{FieldError, listed},
    proto,
};

/// A line of training metrics: means and sums over all workers since the previous line.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TrainingLine {
    /// Number of minibatches of the whole run so far whose gradients the shards have acknowledged: the global
    /// step.
    pub step: u64,
    /// Number, from 0, of the epoch that the run is in when the line is made.
    pub epoch: u64,
    /// Number of epochs of the whole run; the last one may not be whole.
    pub epochs: u64,
    /// Number of samples that the run has trained on so far.
    pub samples: u64,
    /// Share of the run's samples that it has trained on so far, 0 to 1.
    pub done: f64,
    /// Time in seconds that the rest of the samples takes at the recent pace, in which pauses do not count;
    /// `None` while it is not known, and once no samples are left.
    pub seconds_left: Option<f64>,
    /// Mean loss of the main head over the images since the previous line, in nats.
    pub loss: f64,
    /// Mean loss of each auxiliary head over the images since the previous line, in nats.
    pub auxiliary_losses: Vec<f64>,
    /// Mean scores of the main head over the training images since the previous line: of a classifier `top1`,
    /// the share of images whose most probable class is right.
    #[serde(flatten)]
    pub scores: Scores,
    /// Training speed in images per second, all workers together, while any of them trained.
    pub images_per_second: f64,
    /// Learning rate that the schedule gave for the newest update; 0 before the first.
    pub learning_rate: f64,
    /// Mean staleness of the updates applied since the previous line. The staleness of an update is the
    /// number of other updates that its block (a piece of a tensor) received after the fetch that its
    /// gradient was computed from.
    pub staleness_mean: f64,
    /// Largest staleness of an update applied since the previous line, from 128 on rounded down to a power of
    /// two.
    pub staleness_max: u64,
    /// Number of bytes of encoded gradients that the shards received since the previous line.
    pub bytes_in: u64,
    /// Number of bytes of encoded parameters that the shards sent since the previous line.
    pub bytes_out: u64,
    /// Number of leases, ranges of samples to train on, that workers hold.
    pub leases: u32,
    /// Number of workers that take part in the run (its members) when the line is made.
    pub workers: u32,
    /// Number of pushes, each the gradient of one block of the parameters, that the shards refused since the
    /// previous line.
    pub refused: u64,
    /// Number of pushes that the shards scaled down since the previous line, because their largest value was
    /// over 100 times the usual one.
    pub limited: u64,
    /// Gradient noise scale, in images: the size of a minibatch whose gradient is as much noise as signal;
    /// `None` while it is not known.
    pub noise_scale: Option<f64>,
    /// Effective number of workers: the present ones train as fast as this many would if each added the full
    /// gain of a first one. It is smaller than their number since, towards the gradient noise scale, further
    /// images in an update gain less and less. `None` while the noise scale is not known.
    pub useful_workers: Option<f64>,
}

impl From<TrainingLine> for proto::TrainingLine {
    fn from(line: TrainingLine) -> proto::TrainingLine {
        proto::TrainingLine {
            step: line.step,
            epoch: line.epoch,
            epochs: line.epochs,
            samples: line.samples,
            done: line.done,
            seconds_left: line.seconds_left,
            loss: line.loss,
            auxiliary_losses: line.auxiliary_losses,
            images_per_second: line.images_per_second,
            learning_rate: line.learning_rate,
            staleness_mean: line.staleness_mean,
            staleness_max: line.staleness_max,
            bytes_in: line.bytes_in,
            bytes_out: line.bytes_out,
            leases: line.leases,
            workers: line.workers,
            refused: line.refused,
            limited: line.limited,
            noise_scale: line.noise_scale,
            useful_workers: line.useful_workers,
            scores: line.scores.into(),
        }
    }
}

impl TryFrom<proto::TrainingLine> for TrainingLine {
    type Error = FieldError;

    fn try_from(line: proto::TrainingLine) -> Result<TrainingLine, FieldError> {
        Ok(TrainingLine {
            scores: Scores::sums(line.scores, "TrainingLine", "scores")?,
            step: line.step,
            epoch: line.epoch,
            epochs: line.epochs,
            samples: line.samples,
            done: line.done,
            seconds_left: line.seconds_left,
            loss: line.loss,
            auxiliary_losses: listed(
                line.auxiliary_losses,
                MOST_HEADS,
                "values",
                "TrainingLine",
                "auxiliary_losses",
            )?,
            images_per_second: line.images_per_second,
            learning_rate: line.learning_rate,
            staleness_mean: line.staleness_mean,
            staleness_max: line.staleness_max,
            bytes_in: line.bytes_in,
            bytes_out: line.bytes_out,
            leases: line.leases,
            workers: line.workers,
            refused: line.refused,
            limited: line.limited,
            noise_scale: line.noise_scale,
            useful_workers: line.useful_workers,
        })
    }
}
