//! Blocks of the flat vector: the unit of transfer, of versioning and of placement on shards.

use std::ops::Range;

/// Largest number of values in one block, the unit in which tensors are transferred: 1 MiB of f32, well under
/// gRPC's default limit of 4 MiB per message.
pub const BLOCK_VALUES: usize = 262_144;

/// A block: a contiguous piece of one tensor of at most [`BLOCK_VALUES`] values. It is the unit in which
/// parameters and gradients are transferred and spread over the shards of the parameter server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Index of the block among all blocks of the layout, which are in the order of the flat vector.
    pub index: u32,
    /// Index in the layout of the tensor that the block is a piece of.
    pub tensor: usize,
    /// Positions of the block's values in the flat vector, in which the values of all tensors follow one
    /// another.
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
