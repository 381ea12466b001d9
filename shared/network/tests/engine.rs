//! What an engine promises besides right numbers: the same bits again, minibatches of any size, nothing left
//! over from the step before.

use std::sync::Arc;

use kernels::{Isa, Pool};
use ndarray::{Array4, Axis};
use network::{Architecture, Engine, GoogLeNet, Initialisation, Precision};

const SIZE: usize = 80;

fn network() -> Arc<GoogLeNet> {
    let architecture = Architecture {
        classes: 3,
        input_size: SIZE,
        width: 0.1,
        auxiliary_heads: true,
        initialisation: Initialisation::He,
        ..Architecture::paper()
    };
    Arc::new(GoogLeNet::new(&architecture).unwrap())
}

/// Every precision on every instruction set.
fn combinations() -> impl Iterator<Item = (Precision, Isa)> {
    let isas = Isa::available().into_iter();
    isas.flat_map(|isa| [Precision::F32, Precision::Bf16].map(|precision| (precision, isa)))
}

fn engine(
    network: &Arc<GoogLeNet>,
    batch: usize,
    (precision, isa): (Precision, Isa),
    threads: usize,
) -> Engine {
    let pool = Arc::new(Pool::new(threads).unwrap());
    let mut engine = Engine::new(Arc::clone(network), batch, precision, isa, pool);
    engine.load(&network.layout().initial(4));
    engine
}

fn images(batch: usize) -> Array4<f32> {
    Array4::from_shape_fn((batch, 3, SIZE, SIZE), |(n, c, y, x)| {
        ((n * 31 + c * 17 + y * 7 + x * 3) % 51) as f32 - 25.0
    })
}

fn gradients(engine: &mut Engine, images: &Array4<f32>, seeds: Option<&[u64]>) -> Vec<f32> {
    let labels: Vec<u32> = (0..images.len_of(Axis(0)) as u32).map(|image| image % 3).collect();
    let mut gradients = vec![f32::NAN; engine.network().layout().len()];
    engine.train(images.view(), &labels, seeds, &mut gradients, &mut |_, _| {});
    gradients
}

#[test]
fn the_same_step_gives_the_same_bits() {
    let (network, images) = (network(), images(3));
    for (precision, isa) in combinations() {
        let combination = (precision, isa);
        for threads in [1, 2, 3] {
            let mut first = engine(&network, 3, combination, threads);
            let expected = gradients(&mut first, &images, Some(&[1, 2, 3]));
            let other = gradients(&mut first, &images, Some(&[4, 5, 6]));
            assert!(expected != other, "other seeds, other masks");
            let again = gradients(&mut first, &images, Some(&[1, 2, 3]));
            assert!(expected == again, "{precision:?} {} with {threads} threads", isa.name());
            let fresh = gradients(&mut engine(&network, 3, combination, threads), &images, Some(&[1, 2, 3]));
            assert!(expected == fresh, "{precision:?} {} with {threads} threads, afresh", isa.name());
        }
    }
}

/// With the weight 2 for one class of two images and 0 for the other, the mean is the first image's alone.
#[test]
fn an_image_counts_by_the_weight_of_its_class() {
    let (network, images) = (network(), images(2));
    let mut engine = engine(&network, 2, (Precision::F32, Isa::detect()), 2);
    let mut train = |weights: &[f32], images: &Array4<f32>| {
        engine.set_class_weights(weights.to_vec());
        let labels: Vec<u32> = (0..images.len_of(Axis(0)) as u32).collect();
        let mut gradients = vec![f32::NAN; network.layout().len()];
        let losses = engine.train(images.view(), &labels, None, &mut gradients, &mut |_, _| {});
        (losses, gradients)
    };
    let (even, expected) = train(&[], &images);
    let (ones, found) = train(&[1.0; 3], &images);
    assert!(even == ones && expected == found, "weights of 1 change no bit");
    let (alone, expected) = train(&[], &images.slice_axis(Axis(0), (0..1).into()).to_owned());
    let (weighted, found) = train(&[2.0, 0.0, 5.0], &images);
    assert!((weighted.total - alone.total).abs() < 1e-5 * alone.total, "{weighted:?} {alone:?}");
    assert_eq!((weighted.main, weighted.correct), (even.main, even.correct), "what is told has no weights");
    let largest = expected.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    let apart = expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-5 * largest, "{apart} of {largest}");
}

