//! Reads golden files, and makes their inputs by the same integer hash as `reference.py` beside this file.
//!
//! Shared by path with the test that takes the same ten steps through a server.

use ndarray::Array4;
use network::{Architecture, GoogLeNet};
use serde::Deserialize;

/// Each takes its signs from one bit of a hash.
const PROJECTIONS: usize = u64::BITS as usize;
const SAMPLES: usize = 64;
const IMAGE_STREAM: u64 = 1_000_000;
const LABEL_STREAM: u64 = 2_000_000;
const PROJECTION_STREAM: u64 = 3_000_000;
const SAMPLE_STREAM: u64 = 4_000_000;

/// What a golden file holds of one tensor.
#[derive(Debug, Deserialize)]
pub struct Statistics {
    /// "total", "loss1", .., "logits", or the parameter's name.
    pub name: String,
    /// Euclidean norm.
    pub norm: f64,
    /// Sums with random signs.
    pub projections: Vec<f64>,
    /// Entries at random places.
    pub samples: Vec<f64>,
}

/// How far a tensor is from the golden one, as shares of the golden norm.
#[derive(Clone, Copy, Debug)]
pub struct Distance {
    /// Of the norms.
    pub norm: f64,
    /// Root mean square over the projections' differences, which estimates the norm of the tensors'
    /// difference.
    pub projections: f64,
    /// Root mean square over the sampled entries' differences, scaled up to the whole tensor.
    pub samples: f64,
}

impl Distance {
    /// The largest of the three.
    pub fn largest(self) -> f64 {
        self.norm.max(self.projections).max(self.samples)
    }
}

impl Statistics {
    /// The distance of `values` from the tensor that these statistics were taken of.
    pub fn distance(&self, values: &[f32]) -> Distance {
        let found = statistics(&self.name, values);
        let square = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        let rms = |a: &[f64], b: &[f64]| (square(a, b) / a.len() as f64).sqrt();
        Distance {
            norm: (found.norm - self.norm).abs() / self.norm,
            projections: rms(&found.projections, &self.projections) / self.norm,
            samples: rms(&found.samples, &self.samples) * (values.len() as f64).sqrt() / self.norm,
        }
    }
}

fn statistics(name: &str, values: &[f32]) -> Statistics {
    let mut projections = vec![0.0; PROJECTIONS];
    let signs = stream(0, PROJECTION_STREAM);
    for (&value, position) in values.iter().zip(0..) {
        let mut negative = signs(position);
        for projection in &mut projections {
            *projection += f64::from_bits(f64::from(value).to_bits() ^ (negative << 63));
            negative >>= 1;
        }
    }
    let places = stream(0, SAMPLE_STREAM);
    let sampled = |position| f64::from(values[(places(position) % values.len() as u64) as usize]);
    Statistics {
        name: name.to_owned(),
        norm: values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt(),
        projections,
        samples: (0..SAMPLES as u64).map(sampled).collect(),
    }
}

/// The finaliser of splitmix64.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// 64 hashed bits for each position of a stream.
fn stream(seed: u64, stream: u64) -> impl Fn(u64) -> u64 {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let key = mix(mix(seed.wrapping_add(GOLDEN)).wrapping_add(stream));
    move |position| mix(key.wrapping_add(position.wrapping_mul(GOLDEN)))
}

/// f32 values in (-1, 1), each an odd multiple of 2^-24.
fn uniform(bits: u64) -> f32 {
    (2 * (bits >> 40) as i64 + 1 - (1 << 24)) as f32 / (1 << 24) as f32
}

/// Pixels between -`scale` and `scale`: patches of 32 pixels with noise on top, N x 3 x `size` x `size`.
pub fn images(seed: u64, batch: usize, size: usize, scale: f32) -> Array4<f32> {
    let (patches, noise) = (stream(seed, IMAGE_STREAM), stream(seed, IMAGE_STREAM + 1));
    Array4::from_shape_fn((batch, 3, size, size), |(n, c, y, x)| {
        let plane = n * 3 + c;
        let patch = (plane * 1000 + y / 32) * 1000 + x / 32;
        let pixel = (plane * size + y) * size + x;
        0.75 * scale * uniform(patches(patch as u64)) + 0.25 * scale * uniform(noise(pixel as u64))
    })
}

