//! Which buffers may share memory: those that are not needed at the same time.
//!
//! A buffer's values are needed from the first layer that writes them to the last that reads them; its gradient, which
//! comes the other way, from that last layer down to that first one. One assignment therefore serves the gradients
//! and, where no backward pass needs them again, the values. Memory that was just read is still in the cache when the next
//! buffer is written there.

use std::ops::RangeInclusive;

use crate::plan::BufferIndex;

/// Memories, and the one that each buffer lies in.
#[derive(Debug, Default)]
pub(crate) struct Sharing {
    /// f32 values that one image takes in each memory: those of its largest buffer.
    pub memories: Vec<usize>,
    /// The memory of each buffer.
    pub memory: Vec<usize>,
}

impl Sharing {
    /// Assigns buffers of these lengths, each needed while these layers run.
    pub fn new(buffers: &[usize], lives: &[RangeInclusive<usize>]) -> Sharing {
        let mut order: Vec<BufferIndex> = (0..buffers.len()).collect();
        order.sort_by_key(|&buffer| *lives[buffer].start());
        let mut sharing = Sharing { memories: Vec::new(), memory: vec![0; buffers.len()] };
        // The last layer that needs each memory.
        let mut busy: Vec<usize> = Vec::new();
        for buffer in order {
            let length = buffers[buffer];
            let free = (0..busy.len()).filter(|&memory| busy[memory] < *lives[buffer].start());
            // The one that fits best: the smallest that is large enough, or else the largest.
            let memory = free.min_by_key(|&memory| {
                let found = sharing.memories[memory];
                (found < length, found.abs_diff(length))
            });
            let memory = memory.unwrap_or_else(|| {
                sharing.memories.push(0);
                busy.push(0);
                busy.len() - 1
            });
            sharing.memories[memory] = sharing.memories[memory].max(length);
            busy[memory] = *lives[buffer].end();
            sharing.memory[buffer] = memory;
        }
        sharing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Architecture, GoogLeNet};

    #[test]
    fn a_chain_takes_two_memories() {
        let sharing = Sharing::new(&[50, 40, 30, 20, 10], &[0..=1, 1..=2, 2..=3, 3..=4, 4..=5]);
        assert_eq!((sharing.memories, sharing.memory), (vec![50, 40], vec![0, 1, 0, 1, 0]));
    }

    #[test]
    fn buffers_that_are_needed_together_never_share() {
        let lives = [0..=4, 1..=2, 2..=3, 3..=6, 4..=4, 5..=6, 0..=0];
        let sharing = Sharing::new(&[1, 2, 3, 4, 5, 6, 7], &lives);
        for (a, life) in lives.iter().enumerate() {
            for (b, other) in lives.iter().enumerate().skip(a + 1) {
                let together = life.start() <= other.end() && other.start() <= life.end();
                assert!(!together || sharing.memory[a] != sharing.memory[b], "{life:?} and {other:?}");
            }
        }
    }

    #[test]
    fn the_whole_network_takes_less_than_a_third() {
        let network = GoogLeNet::new(&Architecture::paper()).unwrap();
        let plan = network.plan();
        let (apart, shared): (usize, usize) = (plan.buffers.iter().sum(), plan.sharing.memories.iter().sum());
        assert!(3 * shared < apart, "{shared} of {apart} values an image");
    }
}
