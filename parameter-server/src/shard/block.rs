//! The state of one block: its values, and a record of the pushes applied to it.

use std::{collections::BTreeMap, sync::Arc};

use protocol::{BlockPush, BlockValues, Version};
use serde::{Deserialize, Serialize};

use crate::optimizer::{Arrays, Values};

/// The state of one block.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BlockState {
    /// The parameters, shared with the fetches that are being sent; while they are shared, an update changes
    /// a copy.
    pub(crate) parameters: Arc<Vec<f32>>,
    pub(crate) average: Vec<f32>,
    /// Arrays that the optimizer keeps for the block, such as velocities, by their names.
    pub(crate) arrays: Arrays,
    /// Number of updates applied to the block since the start of the run.
    pub(crate) counter: u64,
    /// Number of training samples behind the updates applied to the block since the start of the run.
    pub(crate) samples: u64,
    /// The pushes applied from each worker in the roster, by incarnation (random number of its join).
    pub(crate) applied: BTreeMap<u64, AppliedPushes>,
}

/// The pushes of one worker that were applied to a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Recorded", into = "(u64, u64)")]
pub(crate) struct AppliedPushes {
    /// Number of the newest training step.
    pub(crate) newest: u64,
    /// Number of samples behind all of them.
    pub(crate) samples: u64,
    /// Number of samples that were behind the pushes when the worker last sent what was left over of its gradients. Files
    /// do not hold it, and it begins at 0 after a restore.
    pub(crate) flushed: u64,
}

/// The forms in which files have the pushes of one worker: those of earlier releases have the newest step
/// only.
#[derive(Deserialize)]
#[serde(untagged)]
enum Recorded {
    Step(u64),
    StepAndSamples(u64, u64),
}

impl From<Recorded> for AppliedPushes {
    fn from(recorded: Recorded) -> AppliedPushes {
        match recorded {
            Recorded::Step(newest) => AppliedPushes { newest, ..AppliedPushes::default() },
            Recorded::StepAndSamples(newest, samples) => AppliedPushes { newest, samples, flushed: 0 },
        }
    }
}

impl From<AppliedPushes> for (u64, u64) {
    fn from(AppliedPushes { newest, samples, .. }: AppliedPushes) -> (u64, u64) {
        (newest, samples)
    }
}

impl BlockState {
    /// Makes a block at the start of a run.
    pub(super) fn new(parameters: Vec<f32>, arrays: Arrays) -> BlockState {
        BlockState {
            average: parameters.clone(),
            parameters: Arc::new(parameters),
            arrays,
            counter: 0,
            samples: 0,
            applied: BTreeMap::new(),
        }
    }

    /// The block's parameters as a message, without a copy.
    pub(super) fn message(&self, block: u32, generation: u64) -> BlockValues {
        let version = Version { generation, counter: self.counter };
        BlockValues { block, version, values: self.parameters.clone().into() }
    }

    /// Number of the newest step of an incarnation that was applied; `None` if none was.
    pub(super) fn newest(&self, incarnation: u64) -> Option<u64> {
        self.applied.get(&incarnation).map(|applied| applied.newest)
    }

    /// Returns whether an incarnation may push what is left over of its gradients: samples of it have come since it last
    /// did.
    pub(super) fn may_flush(&self, incarnation: u64) -> bool {
        self.applied.get(&incarnation).is_some_and(|applied| applied.flushed < applied.samples)
    }

    /// Records that the push was applied.
    pub(super) fn record(&mut self, push: &BlockPush) {
        let applied = self.applied.entry(push.member.incarnation).or_default();
        applied.newest = push.step;
        applied.samples += u64::from(push.samples);
        if push.samples == 0 {
            applied.flushed = applied.samples;
        }
    }

    /// Number of updates of the block since the version that a push was computed from. A version from before
    /// a restore may be ahead of the block; its staleness counts as 0.
    pub(super) fn staleness(&self, version: Version) -> u64 {
        self.counter.saturating_sub(version.counter)
    }

    /// Returns the block's values for an update, which may change them.
    pub(super) fn values(&mut self) -> Values<'_> {
        let BlockState { parameters, average, arrays, .. } = self;
        Values { weights: Arc::make_mut(parameters).as_mut_slice(), average, arrays }
    }
}
