//! Status of a shard.

use super::refusal::Answer;
use crate::{
    fields::{FieldError, required, same_fields},
    proto,
};

/// Status of a shard. Counters start with its process unless stated otherwise.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ShardStatus {
    /// Number of the shard.
    pub shard: u32,
    /// Number of blocks that the shard owns.
    pub blocks: u32,
    /// Number of updates applied, one for each pushed block.
    pub updates: u64,
    /// Number of pushes that had been applied before and were not applied again.
    pub repeated: u64,
    /// Number of pushes refused.
    pub refused: u64,
    /// Sum of the staleness of all updates applied, each counted in updates of its block.
    pub staleness_sum: u64,
    /// Largest staleness of an update applied, counted in updates of its block.
    pub staleness_max: u64,
    /// Number of bytes of encoded gradients received.
    pub bytes_in: u64,
    /// Number of bytes of encoded parameters sent.
    pub bytes_out: u64,
    /// Learning rate of the newest update.
    pub learning_rate: f64,
    /// SHA-256, hexadecimal, of the snapshot file that was just written; only in the answer to a snapshot
    /// order.
    pub snapshot_hash: Option<String>,
    /// Largest number of samples applied to any block of the shard since the start of the run. It falls only
    /// when the shard is restored from a file, by the number of samples lost.
    pub samples: u64,
    /// Fingerprint of the network's layout, hexadecimal, once the shard has adopted one.
    pub layout: Option<String>,
}

same_fields!(ShardStatus, proto::ShardStatus {
    shard, blocks, updates, refused, staleness_sum, staleness_max, bytes_in, bytes_out, learning_rate,
    snapshot_hash, samples, layout; repeated: repeated_pushes
});

impl From<Vec<ShardStatus>> for proto::ShardStatusReply {
    fn from(shards: Vec<ShardStatus>) -> proto::ShardStatusReply {
        proto::ShardStatusReply { shards: Some(shards.into()) }
    }
}

impl TryFrom<proto::ShardStatusReply> for Answer<Vec<ShardStatus>> {
    type Error = FieldError;

    fn try_from(reply: proto::ShardStatusReply) -> Result<Answer<Vec<ShardStatus>>, FieldError> {
        Ok(Ok(required(reply.shards, "ShardStatusReply", "shards")?.into()))
    }
}

impl From<Vec<ShardStatus>> for proto::ShardStatuses {
    fn from(shards: Vec<ShardStatus>) -> proto::ShardStatuses {
        proto::ShardStatuses { shards: shards.into_iter().map(proto::ShardStatus::from).collect() }
    }
}

impl From<proto::ShardStatuses> for Vec<ShardStatus> {
    fn from(statuses: proto::ShardStatuses) -> Vec<ShardStatus> {
        statuses.shards.into_iter().map(ShardStatus::from).collect()
    }
}
