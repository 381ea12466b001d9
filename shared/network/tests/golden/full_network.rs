//! The whole network at 224 x 224 against PyTorch in float64: losses, logits, every parameter's gradient.
//!
//! `make.py` made the golden file, and chose weights under which no ReLU and no max pool decides by
//! the last bits of an f32; so there is one tolerance everywhere. In bf16 some do decide otherwise, and
//! gradients carry that.

use std::sync::Arc;
use std::time::Instant;

use crate::files::{self, Statistics};
use kernels::{Isa, Pool};
use network::{Architecture, Engine, GoogLeNet, Precision};
use serde::Deserialize;

/// Distance of losses and logits, and of gradients.
const TOLERANCES: [(Precision, [f64; 2]); 2] =
    [(Precision::F32, [1e-5, 2e-5]), (Precision::Bf16, [0.01, 0.4])];

#[derive(Deserialize)]
struct Golden {
    image_seed: u64,
    seeds: Vec<u64>,
    tensors: Vec<Statistics>,
}

#[test]
fn losses_logits_and_gradients_are_those_of_float64() {
    let golden: Golden = serde_json::from_str(include_str!("full.json")).unwrap();
    let network = Arc::new(GoogLeNet::new(&Architecture::paper()).unwrap());
    let parameters = files::parameters(&network, |layer| golden.seeds[layer], 128.0);
    let images = files::images(golden.image_seed, 2, 224, 128.0);
    let labels = files::labels(golden.image_seed, 2, 1000);
    println!("not on this machine: {:?}", Isa::absent());
    let isas = Isa::available();
    for (isa, (precision, tolerances)) in isas.iter().flat_map(|isa| TOLERANCES.map(|each| (*isa, each))) {
        let start = Instant::now();
        let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
        let pool = Arc::new(Pool::new(threads).unwrap());
        let mut engine = Engine::new(Arc::clone(&network), 2, precision, isa, pool);
        let isa = format!("{} {precision:?}", engine.isa().name());
        engine.load(&parameters);
        let logits = engine.logits(images.view());
        let mut gradients = vec![0.0; parameters.len()];
        let mut order = Vec::new();
        let losses = engine.train(images.view(), &labels, None, &mut gradients, &mut |tensor, gradient| {
            assert_eq!(gradient.len(), network.layout().tensors()[tensor].values());
            order.push(tensor);
        });
        let seconds = start.elapsed().as_secs_f64();

        let layers: Vec<usize> = order.iter().step_by(2).copied().collect();
        assert_eq!(layers, (0..128).step_by(2).rev().collect::<Vec<_>>(), "gradients come from the top");
        let mut worst = [("", 0.0); 2];
        for expected in &golden.tensors {
            let name = expected.name.as_str();
            let found: &[f32] = match name {
                "total" => &[losses.total],
                "loss1" => &[losses.auxiliary[0].unwrap()],
                "loss2" => &[losses.auxiliary[1].unwrap()],
                "loss3" => &[losses.main],
                "logits" => logits.as_slice().unwrap(),
                _ => &gradients[network.layout().range(network.layout().find(name).unwrap())],
            };
            let distance = expected.distance(found);
            let backward = name.contains('/');
            let tolerance = tolerances[usize::from(backward)];
            assert!(distance.largest() <= tolerance, "{isa} {name}: {distance:?}");
            if distance.largest() > worst[usize::from(backward)].1 {
                worst[usize::from(backward)] = (name, distance.largest());
            }
        }
        println!("{isa}: {seconds:.1} s, largest distances {worst:?}");
    }
}
