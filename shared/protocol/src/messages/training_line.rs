//! The line of training metrics that the coordinator reports at intervals.

use super::scores::Scores;
use crate::{fields::FieldError, proto};

/// A line of training metrics: means and sums over all workers since the previous line.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TrainingLine {
    /// Global step: the number of minibatches whose push was acknowledged.
    pub step: u64,
    /// Number of the epoch, from 0.
    pub epoch: u64,
    /// Number of samples used so far.
    pub samples: u64,
    /// Mean loss of the main head.
    pub loss: f64,
    /// Mean losses of the auxiliary heads.
    pub auxiliary_losses: Vec<f64>,
    /// Mean scores of the main head in training.
    #[serde(flatten)]
    pub scores: Scores,
    /// Training speed in images per second, all workers together.
    pub images_per_second: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Mean staleness of the updates applied, in updates.
    pub staleness_mean: f64,
    /// Largest staleness of an update applied, in updates.
    pub staleness_max: u64,
    /// Number of bytes of encoded gradients received by the shards.
    pub bytes_in: u64,
    /// Number of bytes of encoded parameters sent by the shards.
    pub bytes_out: u64,
    /// Number of leases that workers hold.
    pub leases: u32,
    /// Number of workers that are members.
    pub workers: u32,
    /// Number of pushes refused.
    pub refused: u64,
    /// Gradient noise scale, in images: the size of a minibatch whose gradient is as much noise as signal; none
    /// while it is not known.
    pub noise_scale: Option<f64>,
    /// Number of workers that, without the cost of noise, would train as fast as those that there are; none
    /// while it is not known.
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
