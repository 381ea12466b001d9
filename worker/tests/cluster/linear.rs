//! A softmax regression on made-up points: the replica's loop without images, threads or a deep network.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use dataset::{DataAway, LoaderRange, Minibatch, Split};
use ndarray::{Array2, Array4, ArrayView4, Axis};
use network::Losses;
use parameters::{Initialiser, Layout, Tensor};
use protocol::{CoordinatorClient, DataDescription, RunStatus, WorstMistakes};
use rand::Rng;
use settings::RunConfiguration;
use settings::random;
use setup::Tally;
use worker::workload::{Model, Pass, Samples, Workload};

pub const CLASSES: usize = 3;
pub const INPUTS: usize = 8;

/// `images` training points in three clouds.
pub struct Linear {
    pub images: u64,
    /// Validation points.
    pub validation: u64,
    /// Least time of a step.
    pub pause: Duration,
    /// Number of models built.
    pub built: AtomicUsize,
    /// Number of points that were scored.
    pub scored: Arc<AtomicU64>,
}

impl Linear {
    pub fn new(images: u64, pause: Duration) -> Linear {
        Linear { images, validation: 90, pause, built: AtomicUsize::new(0), scored: Arc::default() }
    }
}

pub fn layout() -> Layout {
    let tensor = |name: &str, shape: &[usize]| Tensor {
        name: name.into(),
        shape: shape.into(),
        initialiser: Initialiser::Constant(0.0),
        rate_multiplier: 1.0,
        decay_multiplier: 0.0,
    };
    Layout::new(vec![tensor("weights", &[CLASSES, INPUTS]), tensor("bias", &[CLASSES])]).unwrap()
}

pub struct Regression {
    layout: Layout,
    parameters: Vec<f32>,
    pause: Duration,
    scored: Arc<AtomicU64>,
}

pub struct Points {
    images: u64,
    validation: u64,
    batch: u64,
    queue: VecDeque<LoaderRange>,
}

impl Workload for Linear {
    type Model = Regression;
    type Samples = Points;

    async fn data(&self, _: &CoordinatorClient, _: &RunStatus) -> anyhow::Result<DataDescription> {
        let classes = (0..CLASSES).map(|class| format!("cloud {class}")).collect();
        Ok(DataDescription {
            images: self.images,
            validation: self.validation,
            hash: "points".into(),
            classes,
        })
    }

    fn model(&self, _: &RunConfiguration) -> anyhow::Result<Regression> {
        self.built.fetch_add(1, Ordering::Relaxed);
        let layout = layout();
        let scored = Arc::clone(&self.scored);
        Ok(Regression { parameters: vec![0.0; layout.len()], layout, pause: self.pause, scored })
    }

    fn samples(&self, configuration: &RunConfiguration) -> Points {
        let batch = configuration.run.batch as u64;
        Points { images: self.images, validation: self.validation, batch, queue: VecDeque::new() }
    }
}

impl Samples for Points {
    type Batch = Minibatch;

    fn request(&mut self, range: LoaderRange) {
        let length = if range.split == Split::Train { self.images } else { self.validation };
        assert!(range.start < range.end && range.end <= length, "{range:?} of {length}");
        self.queue.push_back(range);
    }

    fn next(&mut self) -> Result<Option<Minibatch>, DataAway> {
        let Some(range) = self.queue.front_mut() else { return Ok(None) };
        let positions = self.batch.min(range.end - range.start);
        let samples: Vec<u32> = (range.start..range.start + positions).map(|sample| sample as u32).collect();
        let split = range.split as u64;
        range.start += positions;
        if range.start == range.end {
            self.queue.pop_front();
        }
        let labels: Vec<u32> = samples.iter().map(|sample| sample % CLASSES as u32).collect();
        let mut images = Array4::zeros((samples.len(), 1, 1, INPUTS));
        for ((mut row, &sample), &label) in images.outer_iter_mut().zip(&samples).zip(&labels) {
            let mut noise = random::stream(1, "points", &[split, u64::from(sample)]);
            row.iter_mut().for_each(|value| *value = noise.next_u32() as f32 / u32::MAX as f32 - 0.5);
            row[[0, 0, label as usize]] += 1.0;
        }
        Ok(Some(Minibatch { images, views: Vec::new(), labels, samples, skipped: Vec::new(), positions }))
    }
}

impl Model for Regression {
    type Batch = Minibatch;
    type Tally = Tally;

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn load_tensor(&mut self, tensor: usize, values: &[f32]) {
        let range = self.layout.range(tensor);
        self.parameters[range].copy_from_slice(values);
    }

    fn train(&mut self, minibatch: &Minibatch, Pass { samples, gradients, ready, .. }: Pass<'_>) -> Losses {
        std::thread::sleep(self.pause);
        let inputs = minibatch.images.slice_axis(Axis(0), (..samples).into());
        let logits = self.logits(inputs);
        let (weights, bias) = gradients.split_at_mut(CLASSES * INPUTS);
        weights.fill(0.0);
        bias.fill(0.0);
        let (mut loss, mut correct) = (0.0, 0);
        for ((row, image), &label) in logits.outer_iter().zip(inputs.outer_iter()).zip(&minibatch.labels) {
            let sum: f32 = row.iter().map(|value| value.exp()).sum();
            loss += sum.ln() - row[label as usize];
            correct += usize::from(row.iter().all(|&value| value <= row[label as usize]));
            for class in 0..CLASSES {
                let slope =
                    (row[class].exp() / sum - f32::from(u8::from(class == label as usize))) / samples as f32;
                bias[class] += slope;
                let row = &mut weights[class * INPUTS..][..INPUTS];
                row.iter_mut().zip(&image).for_each(|(weight, value)| *weight += slope * value);
            }
        }
        ready(1, bias);
        ready(0, weights);
        let main = loss / samples as f32;
        Losses { total: main, main, auxiliary: [None; 2], correct, images: samples }
    }

    fn score(&mut self, minibatch: &Minibatch, tally: &mut Tally, _: &mut WorstMistakes) {
        self.scored.fetch_add(minibatch.labels.len() as u64, Ordering::Relaxed);
        tally.add(self.logits(minibatch.images.view()).view(), &minibatch.labels);
    }
}

impl Regression {
    fn logits(&self, images: ArrayView4<f32>) -> Array2<f32> {
        let (weights, bias) = self.parameters.split_at(CLASSES * INPUTS);
        let image = |n: usize| images.index_axis(Axis(0), n).iter().copied().collect::<Vec<f32>>();
        Array2::from_shape_fn((images.dim().0, CLASSES), |(n, class)| {
            let dot: f32 = image(n).iter().zip(&weights[class * INPUTS..]).map(|(x, w)| x * w).sum();
            dot + bias[class]
        })
    }
}
