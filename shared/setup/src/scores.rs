//! Top-1, top-5 and loss of logits against labels.

use std::cmp::Ordering;

use ndarray::{ArrayView1, ArrayView2};
use protocol::Scores;
use serde::{Deserialize, Serialize};

/// The outcome of one image that was scored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Classes, the right one not counted, that are at least as probable: a network that says the same for
    /// all classes, or nothing (not a number), gets nothing.
    pub not_behind: usize,
    /// Cross-entropy of the right class.
    pub loss: f64,
}

impl Outcome {
    /// Computes the outcome of an image of class `label` from its logits.
    ///
    /// # Panics
    /// If there is no logit of that class.
    pub fn of(logits: ArrayView1<f32>, label: u32) -> Outcome {
        let right = f64::from(logits[label as usize]);
        let not_behind = logits
            .iter()
            .filter(|&&other| f64::from(other).partial_cmp(&right) != Some(Ordering::Less))
            .count()
            - 1;
        let most = logits.iter().fold(f64::NEG_INFINITY, |most, &value| most.max(f64::from(value)));
        let sum: f64 = logits.iter().map(|&value| (f64::from(value) - most).exp()).sum();
        Outcome { not_behind, loss: sum.ln() + most - right }
    }

    /// Returns whether the right class is the most probable one.
    pub fn first(&self) -> bool {
        self.not_behind == 0
    }

    /// Returns whether the right class is among the five most probable.
    pub fn among_five(&self) -> bool {
        self.not_behind < 5
    }
}

/// Accuracy and loss of a classifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassifierScores {
    /// Share of images whose most probable class is right.
    pub top1: f64,
    /// Share of images whose five most probable classes contain the right one.
    pub top5: f64,
    /// Mean cross-entropy.
    pub loss: f64,
}

impl From<ClassifierScores> for Scores {
    fn from(ClassifierScores { top1, top5, loss }: ClassifierScores) -> Scores {
        Scores::new([("top1", top1), ("top5", top5), ("loss", loss)])
    }
}

/// Scores without one of a classifier's names have zero in its place.
impl From<&Scores> for ClassifierScores {
    fn from(scores: &Scores) -> ClassifierScores {
        let score = |name| scores.get(name).unwrap_or_default();
        ClassifierScores { top1: score("top1"), top5: score("top5"), loss: score("loss") }
    }
}

/// Sums over the images scored so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    images: u64,
    first: u64,
    five: u64,
    loss: f64,
}

impl Tally {
    /// Scores one minibatch: `logits` is N x classes, `labels` has N entries.
    ///
    /// # Panics
    /// If `labels` has another number of entries, or one that is no class.
    pub fn add(&mut self, logits: ArrayView2<f32>, labels: &[u32]) {
        assert_eq!(logits.nrows(), labels.len(), "one label for each row of logits");
        for (row, &label) in logits.outer_iter().zip(labels) {
            self.count(&Outcome::of(row, label));
        }
    }

    /// Counts one image.
    pub fn count(&mut self, outcome: &Outcome) {
        self.images += 1;
        self.first += u64::from(outcome.first());
        self.five += u64::from(outcome.among_five());
        self.loss += outcome.loss;
    }

    /// Returns the number of images scored.
    pub fn images(&self) -> u64 {
        self.images
    }

    /// Returns the means; zeros before the first image. A loss that is not finite becomes the largest number:
    /// what is reported stays a number in every format.
    pub fn scores(&self) -> ClassifierScores {
        let images = self.images.max(1) as f64;
        let loss = if self.loss.is_finite() { self.loss / images } else { f64::MAX };
        ClassifierScores { top1: self.first as f64 / images, top5: self.five as f64 / images, loss }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn ranks_and_loss_of_known_logits() {
        let mut tally = Tally::default();
        let logits = array![[5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]];
        tally.add(logits.view(), &[0, 2]);
        tally.add(logits.view(), &[1, 0]);
        let scores = tally.scores();
        assert_eq!(tally.images(), 4);
        // Right first: the first row's 0. Among five: that, and the second row's 2. A tie is not a hit.
        assert_eq!((scores.top1, scores.top5), (0.25, 0.5));
        let first = (5f64.exp() + 6.0).ln();
        let second: f64 = (0..7).map(|v| f64::from(v).exp()).sum::<f64>().ln();
        let expected = ((first - 5.0) + (second - 2.0) + first + second) / 4.0;
        assert!((scores.loss - expected).abs() < 1e-12, "expected {expected}, found {}", scores.loss);
    }

    #[test]
    fn not_a_number_is_no_hit() {
        let mut tally = Tally::default();
        tally.add(array![[f32::NAN, f32::NAN, f32::NAN, f32::NAN, f32::NAN, f32::NAN]].view(), &[0]);
        assert_eq!(tally.scores(), ClassifierScores { top1: 0.0, top5: 0.0, loss: f64::MAX });
    }
}
