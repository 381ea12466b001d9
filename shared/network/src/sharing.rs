//! One arena for all activations and their gradients: what is not needed at the same time shares memory.
//!
//! A training step is a row of moments: the layers forward, the losses, the layers backward. A buffer's values are needed
//! from the first layer that writes them to the last that reads them, forward or backward; its gradient, which comes the
//! other way, from the backward pass of the last layer that reads the buffer down to that of the first that writes it. Early
//! maps are the largest, and their gradients come last, when the values of everything above are done with.

use std::ops::RangeInclusive;

use crate::layers::Layer;
use crate::network::Head;

/// Places in the arena are whole cache lines, in floats.
const LINE: usize = 16;

/// Where values and gradients lie in the arena, all in floats of one image.
#[derive(Debug, Default)]
pub(crate) struct Sharing {
    /// Where the values of each buffer start.
    pub values: Vec<usize>,
    /// Where its gradient starts; none where only the forward pass runs.
    pub gradients: Vec<usize>,
    /// Floats of the arena.
    pub len: usize,
}

/// The moments at which something is needed.
type Life = RangeInclusive<usize>;

const NEVER: Life = RangeInclusive::new(usize::MAX, 0);

impl Sharing {
    /// For training steps with buffers of these lengths.
    pub fn training(buffers: &[usize], layers: &[Layer], heads: &[Head]) -> Sharing {
        let lives: Vec<_> =
            values(buffers, layers, heads, true).chain(gradients(buffers, layers, heads)).collect();
        let lengths = [buffers, buffers].concat();
        let (mut values, len) = places(&lengths, &lives);
        let gradients = values.split_off(buffers.len());
        Sharing { values, gradients, len }
    }

    /// For the forward pass alone.
    pub fn forward(buffers: &[usize], layers: &[Layer], heads: &[Head]) -> Sharing {
        let lives: Vec<_> = values(buffers, layers, heads, false).collect();
        let (values, len) = places(buffers, &lives);
        Sharing { values, gradients: Vec::new(), len }
    }
}

/// The moments of the backward pass of a layer; those of the forward passes are the layers' indices, and that of the losses
/// is their number.
fn backward(layer: usize, layers: &[Layer]) -> usize {
    2 * layers.len() - layer
}

/// When each buffer's values are needed.
fn values(buffers: &[usize], layers: &[Layer], heads: &[Head], training: bool) -> impl Iterator<Item = Life> {
    let mut lives = vec![NEVER; buffers.len()];
    for (index, layer) in layers.iter().enumerate() {
        for moment in [Some(index), layer.leader].into_iter().flatten() {
            include(&mut lives[layer.operation.output()], moment);
        }
        if let Some(buffer) = layer.operation.input() {
            include(&mut lives[buffer], index);
        }
        for buffer in layer.operation.remembers().into_iter().flatten().filter(|_| training) {
            include(&mut lives[buffer], backward(index, layers));
        }
    }
    for head in heads {
        include(&mut lives[head.logits.buffer], layers.len());
    }
    lives.into_iter()
}

/// When each buffer's gradient is needed.
fn gradients(buffers: &[usize], layers: &[Layer], heads: &[Head]) -> impl Iterator<Item = Life> {
    let mut lives = vec![NEVER; buffers.len()];
    for (index, layer) in layers.iter().enumerate() {
        for moment in [Some(index), layer.leader].into_iter().flatten() {
            include(&mut lives[layer.operation.output()], backward(moment, layers));
        }
        if let Some(buffer) = layer.operation.input() {
            include(&mut lives[buffer], backward(index, layers));
        }
    }
    for head in heads {
        include(&mut lives[head.logits.buffer], layers.len());
    }
    lives.into_iter()
}

fn include(life: &mut Life, moment: usize) {
    *life = moment.min(*life.start())..=moment.max(*life.end());
}

/// Where things of these lengths start, and the length of the whole: the largest first, each at the first place
/// that is free all its life.
fn places(lengths: &[usize], lives: &[Life]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&thing| std::cmp::Reverse(lengths[thing]));
    let mut starts = vec![0; lengths.len()];
    let mut placed: Vec<usize> = Vec::new();
    let end = |starts: &[usize], thing: usize| starts[thing] + lengths[thing].next_multiple_of(LINE);
    for thing in order {
        let together = |other: &&usize| {
            lives[thing].start() <= lives[**other].end() && lives[**other].start() <= lives[thing].end()
        };
        let mut start = 0;
        // By their starts: the first gap that is wide enough.
        for &other in placed.iter().filter(together) {
            if start + lengths[thing] <= starts[other] {
                break;
            }
            start = start.max(end(&starts, other));
        }
        starts[thing] = start;
        placed.insert(placed.partition_point(|&other| starts[other] <= start), thing);
    }
    let len = (0..lengths.len()).map(|thing| end(&starts, thing)).max().unwrap_or(0);
    (starts, len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Architecture, GoogLeNet};

    #[test]
    fn a_chain_takes_its_two_largest_neighbours() {
        let (starts, len) = places(&[48, 32, 32, 16, 16], &[0..=1, 1..=2, 2..=3, 3..=4, 4..=5]);
        assert_eq!((starts, len), (vec![0, 48, 0, 32, 0], 80));
    }

    #[test]
    fn what_is_needed_together_never_overlaps() {
        let lengths = [1, 20, 33, 4, 50, 6, 70];
        let lives = [0..=4, 1..=2, 2..=3, 3..=6, 4..=4, 5..=6, 0..=0];
        let (starts, len) = places(&lengths, &lives);
        for (a, life) in lives.iter().enumerate() {
            assert!(starts[a].is_multiple_of(LINE) && starts[a] + lengths[a] <= len);
            for (b, other) in lives.iter().enumerate().skip(a + 1) {
                let together = life.start() <= other.end() && other.start() <= life.end();
                let apart = starts[a] + lengths[a] <= starts[b] || starts[b] + lengths[b] <= starts[a];
                assert!(apart || !together, "{life:?} and {other:?}");
            }
        }
    }

    #[test]
    fn the_whole_network_takes_little() {
        let network = GoogLeNet::new(&Architecture::paper()).unwrap();
        let lengths: Vec<usize> =
            network.plan().buffers.iter().map(|length| length.floats::<f32>()).collect();
        let apart: usize = lengths.iter().sum();
        let training = Sharing::training(&lengths, network.layers(), network.heads()).len;
        let forward = Sharing::forward(&lengths, network.layers(), network.heads()).len;
        assert!(5 * forward < 2 * apart, "forward {forward} of {apart} values an image");
        assert!(training < apart, "training {training} of {apart} values and as many gradients an image");
    }
}
