//! The line of training metrics that the coordinator reports at intervals.

use super::scores::Scores;
use crate::{fields::FieldError, proto};

/// A line of training metrics: means and sums over all workers since the previous line.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TrainingLine {
    /// Number of minibatches of the whole run so far whose pushes were acknowledged: the global step.
    pub step: u64,
    /// Number of the epoch, from 0.
    pub epoch: u64,
    /// Number of samples that the run has trained on so far.
    pub samples: u64,
    /// Mean loss of the main head over the images since the previous line, in nats.
    pub loss: f64,
    /// Mean loss of each auxiliary head over the images since the previous line, in nats.
    pub auxiliary_losses: Vec<f64>,
    /// Mean scores of the main head over the training images since the previous line.
    #[serde(flatten)]
    pub scores: Scores,
    /// Training speed in images per second, all workers together.
    pub images_per_second: f64,
    /// Learning rate of the newest update.
    pub learning_rate: f64,
    /// Mean staleness of the updates applied since the previous line, counted in updates of a block.
    pub staleness_mean: f64,
    /// Largest staleness of an update applied since the shard processes started, counted in updates of a
    /// block.
    pub staleness_max: u64,
    /// Number of bytes of encoded gradients that the shards received since the previous line.
    pub bytes_in: u64,
    /// Number of bytes of encoded parameters that the shards sent since the previous line.
    pub bytes_out: u64,
    /// Number of leases, ranges of samples to train on, that workers hold.
    pub leases: u32,
    /// Number of workers that are members.
    pub workers: u32,
    /// Number of block pushes that the shards refused since the previous line.
    pub refused: u64,
    /// Gradient noise scale, in images: the size of a minibatch whose gradient is as much noise as signal; none
    /// while it is not known.
    pub noise_scale: Option<f64>,
    /// Number of workers that would train as fast as the present ones do if gradient noise cost nothing;
    /// `None` while it is not known.
    pub useful_workers: Option<f64>,
}

impl From<TrainingLine> for proto::TrainingLine {
    fn from(line: TrainingLine) -> proto::TrainingLine {
        proto::TrainingLine {
            step: line.step,
            epoch: line.epoch,
            samples: line.samples,
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
            samples: line.samples,
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
            noise_scale: line.noise_scale,
            useful_workers: line.useful_workers,
        })
    }
}