#[test]
fn a_minibatch_is_the_mean_of_its_images() {
    let (network, images) = (network(), images(3));
    let seeds = [7, 8, 9];
    for (precision, isa) in combinations() {
        // In bf16 the number of images decides about the scheme of the sums, and so about rounding.
        let tolerance = if precision == Precision::F32 { 1e-5 } else { 0.1 };
        let mut engine = engine(&network, 4, (precision, isa), 2);
        let whole = gradients(&mut engine, &images, Some(&seeds));
        let mut mean = vec![0.0; whole.len()];
        let labels = [0, 1, 2];
        let mut one = vec![0.0; whole.len()];
        for image in 0..3 {
            let view = images.slice_axis(Axis(0), (image..=image).into());
            engine.train(view, &labels[image..=image], Some(&seeds[image..=image]), &mut one, &mut |_, _| {});
            mean.iter_mut().zip(&one).for_each(|(mean, one)| *mean += one / 3.0);
        }
        for (tensor, index) in network.layout().tensors().iter().zip(0..) {
            let (whole, mean) = (&whole[network.layout().range(index)], &mean[network.layout().range(index)]);
            let norm = |values: &mut dyn Iterator<Item = f32>| {
                values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt()
            };
            let distance = norm(&mut whole.iter().zip(mean).map(|(a, b)| a - b));
            let length = norm(&mut whole.iter().copied());
            let name = format!("{precision:?} {} {}", isa.name(), tensor.name);
            assert!(distance <= tolerance * length, "{name}: {distance} of {length}");
        }
    }
}

#[test]
fn each_gradient_is_handed_over_complete() {
    let (network, images) = (network(), images(2));
    let mut engine = engine(&network, 2, (Precision::F32, Isa::detect()), 2);
    let mut gradients = vec![0.0; network.layout().len()];
    let mut handed: Vec<Option<Vec<f32>>> = vec![None; network.layout().tensors().len()];
    engine.train(images.view(), &[0, 1], None, &mut gradients, &mut |tensor, gradient| {
        assert!(handed[tensor].replace(gradient.to_vec()).is_none(), "once");
    });
    for (tensor, gradient) in handed.iter().enumerate() {
        assert!(gradient.as_deref() == Some(&gradients[network.layout().range(tensor)]), "tensor {tensor}");
    }
}

#[test]
fn logits_need_neither_heads_nor_gradients() {
    let (network, images) = (network(), images(3));
    let trunk = Architecture { auxiliary_heads: false, ..network.architecture().clone() };
    let trunk = Arc::new(GoogLeNet::new(&trunk).unwrap());
    let parameters = network.layout().initial(4);
    for (precision, isa) in combinations() {
        let expected = engine(&network, 3, (precision, isa), 2).logits(images.view());
        let mut bare =
            Engine::forward_only(Arc::clone(&trunk), 5, precision, isa, Arc::new(Pool::new(2).unwrap()));
        for (tensor, index) in trunk.layout().tensors().iter().zip(0..) {
            let range = network.layout().range(network.layout().find(&tensor.name).unwrap());
            bare.load_tensor(index, &parameters[range]);
        }
        assert_eq!(bare.logits(images.view()), expected, "{precision:?} {}", isa.name());
        // Channels-last memory behind the same view.
        let turned = images.clone().permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned();
        assert_eq!(
            bare.logits(turned.view().permuted_axes([0, 3, 1, 2])),
            expected,
            "{precision:?} {}",
            isa.name()
        );
    }
}

#[test]
fn memory_that_no_machine_has_is_counted_without_taking_it() {
    let architecture = Architecture { input_size: 2048, ..Architecture::paper() };
    let network = GoogLeNet::new(&architecture).unwrap();
    let pool = Pool::new(1).unwrap();
    let bytes = |batch| Engine::training_bytes(&network, batch, Precision::F32, Isa::scalar(), &pool);
    assert!(bytes(4096) > 1 << 40, "{} bytes", bytes(4096));
    assert_eq!(bytes(usize::MAX), u64::MAX);
    assert!((1..64).all(|batch| bytes(batch) <= bytes(batch + 1)), "more images never take less");
}
