//! The values of one block, whole or as differences.

use super::version::Version;
use crate::{
    Values, Wire, codec,
    fields::{FieldError, required},
    proto,
};

/// The values of one block (a piece of one tensor, of at most 262144 parameters), with their version.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockValues {
    /// Index of the block among all blocks of the network's parameters, in the order of their layout.
    pub block: u32,
    /// Version of the values, which tells how many updates the block had received.
    pub version: Version,
    /// Values of the block: parameters, or the velocity or average if a fetch asked for these.
    pub values: Values,
}

/// The differences by which a block's parameters changed since the version that a worker has: from a log that
/// the shard publishes, the same for all workers that follow it.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockDifferences {
    /// Index of the block among all blocks of the network's parameters, in the order of their layout.
    pub block: u32,
    /// Version of the values that the differences lead to.
    pub version: Version,
    /// The differences, each with one value per weight of the block, to be added one after the other.
    pub differences: Vec<Values>,
}

/// The parameters of a block, in the answer to a push: whole, or as differences to those that the worker has.
#[derive(Clone, Debug, PartialEq)]
pub enum BlockAnswer {
    /// All values of the block.
    Values(BlockValues),
    /// Differences to the values that the worker has.
    Differences(BlockDifferences),
}

impl BlockAnswer {
    /// Returns the index of the block among all blocks of the network's parameters.
    pub fn block(&self) -> u32 {
        match self {
            BlockAnswer::Values(values) => values.block,
            BlockAnswer::Differences(differences) => differences.block,
        }
    }

    /// Returns the version of the values that a worker has with this answer.
    pub fn version(&self) -> Version {
        match self {
            BlockAnswer::Values(values) => values.version,
            BlockAnswer::Differences(differences) => differences.version,
        }
    }

    /// Returns the whole values; `None` for differences.
    pub fn into_values(self) -> Option<BlockValues> {
        match self {
            BlockAnswer::Values(values) => Some(values),
            BlockAnswer::Differences(_) => None,
        }
    }

    /// Returns whether the answer, with all its differences, is about a block of so many values.
    pub fn has_length(&self, values: usize) -> bool {
        match self {
            BlockAnswer::Values(block) => block.values.len() == values,
            BlockAnswer::Differences(block) => block.differences.iter().all(|one| one.len() == values),
        }
    }

    /// Returns the number of bytes that the values take on the wire, whole ones in the format `wire`.
    pub fn encoded_size(&self, wire: Wire) -> usize {
        match self {
            BlockAnswer::Values(block) => block.values.encoded_size(wire),
            BlockAnswer::Differences(block) => {
                block.differences.iter().map(|one| one.encoded_size(wire)).sum()
            }
        }
    }

    /// Brings `to`, the values that a worker has of the block, up to date.
    ///
    /// # Panics
    /// If the block has another [length](Self::has_length) than `to`.
    pub fn apply(&self, to: &mut [f32]) {
        match self {
            BlockAnswer::Values(block) => block.values.copy_to(to),
            BlockAnswer::Differences(block) => block.differences.iter().for_each(|one| one.add_to(to)),
        }
    }
}

/// Encodes a block.
pub(crate) fn write_block(
    BlockValues { block, version, values }: BlockValues,
    wire: Wire,
) -> proto::BlockValues {
    let (wire, values) = values.encode(wire);
    proto::BlockValues { block, version: Some(version.into()), wire, values }
}

impl TryFrom<proto::BlockValues> for BlockValues {
    type Error = FieldError;

    fn try_from(block: proto::BlockValues) -> Result<BlockValues, FieldError> {
        let wire = codec::whole_format(block.wire, "BlockValues")?;
        Ok(BlockValues {
            block: block.block,
            version: required(block.version, "BlockValues", "version")?.into(),
            values: Values::decode(wire, block.values, "BlockValues", "values")?,
        })
    }
}

/// Encodes differences, which are in the format `wire`.
pub(super) fn write_differences(
    BlockDifferences { block, version, differences }: BlockDifferences,
    wire: Wire,
) -> proto::BlockDifferences {
    let differences = differences.into_iter().map(|one| one.encode(wire).1).collect();
    proto::BlockDifferences { block, version: Some(version.into()), wire: codec::number(wire), differences }
}

impl TryFrom<proto::BlockDifferences> for BlockDifferences {
    type Error = FieldError;

    fn try_from(block: proto::BlockDifferences) -> Result<BlockDifferences, FieldError> {
        let wire = codec::any_format(block.wire, "BlockDifferences")?;
        let read = |bytes| Values::decode(wire, bytes, "BlockDifferences", "differences");
        Ok(BlockDifferences {
            block: block.block,
            version: required(block.version, "BlockDifferences", "version")?.into(),
            differences: block.differences.into_iter().map(read).collect::<Result<_, _>>()?,
        })
    }
}
