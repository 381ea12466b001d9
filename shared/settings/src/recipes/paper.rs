//! The recipe `paper`: the paper's training, with asynchronous momentum SGD, a learning rate that falls by 4
//! % every 8 epochs, Polyak averaging, both auxiliary heads, dropout, crops of 8 to 100 % of the area,
//! Howard's photometric distortions and four interpolations. Where the paper is silent (learning rate, batch,
//! weight decay, initial values), it follows the solver of the public BVLC model.

use std::collections::BTreeMap;

use crate::{
    ClassWeights, Initialisation, Interpolation, MomentumPlace, Network, Optimisation, Optimizer, Precision,
    Run, RunConfiguration, Sampling, Variant,
};

pub(super) fn recipe() -> RunConfiguration {
    RunConfiguration {
        recipe: "paper".into(),
        network: Network {
            classes: None,
            input_size: 224,
            width: 1.0,
            auxiliary_heads: true,
            initialisation: Initialisation::Bvlc,
            dropout: true,
            variant: Variant::Table,
        },
        sampling: Sampling {
            area: [0.08, 1.0],
            aspect: [0.75, 1.3333334],
            mirror: true,
            interpolation: vec![
                Interpolation::Bilinear,
                Interpolation::Area,
                Interpolation::Nearest,
                Interpolation::Cubic,
            ],
            brightness: 0.5,
            contrast: 0.5,
            saturation: 0.5,
            lighting: 0.1,
        },
        optimisation: Optimisation {
            optimizer: Optimizer::Momentum,
            learning_rate: 0.01,
            momentum: 0.9,
            weight_decay: 2e-4,
            stair_factor: 0.96,
            stair_epochs: 8.0,
            stair_share: None,
            ramp: 0.05,
            average_decay: 0.9999,
            clip_norm: None,
            clip_tensors: None,
            momentum_at: MomentumPlace::Worker,
            staleness: None,
            class_weights: ClassWeights::Even,
            rate_multipliers: BTreeMap::new(),
        },
        run: Run {
            seed: 1,
            sample_seed: None,
            batch: 32,
            precision: Precision::F32,
            epochs: 60.0,
            images: None,
            least_updates: None,
            evaluate_epochs: 2.0,
            evaluate_last_iterate: false,
            patience_epochs: None,
            lease_batches: 4,
            wire: None,
            gradient_wire: None,
            init_from: None,
            init_sha256: None,
            data_rules: None,
            init_except: vec![],
        },
    }
}
