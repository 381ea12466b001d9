//! The combination of the logits of an image's crops into one prediction.

use ndarray::{ArrayView1, ArrayView2};
use serde::Serialize;

/// The rule by which the crops of an image become one prediction. The probabilities of several models are
/// always averaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Combine {
    /// The mean of the probabilities.
    Mean,
    /// The largest probability of each class.
    Max,
}

/// Computes the probabilities of one image, written to `row`, from `logits`, which has a row for each crop.
pub(crate) fn combined(logits: ArrayView2<f32>, combine: Combine, row: &mut [f32]) {
    row.fill(0.0);
    for crop in logits.outer_iter() {
        let largest = crop.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = crop.iter().map(|logit| (logit - largest).exp()).sum();
        for (value, logit) in row.iter_mut().zip(crop) {
            let probability = (logit - largest).exp() / sum;
            match combine {
                Combine::Mean => *value += probability / logits.nrows() as f32,
                // A NaN stays, so that the image gets no prediction.
                Combine::Max if probability.is_nan() || probability > *value => *value = probability,
                Combine::Max => {}
            }
        }
    }
}

/// Number of labels that are told of each image.
pub(crate) const GUESSES: usize = 5;

/// Returns the five most probable labels, or all if there are fewer, the most probable first.
pub(crate) fn most_probable(probabilities: ArrayView1<f32>) -> Vec<usize> {
    let mut labels: Vec<usize> = (0..probabilities.len()).collect();
    labels.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]).then(a.cmp(&b)));
    labels.truncate(GUESSES);
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn crops_are_combined_as_probabilities_not_as_logits() {
        // Softmax: (0.5, 0.5) and (0.9, 0.1).
        let logits = array![[7.0, 7.0], [9f32.ln(), 0.0]];
        let mut row = [0.0; 2];
        combined(logits.view(), Combine::Mean, &mut row);
        assert!((row[0] - 0.7).abs() < 1e-6 && (row[1] - 0.3).abs() < 1e-6, "{row:?}");
        combined(logits.view(), Combine::Max, &mut row);
        assert!((row[0] - 0.9).abs() < 1e-6 && (row[1] - 0.5).abs() < 1e-6, "{row:?}");
    }
}
