//! Blocks: the unit of transfer, of versioning and of placement on shards.

use std::{cmp::Reverse, ops::Range};

use crate::Layout;

/// Most values of one block: 1 MiB of f32, under gRPC's default message limit with room to spare.
pub const BLOCK_VALUES: usize = 262_144;

/// A piece of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Number of the block in the layout, counting up in flat order.
    pub index: u32,
    /// Number of the tensor that it is a piece of.
    pub tensor: usize,
    /// Where it lies in the flat vector.
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

/// Places every block on one of `shards` shards: by block number, the number of its shard.
///
/// The largest goes first, each to the shard with the fewest bytes so far; so no two shards differ by more than
/// one block. Depends on nothing but the layout and the number of shards.
///
/// # Panics
/// If `shards` is 0.
pub fn assign(layout: &Layout, shards: usize) -> Vec<u32> {
    assert!(shards > 0, "cannot place {} blocks on 0 shards", layout.blocks().len());
    let mut order: Vec<&Block> = layout.blocks().iter().collect();
    order.sort_by_key(|block| (Reverse(block.range.len()), block.index));
    let mut loads = vec![0usize; shards];
    let mut placed = vec![0u32; order.len()];
    for block in order {
        let shard = (0..shards).min_by_key(|&shard| loads[shard]).expect("there is at least one shard");
        loads[shard] += block.range.len();
        placed[block.index as usize] = shard as u32;
    }
    placed
}
