//! The ledger of a shard: the samples behind the updates of its blocks.

use std::collections::BTreeMap;

use crate::proto;

/// Ledger of one shard: for each of its blocks (pieces of tensors), in the order of their numbers, the number
/// of training samples behind the updates that were applied to the block.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ShardLedger {
    /// Generation of the shard, raised by every restore from a file.
    pub generation: u64,
    /// Samples behind all updates of each block since the start of the run.
    pub samples: Vec<u64>,
    /// Samples behind the updates of each block by one worker, by the worker's incarnation (random number of
    /// its join): of the members, and of those that have just left. A worker of which nothing was applied may
    /// be missing.
    pub members: BTreeMap<u64, Vec<u64>>,
}

impl From<ShardLedger> for proto::ShardLedger {
    fn from(ShardLedger { generation, samples, members }: ShardLedger) -> proto::ShardLedger {
        let member = |(incarnation, samples)| proto::MemberSamples { incarnation, samples };
        proto::ShardLedger { generation, samples, members: members.into_iter().map(member).collect() }
    }
}

impl From<proto::ShardLedger> for ShardLedger {
    fn from(proto::ShardLedger { generation, samples, members }: proto::ShardLedger) -> ShardLedger {
        let member = |proto::MemberSamples { incarnation, samples }| (incarnation, samples);
        ShardLedger { generation, samples, members: members.into_iter().map(member).collect() }
    }
}
