//! The solver of the public BVLC model (solver.prototxt): steps of -4 % every 8 epochs over 250, no averaging, crops of one
//! size with mirrors. Its images were squashed to 256 x 256 and cropped to 224 x 224, 77 % of the area; here a crop of that
//! share keeps the aspect ratio of the image's pixels.

use std::collections::BTreeMap;

use crate::{
    Initialisation, Interpolation, MomentumPlace, Network, Optimisation, Precision, Run, RunConfiguration,
    Sampling, Variant, Wire,
};

pub(super) fn recipe() -> RunConfiguration {
    RunConfiguration {
        recipe: "bvlc".into(),
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
            area: [0.765625, 0.765625],
            aspect: [1.0, 1.0],
            mirror: true,
            interpolation: vec![Interpolation::Bilinear],
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            lighting: 0.0,
        },
        optimisation: Optimisation {
            learning_rate: 0.01,
            momentum: 0.9,
            weight_decay: 2e-4,
            stair_factor: 0.96,
            stair_epochs: 8.0,
            ramp: 0.0,
            average_decay: 0.0,
            clip_norm: None,
            clip_tensors: None,
            momentum_at: MomentumPlace::Shard,
            rate_multipliers: BTreeMap::new(),
        },
        run: Run {
            seed: 1,
            sample_seed: None,
            batch: 32,
            precision: Precision::F32,
            epochs: 250.0,
            images: None,
            evaluate_epochs: 2.0,
            lease_batches: 4,
            wire: Wire::F32,
            init_from: None,
            init_sha256: None,
            data_rules: None,
            init_except: vec![],
        },
    }
}
