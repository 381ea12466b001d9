//! Gradients against central differences of the loss, on small networks: without heads at a small input, with
//! both heads and dropout, with channel counts that do not fill a block.

use std::sync::Arc;

use kernels::{Isa, Pool};
use ndarray::Array4;
use network::{Architecture, Engine, GoogLeNet, Initialisation, Precision, Variant};

struct Case {
    input_size: usize,
    width: f32,
    auxiliary_heads: bool,
    dropout: Option<Vec<u64>>,
    variant: Variant,
}

const BATCH: usize = 2;
const LABELS: [u32; BATCH] = [0, 2];
/// How far the weights move to either side, in the norm of the move.
const STEP: f64 = 3e-4;

const LAYERS: [&str; 12] = [
    "conv1/7x7_s2",
    "conv1/7x7_s2/depthwise",
    "conv1/7x7_s2/pointwise",
    "inception_4d/5x5",
    "conv2/3x3",
    "inception_3a/5x5",
    "inception_4d/3x3_reduce",
    "inception_4d/pool_proj",
    "inception_5b/1x1",
    "loss1/conv",
    "loss2/fc",
    "loss3/classifier",
];

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    let cases = [
        Case { input_size: 64, width: 0.1, auxiliary_heads: false, dropout: None, variant: Variant::Table },
        Case { input_size: 47, width: 0.3, auxiliary_heads: false, dropout: None, variant: Variant::Table },
        Case {
            input_size: 80,
            width: 0.2,
            auxiliary_heads: true,
            dropout: Some(vec![7, 8]),
            variant: Variant::Table,
        },
        Case {
            input_size: 64,
            width: 0.1,
            auxiliary_heads: false,
            dropout: None,
            variant: Variant::Operations,
        },
        Case { input_size: 64, width: 0.1, auxiliary_heads: false, dropout: None, variant: Variant::Naive },
    ];
    for case in cases {
        check(&case);
    }
}

fn check(case: &Case) {
    let Case { input_size, width, auxiliary_heads, ref dropout, variant } = *case;
    let architecture = Architecture {
        classes: 3,
        input_size,
        width,
        auxiliary_heads,
        initialisation: Initialisation::He,
        variant,
    };
    let network = Arc::new(GoogLeNet::new(&architecture).unwrap());
    let layout = network.layout();
    let images = images(input_size);
    let mut parameters = layout.initial(11);
    for (tensor, index) in layout.tensors().iter().zip(0..) {
        // Classifiers start near zero; larger ones send down a gradient that f32 losses can tell.
        if tensor.name.ends_with("classifier/weights") {
            parameters[layout.range(index)].iter_mut().for_each(|weight| *weight *= 100.0);
        }
    }
    let mut engine = Engine::new(
        Arc::clone(&network),
        BATCH,
        Precision::F32,
        Isa::detect(),
        Arc::new(Pool::new(2).unwrap()),
    );
    engine.load(&parameters);
    let mut gradients = vec![0.0; layout.len()];
    engine.train(images.view(), &LABELS, dropout.as_deref(), &mut gradients, &mut |_, _| {});
    let mut scrap = vec![0.0; layout.len()];

    for name in LAYERS.iter().flat_map(|layer| [format!("{layer}/weights"), format!("{layer}/bias")]) {
        let Some(tensor) = layout.find(&name) else {
            let absent = match variant {
                Variant::Table => name.starts_with("conv1") || name.starts_with("loss") && !auxiliary_heads,
                Variant::Operations => name.starts_with("conv1/7x7_s2/") || name.starts_with("loss"),
                Variant::Naive => {
                    name.starts_with("conv1")
                        || name.contains("reduce")
                        || name.contains("proj")
                        || name.starts_with("loss")
                }
            };
            assert!(absent, "no {name}");
            continue;
        };
        let own = &parameters[layout.range(tensor)];
        let gradient = &gradients[layout.range(tensor)];
        let norm = gradient.iter().map(|slope| f64::from(*slope).powi(2)).sum::<f64>().sqrt();
        let mut slope = |direction: &dyn Fn(usize) -> f64| {
            let [ahead, behind] = [STEP, -STEP].map(|step| {
                let moved =
                    |(place, value): (usize, &f32)| (f64::from(*value) + step * direction(place)) as f32;
                let moved: Vec<f32> = own.iter().enumerate().map(moved).collect();
                engine.load_tensor(tensor, &moved);
                let seeds = dropout.as_deref();
                f64::from(engine.train(images.view(), &LABELS, seeds, &mut scrap, &mut |_, _| {}).total)
            });
            (ahead - behind) / (2.0 * STEP)
        };
        // Along itself the gradient's slope is its norm; along an axis it is one entry.
        let found = slope(&|place| f64::from(gradient[place]) / norm);
        assert!((found - norm).abs() <= 0.05 * norm, "{input_size} {name}: slope {found}, gradient {norm}");
        let largest =
            (0..own.len()).max_by(|&a, &b| gradient[a].abs().total_cmp(&gradient[b].abs())).unwrap();
        for entry in [largest, own.len() / 3, own.len() - 1] {
            let expected = f64::from(gradient[entry]);
            let found = slope(&|place| if place == entry { 1.0 } else { 0.0 });
            let tolerance = 0.05 * expected.abs() + 0.02 * f64::from(gradient[largest].abs()) + 1e-3;
            assert!(
                (found - expected).abs() <= tolerance,
                "{input_size} {name}[{entry}]: slope {found}, gradient {expected}"
            );
        }
        engine.load_tensor(tensor, own);
    }
}

/// Smooth images with some contrast, so that few windows are near a draw.
fn images(size: usize) -> Array4<f32> {
    Array4::from_shape_fn((BATCH, 3, size, size), |(n, c, y, x)| {
        let (n, c, y, x) = (n as f32, c as f32, y as f32, x as f32);
        (0.37 * x + n).sin() + (0.23 * y + 1.3 * c).cos() + (0.11 * (x + y) * (1.0 + n)).sin()
    })
}
