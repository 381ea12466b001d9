//! A step at every size of a minibatch: what is left over at the end of an epoch may be any.

use std::sync::Arc;

use kernels::{Isa, Pool};
use ndarray::{Array4, Axis};
use network::{Architecture, Engine, GoogLeNet, Precision, Variant};

/// A network and what it is trained on.
struct Case {
    network: Arc<GoogLeNet>,
    images: Array4<f32>,
    labels: Vec<u32>,
    seeds: Vec<u64>,
}

impl Case {
    fn new(architecture: &Architecture, images: usize) -> Case {
        let (network, side) = (GoogLeNet::new(architecture).unwrap(), architecture.input_size);
        Case {
            network: Arc::new(network),
            images: Array4::from_shape_fn((images, 3, side, side), |(n, c, y, x)| {
                ((n * 31 + c * 17 + y * (7 + n % 5) + x * 3) % 51) as f32 - 25.0
            }),
            labels: (0..images as u32).map(|image| image % architecture.classes as u32).collect(),
            seeds: (0..images as u64).collect(),
        }
    }

    fn engine(&self, batch: usize, precision: Precision) -> Engine {
        let pool = Arc::new(Pool::new(2).unwrap());
        let mut engine = Engine::new(Arc::clone(&self.network), batch, precision, Isa::detect(), pool);
        engine.load(&self.network.layout().initial(4));
        engine
    }

    /// The mean gradient over some of the images.
    fn gradient(&self, engine: &mut Engine, images: std::ops::Range<usize>) -> Vec<f32> {
        let mut gradient = vec![f32::NAN; self.network.layout().len()];
        let view = self.images.slice_axis(Axis(0), images.clone().into());
        let (labels, seeds) = (&self.labels[images.clone()], &self.seeds[images]);
        let losses = engine.train(view, labels, Some(seeds), &mut gradient, &mut |_, _| {});
        assert!(losses.total.is_finite(), "loss {losses:?}");
        gradient
    }

    /// Panics unless a gradient is that of the expected values, tensor by tensor.
    fn assert_close(&self, name: &str, found: &[f32], expected: &[f64], tolerance: f64) {
        let layout = self.network.layout();
        for (index, tensor) in layout.tensors().iter().enumerate() {
            let range = layout.range(index);
            let (found, expected) = (&found[range.clone()], &expected[range]);
            let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
            let apart =
                square(&mut found.iter().zip(expected).map(|(found, expected)| f64::from(*found) - expected));
            let length = square(&mut expected.iter().copied());
            assert!(
                apart.sqrt() <= tolerance * length.sqrt(),
                "{name}: the gradient of {} is {} of its norm off",
                tensor.name,
                (apart / length).sqrt()
            );
        }
    }
}

/// Every batch that a set and a batch of up to 64 can leave over, beside the mean of its images' own
/// gradients.
#[test]
fn the_gradient_of_every_batch_is_the_mean_of_its_images() {
    const MOST: usize = 67;
    let architecture = Architecture { classes: 5, input_size: 96, width: 0.25, ..Architecture::paper() };
    let case = Case::new(&architecture, MOST);
    let (mut engine, mut single) = (case.engine(MOST, Precision::F32), case.engine(1, Precision::F32));
    let mut sum = vec![0.0; case.network.layout().len()];
    for batch in 1..=MOST {
        let one = case.gradient(&mut single, batch - 1..batch);
        sum.iter_mut().zip(one).for_each(|(sum, one)| *sum += f64::from(one));
        let mean: Vec<f64> = sum.iter().map(|sum| sum / batch as f64).collect();
        let found = case.gradient(&mut engine, 0..batch);
        case.assert_close(&format!("batch {batch}"), &found, &mean, 1e-4);
    }
}

/// The batches at which chunks, panels and tiles of a full-width network end, halved: the whole is the mean
/// of its halves.
#[test]
fn full_width_takes_the_batches_around_its_tiles() {
    let paper = Architecture { classes: 5, ..Architecture::paper() };
    let case = Case::new(&paper, 65);
    for (batch, precision) in [16, 17, 28, 31, 32, 33, 64, 65]
        .into_iter()
        .zip([Precision::F32, Precision::Bf16].into_iter().cycle())
    {
        let mut engine = case.engine(batch, precision);
        halves(&case, &mut engine, batch, precision);
    }
    for variant in [Variant::Operations, Variant::Naive] {
        let case = Case::new(&Architecture { variant, ..paper.clone() }, 17);
        halves(&case, &mut case.engine(17, Precision::F32), 17, Precision::F32);
    }
}

fn halves(case: &Case, engine: &mut Engine, batch: usize, precision: Precision) {
    let whole = case.gradient(engine, 0..batch);
    let first = batch / 2;
    let parts = [0..first, first..batch].map(|part| (part.len() as f64, case.gradient(engine, part)));
    let mut mean = vec![0.0; whole.len()];
    for (images, gradient) in parts {
        mean.iter_mut()
            .zip(gradient)
            .for_each(|(mean, part)| *mean += f64::from(part) * images / batch as f64);
    }
    // In bf16 the number of images decides about the scheme of the sums, and so about rounding.
    let tolerance = if precision == Precision::F32 { 1e-4 } else { 0.1 };
    let variant = case.network.architecture().variant;
    case.assert_close(&format!("{variant:?}, batch {batch}, {precision:?}"), &whole, &mean, tolerance);
}
