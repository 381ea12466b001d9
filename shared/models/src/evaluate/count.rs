//! The scoring of predictions: what became of each image, of each model alone and of all together.

use dataset::Split;
use ndarray::{Array1, ArrayView1};
use setup::Outcome;

use super::classes::Confusion;
use super::combine::{GUESSES, most_probable};
use super::mistakes::Mistake;
use super::predict::Evaluator;
use super::predictions::Predictions;
use crate::csv;

/// The outcomes of all models with one number of crops.
pub(super) struct Counted {
    /// Outcomes of the images that are scored: those of each model alone, then those of all models averaged.
    pub outcomes: Vec<Vec<Outcome>>,
    pub confusion: Confusion,
    /// The images whose most probable class is not theirs, in the order of the images.
    pub mistakes: Vec<Mistake>,
    /// Text of the file of predictions: a header and a line for each image.
    pub listing: String,
    pub unreadable: u64,
}

impl Evaluator<'_> {
    /// Scores each model alone and all models averaged. `place_of` has the index of each model's predictions in
    /// `predictions`: models that are the same have them in common.
    pub fn count(&self, mut predictions: Vec<Predictions>, place_of: &[usize]) -> anyhow::Result<Counted> {
        let (models, classes) = (place_of.len(), self.labels.len());
        let mut counted = Counted {
            outcomes: vec![Vec::new(); models + 1],
            confusion: Confusion::new(),
            mistakes: Vec::new(),
            listing: csv::head(&["image", "class", "label"], classes.min(GUESSES)),
            unreadable: 0,
        };
        let mut row = Array1::zeros(classes);
        for (image, stamp) in self.stamps.iter().enumerate() {
            let class = self.data.label(Split::Validation, image) as usize;
            let label = self.label_of_class[class];
            let (mut together, mut read) = (Array1::<f32>::zeros(classes), 0);
            let mut alone = Vec::with_capacity(models);
            for &place in place_of {
                let kept = match stamp {
                    Some(stamp) => {
                        predictions[place].read(stamp, row.as_slice_mut().expect("a row is contiguous"))?
                    }
                    None => false,
                };
                if !kept {
                    break;
                }
                alone.extend(label.map(|label| outcome(row.view(), label)));
                together += &row;
                read += 1;
            }
            if read < models {
                counted.unreadable += 1;
                continue;
            }
            alone.into_iter().zip(&mut counted.outcomes).for_each(|(one, outcomes)| outcomes.push(one));
            together /= models as f32;
            let best = most_probable(together.view());
            if let Some(label) = label {
                counted.outcomes[models].push(outcome(together.view(), label));
                *counted.confusion.entry((label, best[0] as u32)).or_default() += 1;
                let guess = best[0] as u32;
                if guess != label {
                    let probabilities = [guess, label].map(|label| together[label as usize]);
                    counted.mistakes.push(Mistake { image, label, guess, probabilities });
                }
            }
            let named = label.map_or("", |label| &self.labels[label as usize]);
            let image = self.data.name(Split::Validation, image);
            let guesses = best.into_iter().map(|label| (self.labels[label].as_str(), together[label]));
            counted.listing += &csv::of_image(&[&image, &self.data.classes()[class], named], guesses);
        }
        Ok(counted)
    }
}

/// Returns the outcome of probabilities, which need not sum to one; those below the smallest normal number
/// count as that number.
fn outcome(probabilities: ArrayView1<f32>, label: u32) -> Outcome {
    let logarithms = probabilities.mapv(|p| if p < f32::MIN_POSITIVE { f32::MIN_POSITIVE } else { p }.ln());
    Outcome::of(logarithms.view(), label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_loss_is_of_normalised_scores_and_never_infinite() {
        let found = outcome(array![0.9f32, 0.5].view(), 1);
        assert!(found.not_behind == 1 && (found.loss - (1.4f64 / 0.5).ln()).abs() < 1e-6, "{found:?}");
        assert!(outcome(array![1.0f32, 0.0].view(), 1).loss.is_finite());
    }
}
