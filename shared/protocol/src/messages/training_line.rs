//! A line of training metrics.

use crate::{fields::same_fields, proto};

/// One line of training metrics, over the time since the line before and all workers together.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TrainingLine {
    /// Global step: the number of minibatches whose push was acknowledged.
    pub step: u64,
    /// Epoch, from 0.
    pub epoch: u64,
    /// Samples used so far.
    pub samples: u64,
    /// Mean loss of the main head.
    pub loss: f64,
    /// Mean losses of the auxiliary heads.
    pub auxiliary_losses: Vec<f64>,
    /// Share of training images whose most probable class of the main head was right.
    pub top1: f64,
    /// Images a second.
    pub images_per_second: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Mean staleness.
    pub staleness_mean: f64,
    /// Largest staleness.
    pub staleness_max: u64,
    /// Bytes of gradients received by the shards, as they travelled.
    pub bytes_in: u64,
    /// Bytes of parameters sent by the shards, as they travelled.
    pub bytes_out: u64,
    /// Number of leases that workers hold.
    pub leases: u32,
    /// Number of workers that are members.
    pub workers: u32,
    /// Number of pushes refused.
    pub refused: u64,
}

same_fields!(
    TrainingLine,
    proto::TrainingLine {
        step,
        epoch,
        samples,
        loss,
        auxiliary_losses,
        top1,
        images_per_second,
        learning_rate,
        staleness_mean,
        staleness_max,
        bytes_in,
        bytes_out,
        leases,
        workers,
        refused,
    }
);
