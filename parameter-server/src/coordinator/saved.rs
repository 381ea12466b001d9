//! The state of a run apart from the shards, as snapshots keep it.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{DataDescription, Evaluation, Life, RATE_FACTORS};
use serde::{Deserialize, Serialize};
use settings::RunConfiguration;

use super::{
    ending,
    evaluations::best,
    leases::{Progress, Range},
};
use crate::{telemetry::PatienceLine, update_rule};

/// State of a run apart from the shards' parameters and optimizer state, as a snapshot keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedRun {
    /// Configuration of the run, completed by the data's number of classes.
    pub configuration: RunConfiguration,
    /// Description of the data that the run trains on.
    pub data: DataDescription,
    /// Progress of the run: which images were given to workers and are not done yet, and for each epoch how
    /// many were used, repeated, skipped and lost.
    pub progress: Progress,
    /// Number of minibatches of the run whose pushes every shard has acknowledged.
    pub steps: u64,
    /// Unreadable training images found so far, each as "path: reason".
    pub unreadable: BTreeSet<String>,
    /// Results of the evaluations so far, the oldest first.
    pub evaluations: Vec<Evaluation>,
    /// Whether the run is complete, its last evaluation included.
    pub finished: bool,
    /// Number of samples over which the learning rate rises at the start of the run, whose length may have been
    /// another then; `None` in a snapshot of an earlier release, whose run has the length that it began with.
    #[serde(default)]
    pub ramp_samples: Option<u64>,
    /// Number of samples of one stair of the learning rate, which may be a share of the length that the run had when
    /// it began; `None` in a snapshot of an earlier release, where it follows from the configuration.
    #[serde(default)]
    pub stair_samples: Option<u64>,
    /// Addresses of the server's processes, each "host:port", in the order of the shards that they hold.
    pub addresses: Vec<String>,
    /// Whether each worker keeps a velocity (of momentum) of its own, in place of the shards' common one.
    #[serde(default)]
    pub momentum_moved: bool,
    /// Life of the server that the snapshot was taken in, with the run's id. The default in a snapshot of an
    /// earlier release, whose run gets an id when it resumes.
    #[serde(default)]
    pub life: Life,
    /// Surplus of each block of each shard, by shard: the number of samples that the block holds beyond those
    /// that are counted as used, negative if updates were lost. Pushes of workers that were present are left
    /// out.
    #[serde(default)]
    pub surplus: BTreeMap<u32, Vec<i64>>,
    /// Factor on the learning rate of the schedule, as an operator set it; 1 in a snapshot of an earlier
    /// release.
    #[serde(default = "one")]
    pub rate_factor: f64,
}

fn one() -> f64 {
    1.0
}

impl SavedRun {
    /// Returns whether nothing was done in the run between the states `earlier` and `self`, though the server may
    /// have been started again in between, elsewhere.
    pub(crate) fn is_as_far_as(&self, earlier: &SavedRun) -> bool {
        let anywhere =
            |run: &SavedRun| SavedRun { life: Life::default(), addresses: Vec::new(), ..run.clone() };
        anywhere(self) == anywhere(earlier)
    }

    /// Returns the number of samples over which the learning rate rises at the start of the run.
    pub(crate) fn ramp_samples(&self) -> u64 {
        let ramp_now = || update_rule::of(&self.configuration, self.data.images).ramp_samples;
        self.ramp_samples.unwrap_or_else(ramp_now)
    }

    /// Returns the number of samples of one stair of the learning rate.
    pub(crate) fn stair_samples(&self) -> u64 {
        let stair_now = || update_rule::of(&self.configuration, self.data.images).stair_samples;
        self.stair_samples.unwrap_or_else(stair_now)
    }

    /// Returns the patience in epochs with which the run ended before its length, as its evaluations did not gain for
    /// so long; `None` if it is not finished, or has its whole length.
    pub fn ended_early(&self) -> Option<f64> {
        let whole = self.configuration.total_samples(self.data.images);
        let early = self.finished && self.progress.leased < whole;
        self.configuration.run.patience_epochs.filter(|_| early)
    }

    /// Returns whether the run has lost a patience of so many `epochs`, if it is to have any, as a line of metrics.
    pub(crate) fn lost_patience(&self, epochs: Option<f64>) -> Option<PatienceLine> {
        let newest = self.evaluations.last()?;
        ending::lost_patience(epochs, self.data.images, best(&self.evaluations)?, newest)
    }

    /// Whether the saved numbers of images agree with each other and with the data, so that a run can resume
    /// from them.
    pub(crate) fn is_consistent(&self) -> bool {
        let SavedRun { configuration, data, progress, .. } = self;
        let total = update_rule::of(configuration, data.images).total_samples;
        let within = |range: &Range| range.start <= range.end && range.end <= data.images;
        let [least, most] = RATE_FACTORS;
        data.images > 0
            && (least..=most).contains(&self.rate_factor)
            && progress.leased <= total
            && progress.to_do.iter().all(within)
            && progress.is_consistent()
    }
}
