//! Layout of the arena that holds all activations and their gradients: buffers that are not needed at the
//! same time share memory.
//!
//! A training step is a sequence of moments: the layers' forward passes, the losses, the layers' backward
//! passes. The values of a buffer are needed from the first layer that writes them to the last pass, forward
//! or backward, that reads them. Its gradient lives in the opposite direction, from the backward pass of the
//! last layer that reads the buffer down to that of the first layer that writes it. Early maps are the
//! largest, and their gradients come last, when the values above are no longer needed.

use std::ops::RangeInclusive;

use crate::layers::Layer;
use crate::network::Head;

/// Alignment of buffers in the arena: one cache line, in floats.
const LINE: usize = 16;

/// The offsets of values and gradients in the arena, in floats of one image.
#[derive(Debug, Default)]
pub(crate) struct ArenaLayout {
    /// Position in the arena, in floats of one image, at which the values of each buffer start.
    pub values: Vec<usize>,
    /// Position in the arena, in floats of one image, at which the gradient of each buffer starts; empty if
    /// only the forward pass runs.
    pub gradients: Vec<usize>,
    /// Length of the arena, the memory that all values and gradients share, in floats of one image.
    pub len: usize,
}

/// The moments at which a buffer is needed.
type Lifetime = RangeInclusive<usize>;

const NEVER: Lifetime = RangeInclusive::new(usize::MAX, 0);

impl ArenaLayout {
    /// Lays out the arena for training steps, with values and gradients; `buffers` holds the length of each
    /// buffer in floats of one image.
    pub fn training(buffers: &[usize], layers: &[Layer], heads: &[Head]) -> ArenaLayout {
        let lifetimes: Vec<_> =
            values(buffers, layers, heads, true).chain(gradients(buffers, layers, heads)).collect();
        let lengths = [buffers, buffers].concat();
        let (mut values, len) = places(&lengths, &lifetimes);
        let gradients = values.split_off(buffers.len());
        ArenaLayout { values, gradients, len }
    }

    /// Lays out the arena for the forward pass alone, with values but no gradients; `buffers` holds the
    /// length of each buffer in floats of one image.
    pub fn forward(buffers: &[usize], layers: &[Layer], heads: &[Head]) -> ArenaLayout {
        let lifetimes: Vec<_> = values(buffers, layers, heads, false).collect();
        let (values, len) = places(buffers, &lifetimes);
        ArenaLayout { values, gradients: Vec::new(), len }
    }
}

/// The moment of a layer's backward pass. The moments of the forward passes are the layers' indices, and that
/// of the losses is the number of layers.
fn backward(layer: usize, layers: &[Layer]) -> usize {
    2 * layers.len() - layer
}

/// The lifetime of each buffer's values.
fn values(
    buffers: &[usize],
    layers: &[Layer],
    heads: &[Head],
    training: bool,
) -> impl Iterator<Item = Lifetime> {
    let mut lifetimes = vec![NEVER; buffers.len()];
    for (index, layer) in layers.iter().enumerate() {
        for moment in [Some(index), layer.fused_into].into_iter().flatten() {
            include(&mut lifetimes[layer.operation.output()], moment);
        }
        if let Some(buffer) = layer.operation.input() {
            include(&mut lifetimes[buffer], index);
        }
        for buffer in layer.operation.needed_backward().into_iter().flatten().filter(|_| training) {
            include(&mut lifetimes[buffer], backward(index, layers));
        }
    }
    for head in heads {
        include(&mut lifetimes[head.logits.buffer], layers.len());
    }
    lifetimes.into_iter()
}

/// The lifetime of each buffer's gradient.
fn gradients(buffers: &[usize], layers: &[Layer], heads: &[Head]) -> impl Iterator<Item = Lifetime> {
    let mut lifetimes = vec![NEVER; buffers.len()];
    for (index, layer) in layers.iter().enumerate() {
        for moment in [Some(index), layer.fused_into].into_iter().flatten() {
            include(&mut lifetimes[layer.operation.output()], backward(moment, layers));
        }
        if let Some(buffer) = layer.operation.input() {
            include(&mut lifetimes[buffer], backward(index, layers));
        }
    }
    for head in heads {
        include(&mut lifetimes[head.logits.buffer], layers.len());
    }
    lifetimes.into_iter()
}

fn include(lifetime: &mut Lifetime, moment: usize) {
    *lifetime = moment.min(*lifetime.start())..=moment.max(*lifetime.end());
}

/// Places regions of the given lengths and lifetimes; returns their starts and the length of the whole. The
/// largest is placed first, each in the first gap that is free during its lifetime.
fn places(lengths: &[usize], lifetimes: &[Lifetime]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&thing| std::cmp::Reverse(lengths[thing]));
    let mut starts = vec![0; lengths.len()];
    let mut placed: Vec<usize> = Vec::new();
    let end = |starts: &[usize], thing: usize| starts[thing] + lengths[thing].next_multiple_of(LINE);
    for thing in order {
        let overlaps = |other: &&usize| {
            lifetimes[thing].start() <= lifetimes[**other].end()
                && lifetimes[**other].start() <= lifetimes[thing].end()
        };
        let mut start = 0;
        // Things are visited by their starts, so the first gap that is wide enough is taken.
        for &other in placed.iter().filter(overlaps) {
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
    fn what_is_needed_at_the_same_time_never_overlaps() {
        let lengths = [1, 20, 33, 4, 50, 6, 70];
        let lifetimes = [0..=4, 1..=2, 2..=3, 3..=6, 4..=4, 5..=6, 0..=0];
        let (starts, len) = places(&lengths, &lifetimes);
        for (a, lifetime) in lifetimes.iter().enumerate() {
            assert!(starts[a].is_multiple_of(LINE) && starts[a] + lengths[a] <= len);
            for (b, other) in lifetimes.iter().enumerate().skip(a + 1) {
                let overlaps = lifetime.start() <= other.end() && other.start() <= lifetime.end();
                let disjoint = starts[a] + lengths[a] <= starts[b] || starts[b] + lengths[b] <= starts[a];
                assert!(disjoint || !overlaps, "{lifetime:?} and {other:?}");
            }
        }
    }

    #[test]
    fn the_whole_network_takes_little() {
        let network = GoogLeNet::new(&Architecture::paper()).unwrap();
        let lengths: Vec<usize> =
            network.plan().buffers.iter().map(|length| length.floats::<f32>()).collect();
        let separate: usize = lengths.iter().sum();
        let training = ArenaLayout::training(&lengths, network.layers(), network.heads()).len;
        let forward = ArenaLayout::forward(&lengths, network.layers(), network.heads()).len;
        assert!(5 * forward < 2 * separate, "forward {forward} of {separate} values an image");
        assert!(
            training < separate,
            "training {training} of {separate} values and as many gradients an image"
        );
    }
}
