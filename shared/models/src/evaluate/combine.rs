//! The combination of the logits of an image's crops into one prediction.

use ndarray::ArrayView1;
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

/// Adds one crop, given its logits, to the probabilities `row` of its image, which were 0 before its first crop.
/// `weight` is the share of the image's crops that it stands for; together they are 1.
pub(crate) fn add(logits: ArrayView1<f32>, weight: f32, combine: Combine, row: &mut [f32]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    for (value, logit) in row.iter_mut().zip(logits) {
        let probability = (logit - largest).exp() / sum;
        match combine {
            Combine::Mean => *value += probability * weight,
            // A NaN stays, so that the image gets no prediction.
            Combine::Max if probability.is_nan() || probability > *value => *value = probability,
            Combine::Max => {}
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
        for (combine, weights, expected) in [
            (Combine::Mean, [0.5, 0.5], [0.7, 0.3]),
            (Combine::Mean, [0.25, 0.75], [0.8, 0.2]),
            (Combine::Max, [0.25, 0.75], [0.9, 0.5]),
        ] {
            let mut row = [0.0; 2];
            for (logits, weight) in logits.outer_iter().zip(weights) {
                add(logits, weight, combine, &mut row);
            }
            let right = row
                .iter()
                .zip(expected)
                .all(|(found, expected): (&f32, f32)| (found - expected).abs() < 1e-6);
            assert!(right, "{combine:?}: {row:?}");
        }
    }
}
