//! The synthetic set cannot be told by colour, nor by a linear look at its pixels.

use std::ops::Range;

use dataset::{Dataset, MEAN, Preprocessing, Sampling, Split};

const SIZE: usize = 64;
const TRAINING: usize = 4000;
const VALIDATION: usize = 1000;
const CLASSES: usize = 10;
/// What the two may reach at most; chance is 10 %.
const BOUND: f64 = 0.35;

/// A picture's features.
type Features = fn(&[f32]) -> Vec<f32>;

/// Share of the pixels in each of 4 x 4 x 4 colour cells, then in 16 steps of each channel.
fn colour_histogram(picture: &[f32]) -> Vec<f32> {
    let pixels = SIZE * SIZE;
    let value = |channel: usize, pixel: usize| picture[channel * pixels + pixel] + MEAN[channel];
    let mut histogram = vec![0.0; 64 + 3 * 16];
    for pixel in 0..pixels {
        let levels = [0, 1, 2].map(|channel| value(channel, pixel) as usize);
        histogram[levels.iter().fold(0, |cell, level| 4 * cell + level / 64)] += 1.0;
        for (channel, level) in levels.iter().enumerate() {
            histogram[64 + 16 * channel + level / 16] += 1.0;
        }
    }
    histogram
}

/// The picture at half size: 32 x 32 x 3 values, each the mean of four pixels.
fn pixels(picture: &[f32]) -> Vec<f32> {
    let half = SIZE / 2;
    let mut small = Vec::with_capacity(3 * half * half);
    for plane in picture.chunks_exact(SIZE * SIZE) {
        for (y, x) in (0..half).flat_map(|y| (0..half).map(move |x| (y, x))) {
            let at = |dy: usize, dx: usize| plane[(2 * y + dy) * SIZE + 2 * x + dx];
            small.push((at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)) / 4.0);
        }
    }
    small
}

/// Labelled feature vectors.
struct Samples {
    labels: Vec<usize>,
    features: Vec<Vec<f32>>,
}

fn samples(set: &Dataset, split: Split, features: Features) -> Samples {
    let mut picture = vec![0.0; 3 * SIZE * SIZE];
    let mut samples = Samples { labels: Vec::new(), features: Vec::new() };
    for index in 0..set.len(split) {
        // Training pictures too without random crops: the classifier's task is as easy as can be.
        let label = match split {
            Split::Train => {
                let whole =
                    Sampling { area: [1.0, 1.0], aspect: [1.0, 1.0], mirror: false, ..Sampling::default() };
                set.training_sample(index, 0, 1, &whole, SIZE, &mut picture)
            }
            Split::Validation => set.validation_sample(index, &Preprocessing::default(), SIZE, &mut picture),
        };
        samples.labels.push(label.expect("a drawing can be read") as usize);
        samples.features.push(features(&picture));
    }
    samples
}

/// Multinomial logistic regression: weights and bias of each class, over standardised features.
struct Classifier {
    mean: Vec<f32>,
    scale: Vec<f32>,
    weights: Vec<Vec<f32>>,
    bias: [f32; CLASSES],
}

impl Classifier {
    fn new(training: &Samples) -> Classifier {
        let (count, width) = (training.features.len() as f32, training.features[0].len());
        let moment = |of: &dyn Fn(usize, f32) -> f32| -> Vec<f32> {
            let sum = |i: usize| training.features.iter().map(|row| of(i, row[i])).sum::<f32>();
            (0..width).map(|i| sum(i) / count).collect()
        };
        let mean = moment(&|_, value| value);
        let variance = moment(&|i, value| (value - mean[i]).powi(2));
        // Divided by the root of their number too, features of any kind take the same rate.
        let scale = variance.iter().map(|v| 1.0 / (v * width as f32).sqrt().max(1e-6)).collect();
        Classifier { mean, scale, weights: vec![vec![0.0; width]; CLASSES], bias: [0.0; CLASSES] }
    }

    fn standardised(&self, features: &[f32]) -> Vec<f32> {
        features
            .iter()
            .zip(&self.mean)
            .zip(&self.scale)
            .map(|((x, mean), scale)| (x - mean) * scale)
            .collect()
    }

    fn logits(&self, x: &[f32]) -> [f32; CLASSES] {
        std::array::from_fn(|class| {
            // Sixteen sums side by side: the compiler makes vectors of them.
            let mut sums = [0.0; 16];
            let (w, x) = (self.weights[class].chunks_exact(16), x.chunks_exact(16));
            w.zip(x).for_each(|(w, x)| (0..16).for_each(|i| sums[i] += w[i] * x[i]));
            self.bias[class] + sums.iter().sum::<f32>()
        })
    }

    /// Stochastic gradient descent on the cross-entropy, the rate falling to nothing over the epochs.
    fn train(&mut self, training: &Samples, epochs: usize, rate: f32) {
        let rows: Vec<_> = training.features.iter().map(|row| self.standardised(row)).collect();
        for epoch in 0..epochs {
            let rate = rate * (1.0 - epoch as f32 / epochs as f32);
            for index in dataset::epoch_order(rows.len(), 1, epoch as u64) {
                let (x, label) = (&rows[index as usize], training.labels[index as usize]);
                let logits = self.logits(x);
                let largest = logits.iter().copied().fold(f32::MIN, f32::max);
                let exponents = logits.map(|z| (z - largest).exp());
                let sum: f32 = exponents.iter().sum();
                for (class, exponent) in exponents.into_iter().enumerate() {
                    let step = rate * (exponent / sum - if class == label { 1.0 } else { 0.0 });
                    self.weights[class].iter_mut().zip(x).for_each(|(w, x)| *w -= step * x);
                    self.bias[class] -= step;
                }
            }
        }
    }

    fn accuracy(&self, samples: &Samples) -> f64 {
        let right = samples.features.iter().zip(&samples.labels).filter(|(features, label)| {
            let logits = self.logits(&self.standardised(features));
            let best = (0..CLASSES).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
            best == Some(**label)
        });
        right.count() as f64 / samples.labels.len() as f64
    }
}

struct Case {
    name: &'static str,
    features: Features,
    epochs: usize,
    rate: f32,
    /// Training accuracy within these: it did learn what there was.
    learns: Range<f64>,
}

#[test]
fn neither_colours_nor_a_linear_model_tell_the_synthetic_classes() {
    let set = Dataset::synthetic(TRAINING, VALIDATION, SIZE);
    let cases = [
        Case {
            name: "colour histogram",
            features: colour_histogram,
            epochs: 30,
            rate: 0.1,
            learns: 0.15..1.0,
        },
        Case { name: "linear on pixels", features: pixels, epochs: 30, rate: 0.1, learns: 0.25..1.0 },
    ];
    for case in cases {
        let training = samples(&set, Split::Train, case.features);
        let validation = samples(&set, Split::Validation, case.features);
        let mut classifier = Classifier::new(&training);
        classifier.train(&training, case.epochs, case.rate);
        let (learnt, measured) = (classifier.accuracy(&training), classifier.accuracy(&validation));
        println!(
            "{}: {learnt:.3} of the training drawings, {measured:.3} of the validation drawings",
            case.name
        );
        assert!(case.learns.contains(&learnt), "{}: did not train, {learnt}", case.name);
        assert!(
            measured < BOUND,
            "{}: {measured} of the validation drawings are told, bound {BOUND}",
            case.name
        );
    }
}