/// A class for each image.
pub fn labels(seed: u64, batch: usize, classes: usize) -> Vec<u32> {
    let drawn = stream(seed, LABEL_STREAM);
    (0..batch as u64).map(|position| (drawn(position) % classes as u64) as u32).collect()
}

/// Every parameter in the layout's order; `seed(layer)` is the seed of a layer's weights and bias. Weights
/// have variance 2 / fan_in and biases go up to `scale` / 32, for images of that scale; classifiers have 1/64
/// of both.
pub fn parameters(network: &GoogLeNet, seed: impl Fn(usize) -> u64, scale: f32) -> Vec<f32> {
    let mut values = Vec::with_capacity(network.layout().len());
    for (index, tensor) in network.layout().tensors().iter().enumerate() {
        let shrink = if tensor.name.contains("classifier") { 1.0 / 64.0 } else { 1.0 };
        let bound = if tensor.shape.len() > 1 {
            let fan_in = tensor.shape[1..].iter().product::<usize>();
            (6.0 / fan_in as f64).sqrt() * shrink
        } else {
            f64::from(scale) / 32.0 * shrink
        };
        let drawn = stream(seed(index / 2), index as u64);
        values.extend((0..tensor.values() as u64).map(|position| bound as f32 * uniform(drawn(position))));
    }
    values
}

/// `sgd.json`: ten steps on the same inputs, and how to make these.
#[derive(Debug, Deserialize)]
pub struct TenSteps {
    /// Seed of the initial parameters.
    pub seed: u64,
    /// Total loss of each step, before its update.
    pub losses: Vec<f64>,
    /// Every parameter after the last step.
    pub tensors: Vec<Statistics>,
}

impl TenSteps {
    /// Images of a minibatch.
    pub const BATCH: usize = 4;
    /// Learning rate.
    pub const RATE: f32 = 0.001;
    /// Momentum.
    pub const MOMENTUM: f32 = 0.9;
    /// Weight decay, on weights; biases have none.
    pub const DECAY: f32 = 2e-4;
    const SCALE: f32 = 1.0;

    /// The golden file.
    pub fn read() -> TenSteps {
        serde_json::from_str(include_str!("sgd.json")).expect("sgd.json is as make_sgd.py writes it")
    }

    /// The network that takes the steps; its initialiser is not used.
    pub fn architecture() -> Architecture {
        Architecture {
            classes: 8,
            input_size: 128,
            width: 0.25,
            auxiliary_heads: true,
            ..Architecture::paper()
        }
    }

    /// The parameters before the first step.
    pub fn parameters(&self, network: &GoogLeNet) -> Vec<f32> {
        parameters(network, |_| self.seed, Self::SCALE)
    }

    /// Images and labels of a step, counted from 1.
    pub fn minibatch(step: u64) -> (Array4<f32>, Vec<u32>) {
        let Architecture { classes, input_size, .. } = Self::architecture();
        (images(step, Self::BATCH, input_size, Self::SCALE), labels(step, Self::BATCH, classes))
    }

    /// The tensor of the final parameters that is farthest from torch's, and its distance.
    pub fn farthest(&self, network: &GoogLeNet, parameters: &[f32]) -> (&str, f64) {
        let layout = network.layout();
        let distances = self.tensors.iter().map(|expected| {
            let tensor = layout.find(&expected.name).expect("a tensor of this network");
            (expected.name.as_str(), expected.distance(&parameters[layout.range(tensor)]).largest())
        });
        distances.max_by(|a, b| a.1.total_cmp(&b.1)).expect("tensors")
    }
}
