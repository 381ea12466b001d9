//! The values of one block.

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
        let wire = codec::parameter_format(block.wire, "BlockValues")?;
        Ok(BlockValues {
            block: block.block,
            version: required(block.version, "BlockValues", "version")?.into(),
            values: Values::decode(wire, block.values, "BlockValues", "values")?,
        })
    }
}
