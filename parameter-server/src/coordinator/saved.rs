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
    /// Configuration of the run, completed by the data's number of classes.
    pub configuration: RunConfiguration,
    /// Description of the data that the run trains on.
    pub data: DataDescription,
    /// Progress of the run: which images were leased, used and skipped, and the ledger of each epoch.
    pub progress: Progress,
    /// Number of minibatches of the run whose pushes every shard has acknowledged.
    pub steps: u64,
    /// Unreadable training images found so far, each as "path: reason".
    pub unreadable: BTreeSet<String>,
    /// Results of the evaluations so far, the oldest first.
    pub evaluations: Vec<Evaluation>,
    /// Whether the run is complete, its last evaluation included.
    pub finished: bool,
    /// Addresses of the server's processes, each "host:port", in the order of the shards that they hold.
    pub addresses: Vec<String>,
    /// Whether momentum has moved from the shards to the workers.
    #[serde(default)]
    pub momentum_moved: bool,
}

impl SavedRun {
    /// Whether the saved numbers of images agree with each other and with the data, so that a run can resume
    /// from them.
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
