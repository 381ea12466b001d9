//! The placement of blocks on shards, which every process computes for itself.

use std::cmp::Reverse;

use crate::{Block, Layout};

/// Places every block of a layout (a piece of a tensor) on one of the `shards` parts of the parameter server;
/// returns the number of the shard, from 0, for each block.
///
/// Blocks are placed from the largest to the smallest, each on the shard with the fewest values so far, so
/// that the numbers of values of any two shards differ by at most one block. The result depends only on the
/// layout and the number of shards.
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
