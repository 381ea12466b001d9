//! Status of a shard.

use super::{
    refusal::Answer, register::MOST_SHARDS, shard_ledger::ShardLedger, staleness_counts::StalenessCounts,
};
use crate::{
    fields::{FieldError, listed, name, required},
    proto,
};

/// Status of one shard, a part of the network's parameters. Counters start with the shard's process unless
/// stated otherwise.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ShardStatus {
    /// Number of the shard among all shards of the server, from 0.
    pub shard: u32,
    /// Number of blocks (pieces of tensors) that the shard owns.
    pub blocks: u32,
    /// Number of updates applied, one for each pushed block.
    pub updates: u64,
    /// Number of pushes that had been applied before and were not applied again.
    pub repeated: u64,
    /// Number of pushes refused as unusable, such as gradients that are not finite or far too large.
    pub refused: u64,
    /// Number of pushes that were applied after they were scaled down, since their largest value was over 100
    /// times the usual one.
    pub limited: u64,
    /// Sum of the staleness of all updates applied: for each, the number of other updates that its block
    /// received after the fetch that its gradient was computed from.
    pub staleness_sum: u64,
    /// Numbers of updates by their staleness.
    pub staleness_counts: StalenessCounts,
    /// Number of bytes of encoded gradients received.
    pub bytes_in: u64,
    /// Number of bytes of encoded parameters sent.
    pub bytes_out: u64,
    /// Learning rate that the schedule gave for the newest update; 0 before the first.
    pub learning_rate: f64,
    /// SHA-256, hexadecimal, of the shard's file in the snapshot that was just written; `None` except in the
    /// answer to the order to write one.
    pub snapshot_hash: Option<String>,
    /// Number of training samples behind the updates of one block since the start of the run: of the block of
    /// the shard that has most. It falls only when the shard is restored from a file, by the number of
    /// samples whose updates are lost.
    pub samples: u64,
    /// Fingerprint (a hash, hexadecimal) of the network's layout that the shard has adopted, the list of the
    /// network's tensors; `None` before.
    pub layout: Option<String>,
    /// Samples behind the updates of each block; `None` except in the answer to a roster, from a shard that
    /// has the network's layout.
    pub ledger: Option<ShardLedger>,
}

impl ShardStatus {
    /// Returns a copy of the counters: without the ledger, the fingerprint of the layout, and the hash of a file.
    pub fn counters(&self) -> ShardStatus {
        ShardStatus {
            shard: self.shard,
            blocks: self.blocks,
            updates: self.updates,
            repeated: self.repeated,
            refused: self.refused,
            limited: self.limited,
            staleness_sum: self.staleness_sum,
            staleness_counts: self.staleness_counts.clone(),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            learning_rate: self.learning_rate,
            snapshot_hash: None,
            samples: self.samples,
            layout: None,
            ledger: None,
        }
    }
}

impl From<ShardStatus> for proto::ShardStatus {
    fn from(status: ShardStatus) -> proto::ShardStatus {
        proto::ShardStatus {
            shard: status.shard,
            blocks: status.blocks,
            updates: status.updates,
            repeated_pushes: status.repeated,
            refused: status.refused,
            limited: status.limited,
            staleness_sum: status.staleness_sum,
            staleness_counts: status.staleness_counts.into_list(),
            bytes_in: status.bytes_in,
            bytes_out: status.bytes_out,
            learning_rate: status.learning_rate,
            snapshot_hash: status.snapshot_hash,
            samples: status.samples,
            layout: status.layout,
            ledger: status.ledger.map(proto::ShardLedger::from),
        }
    }
}

impl TryFrom<proto::ShardStatus> for ShardStatus {
    type Error = FieldError;

    fn try_from(status: proto::ShardStatus) -> Result<ShardStatus, FieldError> {
        let hash =
            |text: Option<String>, field| text.map(|text| name(text, "ShardStatus", field)).transpose();
        Ok(ShardStatus {
            shard: status.shard,
            blocks: status.blocks,
            updates: status.updates,
            repeated: status.repeated_pushes,
            refused: status.refused,
            limited: status.limited,
            staleness_sum: status.staleness_sum,
            staleness_counts: StalenessCounts::read(
                status.staleness_counts,
                "ShardStatus",
                "staleness_counts",
            )?,
            bytes_in: status.bytes_in,
            bytes_out: status.bytes_out,
            learning_rate: status.learning_rate,
            snapshot_hash: hash(status.snapshot_hash, "snapshot_hash")?,
            samples: status.samples,
            layout: hash(status.layout, "layout")?,
            ledger: status.ledger.map(ShardLedger::try_from).transpose()?,
        })
    }
}

impl From<Vec<ShardStatus>> for proto::ShardStatusReply {
    fn from(shards: Vec<ShardStatus>) -> proto::ShardStatusReply {
        proto::ShardStatusReply { shards: Some(shards.into()) }
    }
}

impl TryFrom<proto::ShardStatusReply> for Answer<Vec<ShardStatus>> {
    type Error = FieldError;

    fn try_from(reply: proto::ShardStatusReply) -> Result<Answer<Vec<ShardStatus>>, FieldError> {
        Ok(Ok(required(reply.shards, "ShardStatusReply", "shards")?.try_into()?))
    }
}

impl From<Vec<ShardStatus>> for proto::ShardStatuses {
    fn from(shards: Vec<ShardStatus>) -> proto::ShardStatuses {
        proto::ShardStatuses { shards: shards.into_iter().map(proto::ShardStatus::from).collect() }
    }
}

impl TryFrom<proto::ShardStatuses> for Vec<ShardStatus> {
    type Error = FieldError;

    fn try_from(statuses: proto::ShardStatuses) -> Result<Vec<ShardStatus>, FieldError> {
        let statuses = listed(statuses.shards, MOST_SHARDS as usize, "shards", "ShardStatuses", "shards")?;
        statuses.into_iter().map(ShardStatus::try_from).collect()
    }
}
