//! The data for training and evaluation, which are a folder or the synthetic set, and the rules by which a
//! run reads them.

use std::path::PathBuf;

use anyhow::Context;
use dataset::{Dataset, Rules, Split};
use settings::{ClassWeights, Optimisation, RunConfiguration};

/// Side of the network's input, in pixels, for which the synthetic set is opened if only its classes and its
/// fingerprint (a hash for comparing data sets) are needed. The fingerprint depends on it, so every process
/// of a run must use this one.
pub const ANY_SIZE: usize = 64;

/// The data on which a network is trained or evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A data folder, which has images in class folders or in tar shards (archives of samples).
    Folder(PathBuf),
    /// The synthetic set, whose images the program generates itself.
    Synthetic {
        /// Number of training images.
        images: usize,
        /// Number of validation images.
        validation: usize,
    },
}

/// Returns the weight of each of `classes` classes in the loss, as the settings say: none if each image counts alike.
/// Balanced weights of all training images have the mean 1, and classes without images weigh 1.
pub fn class_weights(dataset: &Dataset, classes: usize, optimisation: &Optimisation) -> Vec<f32> {
    match optimisation.class_weights {
        ClassWeights::Even => Vec::new(),
        ClassWeights::Balanced => {
            let images = dataset.len(Split::Train);
            let labels = (0..images).map(|index| dataset.label(Split::Train, index));
            balanced(labels, classes)
        }
    }
}

fn balanced(labels: impl Iterator<Item = u32>, classes: usize) -> Vec<f32> {
    let mut counts = vec![0usize; classes];
    labels.for_each(|label| counts[label as usize] += 1);
    let present = counts.iter().filter(|count| **count > 0).count();
    let mean = counts.iter().sum::<usize>() as f64 / present.max(1) as f64;
    let weight = |&count: &usize| if count == 0 { 1.0 } else { (mean / count as f64) as f32 };
    counts.iter().map(weight).collect()
}

impl Data {
    /// Returns the synthetic set, whose images the program draws itself, in the size that every process of a
    /// run uses if no data folder is named: 20,000 training and 1,000 validation images.
    pub const fn synthetic() -> Data {
        Data::Synthetic { images: 20_000, validation: 1_000 }
    }

    /// Opens the data set. `rules` are those by which a data folder is read; `size` is the side in pixels of
    /// the network inputs for which the images of the synthetic set are drawn.
    ///
    /// # Errors
    /// If the data folder cannot be used as a data set.
    pub fn open(&self, size: usize, rules: Rules) -> anyhow::Result<Dataset> {
        match self {
            Data::Folder(folder) => Ok(Dataset::open(folder, rules)?),
            Data::Synthetic { images, validation } => Ok(Dataset::synthetic(*images, *validation, size)),
        }
    }

    /// Checks that the data folder can be listed and is not empty, without opening it as a data set. The
    /// synthetic set always passes.
    ///
    /// # Errors
    /// If the data folder does not exist, is not a folder, cannot be listed, or is empty.
    pub fn check_is_there(&self) -> anyhow::Result<()> {
        match self {
            Data::Folder(folder) => Ok(dataset::check_is_there(folder)?),
            Data::Synthetic { .. } => Ok(()),
        }
    }
}

/// Returns the version of the rules by which a run with this configuration reads a data folder: which files
/// are samples, and which of them are held out for validation.
///
/// # Errors
/// If this release does not know the version that the configuration gives.
pub fn rules(configuration: &RunConfiguration) -> anyhow::Result<Rules> {
    let number = configuration.run.data_rules();
    Rules::of(number).with_context(|| {
        format!(
            "the run reads its data by rules {number}, this release knows up to {}: start it from the server's release",
            Rules::NEWEST.number()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_classes_count_alike_and_images_weigh_one_in_the_mean() {
        let labels = [0, 0, 0, 0, 0, 0, 1, 1, 3];
        let weights = balanced(labels.into_iter(), 5);
        assert_eq!(weights, [0.5, 1.5, 1.0, 3.0, 1.0]);
        let sum: f32 = labels.iter().map(|&label| weights[label as usize]).sum();
        assert_eq!(sum, labels.len() as f32);
        let configuration = settings::recipe("quick").unwrap();
        let dataset = Dataset::synthetic(20, 10, 32);
        assert!(class_weights(&dataset, 10, &configuration.optimisation).is_empty());
        let balanced = Optimisation { class_weights: ClassWeights::Balanced, ..configuration.optimisation };
        assert_eq!(class_weights(&dataset, 10, &balanced).len(), 10);
    }
}
