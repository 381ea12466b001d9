//! The computing of images by their views, a few at a time, so that an image of many crops needs no more memory
//! than one of few.

use dataset::{Preprocessing, Views};
use ndarray::{Array2, Array4, ArrayView4, Axis};

use super::combine::{Combine, add};

/// Largest number of inputs in one forward pass.
pub(super) const INPUTS: usize = 16;

/// The way from views to class probabilities.
pub(super) struct Chunks {
    /// Inputs of one forward pass.
    inputs: Array4<f32>,
    mean: [f32; 3],
    classes: usize,
    combine: Combine,
}

impl Chunks {
    /// Creates the way for inputs of `size` x `size` pixels, of which up to `inputs` are computed at once, and
    /// logits of this many classes.
    pub fn new(
        inputs: usize,
        size: usize,
        preprocessing: &Preprocessing,
        classes: usize,
        combine: Combine,
    ) -> Chunks {
        let inputs = Array4::zeros((inputs, 3, size, size));
        Chunks { inputs, mean: preprocessing.mean, classes, combine }
    }

    /// Computes the class probabilities of images from their views, image by image. `forward` computes the logits
    /// of inputs, or returns `None` if it is to stop, which this function then returns too.
    pub fn probabilities(
        &mut self,
        images: &[Views],
        mut forward: impl FnMut(ArrayView4<f32>) -> Option<Array2<f32>>,
    ) -> Option<Vec<Vec<f32>>> {
        let mut rows = vec![vec![0.0; self.classes]; images.len()];
        let views = |image: usize| (0..images[image].counts().len()).map(move |view| (image, view));
        let places: Vec<(usize, usize)> = (0..images.len()).flat_map(views).collect();
        for chunk in places.chunks(self.inputs.len_of(Axis(0))) {
            for (&(image, view), mut input) in chunk.iter().zip(self.inputs.outer_iter_mut()) {
                let input = input.as_slice_mut().expect("a new array is contiguous");
                images[image].write(view, self.mean, input);
            }
            let logits = forward(self.inputs.slice_axis(Axis(0), (..chunk.len()).into()))?;
            for (&(image, view), logits) in chunk.iter().zip(logits.outer_iter()) {
                let counts = images[image].counts();
                let weight = counts[view] as f32 / counts.iter().sum::<u32>() as f32;
                add(logits, weight, self.combine, &mut rows[image]);
            }
        }
        Some(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::{Crops, Dataset, Resize, Split};

    const SIZE: usize = 32;

    fn views(preprocessing: &Preprocessing, crops: Crops, images: usize) -> Vec<Views> {
        let set = Dataset::synthetic(10, images, SIZE);
        let views = |image| set.validation_views(image, crops, preprocessing, SIZE).unwrap().1;
        assert_eq!(set.len(Split::Validation), images);
        (0..images).map(views).collect()
    }

    /// Logits that differ from input to input.
    fn logits(inputs: ArrayView4<f32>) -> Array2<f32> {
        let of = |input: usize, class: usize| {
            let values = inputs.index_axis(Axis(0), input);
            values.iter().enumerate().map(|(at, value)| value * ((at * (class + 3)) % 7) as f32).sum::<f32>()
                / 1e4
        };
        Array2::from_shape_fn((inputs.len_of(Axis(0)), 4), |(input, class)| of(input, class))
    }

    /// A model whose images are squashed into a square computes 42 inputs for the 144 crops.
    #[test]
    fn equal_views_are_computed_once_and_few_at_a_time() {
        let squashed = Preprocessing { resize: Resize::Square, ..Preprocessing::default() };
        for (crops, passes) in [
            (Crops::One, vec![3]),
            (Crops::Ten, vec![16, 14]),
            (Crops::All, vec![16, 16, 16, 16, 16, 16, 16, 14]),
        ] {
            let mut found = Vec::new();
            let mut chunks = Chunks::new(INPUTS, SIZE, &squashed, 4, Combine::Mean);
            let forward = |inputs: ArrayView4<f32>| {
                found.push(inputs.len_of(Axis(0)));
                Some(logits(inputs))
            };
            chunks.probabilities(&views(&squashed, crops, 3), forward).unwrap();
            assert_eq!(found, passes, "{crops} crops");
        }
    }

    /// However many are computed at once, an image's probabilities are those of all its 144 crops, one by one.
    #[test]
    fn probabilities_are_those_of_every_crop_by_itself() {
        let squashed = Preprocessing { resize: Resize::Square, ..Preprocessing::default() };
        let images = views(&squashed, Crops::All, 2);
        for combine in [Combine::Mean, Combine::Max] {
            let expected: Vec<Vec<f32>> = images
                .iter()
                .map(|views| {
                    let mut row = vec![0.0; 4];
                    for (view, &count) in views.counts().iter().enumerate() {
                        let mut input = Array4::zeros((1, 3, SIZE, SIZE));
                        views.write(view, squashed.mean, input.as_slice_mut().unwrap());
                        let logits = logits(input.view());
                        (0..count).for_each(|_| add(logits.row(0), 1.0 / 144.0, combine, &mut row));
                    }
                    row
                })
                .collect();
            for inputs in [1, 5, INPUTS, 84] {
                let mut chunks = Chunks::new(inputs, SIZE, &squashed, 4, combine);
                let found = chunks.probabilities(&images, |inputs| Some(logits(inputs))).unwrap();
                for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                    assert!((found - expected).abs() < 1e-6, "{combine:?} by {inputs}: {found}, {expected}");
                }
            }
        }
    }

    #[test]
    fn it_stops_between_two_passes() {
        let preprocessing = Preprocessing::default();
        let mut passes = 0;
        let mut chunks = Chunks::new(INPUTS, SIZE, &preprocessing, 4, Combine::Mean);
        let found = chunks.probabilities(&views(&preprocessing, Crops::All, 1), |inputs| {
            passes += 1;
            (passes < 3).then(|| logits(inputs))
        });
        assert_eq!((found, passes), (None, 3));
    }
}
