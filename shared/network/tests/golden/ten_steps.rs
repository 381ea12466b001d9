//! Ten steps of momentum SGD against `torch.optim.SGD` in float64, on a reduced network with both heads.
//!
//! `make_sgd.py` made the golden file.

use std::sync::Arc;

use crate::files::TenSteps;
use kernels::{Isa, Pool, Update, momentum_update};
use network::{Engine, GoogLeNet, Precision};

/// Distance of a loss, and of a tensor after the last step.
const TOLERANCES: [(Precision, [f64; 2]); 2] =
    [(Precision::F32, [1e-3, 1e-4]), (Precision::Bf16, [0.005, 0.05])];

#[test]
fn ten_steps_follow_torch() {
    let golden = TenSteps::read();
    let network = Arc::new(GoogLeNet::new(&TenSteps::architecture()).unwrap());
    let layout = network.layout();
    let isas = Isa::available();
    for (isa, (precision, tolerances)) in isas.iter().flat_map(|isa| TOLERANCES.map(|each| (*isa, each))) {
        let pool = Arc::new(Pool::new(2).unwrap());
        let mut engine = Engine::new(Arc::clone(&network), TenSteps::BATCH, precision, isa, pool);
        let name = format!("{} {precision:?}", engine.isa().name());
        let mut weights = golden.parameters(&network);
        let mut velocity = vec![0.0; weights.len()];
        let mut gradients = vec![0.0; weights.len()];
        let mut worst: f64 = 0.0;
        for (step, &expected) in (1..).zip(&golden.losses) {
            engine.load(&weights);
            let (images, labels) = TenSteps::minibatch(step);
            let losses = engine.train(images.view(), &labels, None, &mut gradients, &mut |_, _| {});
            let distance = (f64::from(losses.total) - expected).abs() / expected;
            assert!(distance <= tolerances[0], "{name} step {step}: {} for {expected}", losses.total);
            worst = worst.max(distance);
            for (tensor, index) in layout.tensors().iter().zip(0..) {
                let range = layout.range(index);
                let decay = TenSteps::DECAY * tensor.decay_multiplier;
                let update = Update { rate: TenSteps::RATE, momentum: TenSteps::MOMENTUM, decay };
                let [weights, velocity] = [&mut weights, &mut velocity].map(|all| &mut all[range.clone()]);
                momentum_update(isa, &update, &gradients[range], weights, velocity);
            }
        }
        let farthest = golden.farthest(&network, &weights);
        assert!(farthest.1 <= tolerances[1], "{name}: {farthest:?}");
        println!("{name}: losses within {worst:.1e}, tensors within {farthest:?}");
    }
}
