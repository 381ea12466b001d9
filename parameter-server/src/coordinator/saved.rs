//! The state of a run apart from the shards, as snapshots keep it.

use std::collections::BTreeSet;

use protocol::{DataDescription, Evaluation};
use serde::{Deserialize, Serialize};
use settings::RunConfiguration;

use super::leases::{Progress, Range};
use crate::update_rule;

/// The state of a run apart from the shards, as snapshots keep it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedRun {
    /// The complete configuration.
    pub configuration: RunConfiguration,
    /// Description of the data that the run trains on.
    pub data: DataDescription,
    /// Progress of leases and epochs.
    pub progress: Progress,
    /// Number of minibatches acknowledged.
    pub steps: u64,
    /// Names of the unreadable images found so far.
    pub unreadable: BTreeSet<String>,
    /// Results of the evaluations so far, the oldest first.
    pub evaluations: Vec<Evaluation>,
    /// Whether the run is complete, its last evaluation included.
    pub finished: bool,
    /// Addresses of the processes, in the order of their shards.
    pub addresses: Vec<String>,
    /// Whether momentum has moved from the shards to the workers.
    #[serde(default)]
    pub momentum_moved: bool,
}

impl SavedRun {
    /// Whether the numbers are consistent with each other, so that a run can resume from them.
    pub(crate) fn is_consistent(&self) -> bool {
        let SavedRun { configuration, data, progress, .. } = self;
        let total = update_rule::of(configuration, data.images).total_samples;
        let within = |range: &Range| range.start <= range.end && range.end <= data.images;
        data.images > 0
            && progress.leased <= total
            && progress.to_do.iter().all(within)
            && progress.is_consistent()
    }
}
