//! Blocks of the flat vector: the unit of transfer, of versioning and of placement on shards.

use std::ops::Range;

/// Largest number of values in one block: 1 MiB of f32, well under gRPC's default limit of 4 MiB per message.
pub const BLOCK_VALUES: usize = 262_144;

/// A block of the flat vector, which is a contiguous piece of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Number of the block in the layout, in the order of the flat vector.
    pub index: u32,
    /// Number of the tensor that the block is a piece of.
    pub tensor: usize,
    /// Positions of the block's values in the flat vector.
    pub range: Range<usize>,
}

/// Cuts the tensors between neighbouring `starts` into blocks.
pub(crate) fn cut(starts: &[usize]) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (tensor, pair) in starts.windows(2).enumerate() {
        for start in (pair[0]..pair[1]).step_by(BLOCK_VALUES) {
            let index = u32::try_from(blocks.len()).expect("a layout is too small for 2^32 blocks");
            blocks.push(Block { index, tensor, range: start..pair[1].min(start + BLOCK_VALUES) });
        }
    }
    blocks
}
