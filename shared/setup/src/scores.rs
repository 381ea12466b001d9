//! The scores of a classifier: top-1 accuracy, top-5 accuracy and loss of logits against labels.

use std::cmp::Ordering;

use ndarray::{ArrayView1, ArrayView2};
use protocol::Scores;
use serde::{Deserialize, Serialize};

/// The outcome of scoring one image: how the network ranks the image's right class, and the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Number of other classes that are at least as probable as the right one, so 0 if the right class is the
    /// most probable. Ties and logits that are not a number count against the network, so that one which puts
    /// out the same value for all classes scores nothing.
    pub not_behind: usize,
    /// Cross-entropy of the right class, in nats; at most 87.3, which a probability of the smallest normal
    /// number of 32 bits has. Probabilities below it are not told apart, as in Caffe: they are 0 wherever
    /// they are kept.
    pub loss: f64,
}

impl Outcome {
    /// Computes the outcome of an image of class `label` from its logits.
    ///
    /// # Panics
    /// If `logits` has no entry for class `label`.
    pub fn of(logits: ArrayView1<f32>, label: u32) -> Outcome {
        let right = f64::from(logits[label as usize]);
        let not_behind = logits
            .iter()
            .filter(|&&other| f64::from(other).partial_cmp(&right) != Some(Ordering::Less))
            .count()
            - 1;
        let most = logits.iter().fold(f64::NEG_INFINITY, |most, &value| most.max(f64::from(value)));
        let sum: f64 = logits.iter().map(|&value| (f64::from(value) - most).exp()).sum();
        let (loss, bound) = (sum.ln() + most - right, -f64::from(f32::MIN_POSITIVE).ln());
        // What is not finite stays so, to be seen.
        Outcome { not_behind, loss: if loss.is_finite() { loss.min(bound) } else { loss } }
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

/// Returns the most probable class by `logits` with its probability and that of class `label`, if the most probable one
/// is another; `None` also where logits are not numbers.
///
/// # Panics
/// If `logits` has no entry for class `label`.
pub fn mistaken(logits: ArrayView1<f32>, label: u32) -> Option<(u32, [f32; 2])> {
    let (said, &most) = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    if said == label as usize {
        return None;
    }
    let exponentials = logits.mapv(|logit| (f64::from(logit) - f64::from(most)).exp());
    let sum = exponentials.sum();
    let probabilities = [said, label as usize].map(|class| (exponentials[class] / sum) as f32);
    sum.is_finite().then_some((said as u32, probabilities))
}

/// Accuracy and loss of a classifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassifierScores {
    /// Top-1 accuracy: fraction (0 to 1) of the images whose most probable class is the right one.
    pub top1: f64,
    /// Top-5 accuracy: fraction (0 to 1) of the images whose five most probable classes include the right
    /// one.
    pub top5: f64,
    /// Mean cross-entropy per image, in nats.
    pub loss: f64,
}

impl From<ClassifierScores> for Scores {
    fn from(ClassifierScores { top1, top5, loss }: ClassifierScores) -> Scores {
        Scores::new([("top1", top1), ("top5", top5), ("loss", loss)])
    }
}

/// Converts named scores; a score that is missing becomes 0.
impl From<&Scores> for ClassifierScores {
    fn from(scores: &Scores) -> ClassifierScores {
        let score = |name| scores.get(name).unwrap_or_default();
        ClassifierScores { top1: score("top1"), top5: score("top5"), loss: score("loss") }
    }
}

/// A tally of a classifier's outcomes: the sums over the images scored so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    images: u64,
    first: u64,
    five: u64,
    loss: f64,
}

impl Tally {
    /// Scores a minibatch of N images and adds their outcomes. `logits` has the shape N x classes, `labels`
    /// has N entries.
    ///
    /// # Panics
    /// If `labels` has another number of entries than `logits` has rows, or if an entry is not the number of
    /// a class.
    pub fn add(&mut self, logits: ArrayView2<f32>, labels: &[u32]) {
        assert_eq!(logits.nrows(), labels.len(), "one label for each row of logits");
        for (row, &label) in logits.outer_iter().zip(labels) {
            self.count(&Outcome::of(row, label));
        }
    }

    /// Adds the outcome of one image.
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

    /// Returns the sums of the scores over the images scored so far. A sum of losses that is not finite becomes
    /// `f64::MAX`.
    pub fn sums(&self) -> Scores {
        let loss = if self.loss.is_finite() { self.loss } else { f64::MAX };
        Scores::new([("top1", self.first as f64), ("top5", self.five as f64), ("loss", loss)])
    }

    /// Returns the mean scores over the images scored so far, or zeros if there are none. A loss that is not
    /// finite becomes `f64::MAX`, so that it can be reported as a number in every format.
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
    fn what_was_taken_for_another_class_comes_with_both_probabilities() {
        let row = array![0.0, 2f32.ln(), 4f32.ln(), 0.0];
        assert_eq!(mistaken(row.view(), 1), Some((2, [0.5, 0.25])));
        assert_eq!(mistaken(row.view(), 2), None);
        assert_eq!(mistaken(array![f32::NAN, 1.0].view(), 1), None);
        assert_eq!(mistaken(array![f32::INFINITY, 1.0].view(), 1), None);
        assert_eq!(mistaken(array![300.0, -300.0].view(), 1), Some((0, [1.0, 0.0])));
    }

    /// A run scores logits, an evaluation probabilities that it has kept: they must agree about an image
    /// whose right class has no probability left.
    #[test]
    fn a_loss_of_logits_is_that_of_their_probabilities() {
        for distance in [0.5, 40.0, 87.0, 88.0, 95.0, 104.0, 1e4, 1e30] {
            let logits = array![distance, 0.0, 0.0];
            let probabilities = logits.mapv(|logit: f32| (logit - distance).exp().max(f32::MIN_POSITIVE));
            let [one, other] = [logits.view(), probabilities.mapv(f32::ln).view()].map(|v| Outcome::of(v, 1));
            assert!((one.loss - other.loss).abs() < 1e-4, "{distance}: {} and {}", one.loss, other.loss);
        }
    }

    #[test]
    fn not_a_number_is_no_hit() {
        let mut tally = Tally::default();
        tally.add(array![[f32::NAN, f32::NAN, f32::NAN, f32::NAN, f32::NAN, f32::NAN]].view(), &[0]);
        assert_eq!(tally.scores(), ClassifierScores { top1: 0.0, top5: 0.0, loss: f64::MAX });
    }
}
