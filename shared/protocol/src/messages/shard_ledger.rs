//! The ledger of a shard: the samples behind the updates of its blocks.

use std::collections::BTreeMap;

use super::{layout::MOST_BLOCKS, roster::MOST_LISTED};
use crate::{
    fields::{FieldError, listed},
    proto,
};

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
    /// Pushes of each worker that were scaled down, by the worker's incarnation, since the shard's process
    /// started; workers without any are left out.
    pub limited: BTreeMap<u64, u64>,
}

impl From<ShardLedger> for proto::ShardLedger {
    fn from(ShardLedger { generation, samples, members, limited }: ShardLedger) -> proto::ShardLedger {
        let member = |(incarnation, samples)| proto::MemberSamples { incarnation, samples };
        let pushes = |(incarnation, pushes)| proto::MemberPushes { incarnation, pushes };
        proto::ShardLedger {
            generation,
            samples,
            members: members.into_iter().map(member).collect(),
            limited: limited.into_iter().map(pushes).collect(),
        }
    }
}

impl TryFrom<proto::ShardLedger> for ShardLedger {
    type Error = FieldError;

    fn try_from(ledger: proto::ShardLedger) -> Result<ShardLedger, FieldError> {
        let proto::ShardLedger { generation, samples, members, limited } = ledger;
        let blocks = |samples| listed(samples, MOST_BLOCKS, "blocks", "ShardLedger", "samples");
        let member = |proto::MemberSamples { incarnation, samples }| -> Result<_, FieldError> {
            Ok((incarnation, blocks(samples)?))
        };
        let pushes = |proto::MemberPushes { incarnation, pushes }| (incarnation, pushes);
        let (members, limited) = (
            listed(members, MOST_LISTED, "workers", "ShardLedger", "members")?,
            listed(limited, MOST_LISTED, "workers", "ShardLedger", "limited")?,
        );
        Ok(ShardLedger {
            generation,
            samples: blocks(samples)?,
            members: members.into_iter().map(member).collect::<Result<_, _>>()?,
            limited: limited.into_iter().map(pushes).collect(),
        })
    }
}
