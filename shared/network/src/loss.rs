//! Softmax cross-entropy of the heads: main + 0.3 aux1 + 0.3 aux2, each the mean over the minibatch.

use crate::memory::{Memory, Part, Step};
use crate::network::GoogLeNet;

/// The losses of a minibatch, each the mean over its images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Losses {
    /// The main loss plus 0.3 times each auxiliary loss, in nats, each image with the weight of its class.
    pub total: f32,
    /// The loss of the main head, in nats.
    pub main: f32,
    /// The losses of the auxiliary heads on modules 4a and 4d, in nats; `None` where the network has no
    /// auxiliary heads.
    pub auxiliary: [Option<f32>; 2],
    /// The number of images whose label has the largest logit of the main head.
    pub correct: usize,
    /// The number of images of the minibatch.
    pub images: usize,
}

/// Computes the losses from the heads' logits and the labels with the weights of their classes, of which there may
/// be none, and writes the gradients of the total loss with respect to the logits.
pub(crate) fn losses(
    network: &GoogLeNet,
    step: &Step,
    (labels, weights): (&[u32], &[f32]),
    memory: &mut Memory,
) -> Losses {
    let mut losses = Losses { total: 0.0, main: 0.0, auxiliary: [None; 2], correct: 0, images: step.batch };
    let mut total = 0.0;
    for (head, place) in network.heads().iter().zip(0..) {
        let classes = head.logits.width;
        let buffer = head.logits.buffer;
        let [logits, gradient] = memory.arena.parts([Part::Values(buffer), Part::Gradient(buffer)]);
        let logits = head.logits.of(logits, step.batch);
        let gradient = head.logits.of_mut(gradient, step.batch);
        let scale = head.weight / step.batch as f32;
        let per_image = &mut memory.losses[..step.batch];
        kernels::cross_entropy(step.isa, classes, logits, labels, scale, per_image, gradient);
        let mean = per_image.iter().map(|&loss| f64::from(loss)).sum::<f64>() / step.batch as f64;
        let weighted = if weights.is_empty() {
            mean
        } else {
            let weights = labels.iter().map(|&label| weights[label as usize]);
            weigh(weights, classes, per_image, gradient) / step.batch as f64
        };
        total += f64::from(head.weight) * weighted;
        if head.auxiliary {
            losses.auxiliary[place] = Some(mean as f32);
        } else {
            losses.main = mean as f32;
            losses.correct = logits
                .chunks_exact(classes)
                .zip(labels)
                .filter(|(row, label)| top(row) == **label as usize)
                .count();
        }
    }
    losses.total = total as f32;
    losses
}

/// Multiplies the gradient of each image by its weight, and returns the sum of the losses with their weights.
fn weigh(weights: impl Iterator<Item = f32>, classes: usize, losses: &[f32], gradient: &mut [f32]) -> f64 {
    let images = weights.zip(losses).zip(gradient.chunks_exact_mut(classes));
    images
        .map(|((weight, &loss), row)| {
            row.iter_mut().for_each(|value| *value *= weight);
            f64::from(weight) * f64::from(loss)
        })
        .sum()
}

/// Index of the largest value, the first of them if several are equal.
fn top(row: &[f32]) -> usize {
    (1..row.len()).fold(0, |best, index| if row[index] > row[best] { index } else { best })
}
