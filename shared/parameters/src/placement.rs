//! The placement of blocks on shards, which every process derives for itself.

use std::cmp::Reverse;

use crate::{Block, Layout};

/// Places every block on one of `shards` shards; returns the shard's number for each block.
///
/// Blocks are placed from the largest to the smallest, each on the shard with the fewest values so far, so
/// that no two shards differ by more than one block. The result depends on the layout and the number of
/// shards only.
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
