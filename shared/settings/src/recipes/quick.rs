//! The embedded set in under two minutes on two cores: a narrow GoogLeNet on small images.

use std::collections::BTreeMap;

use crate::{
    Initialisation, Interpolation, MomentumPlace, Network, Optimisation, Precision, Run, RunConfiguration,
    Sampling, Variant, Wire,
};

pub(super) fn recipe() -> RunConfiguration {
    RunConfiguration {
        recipe: "quick".into(),
        network: Network {
            classes: None,
            input_size: 64,
            width: 0.25,
            auxiliary_heads: false,
            initialisation: Initialisation::Bvlc,
            dropout: false,
            variant: Variant::Table,
        },
        sampling: Sampling {
            area: [0.7, 1.0],
            aspect: [0.75, 1.3333334],
            mirror: true,
            interpolation: vec![Interpolation::Bilinear],
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            lighting: 0.0,
        },
        optimisation: Optimisation {
            learning_rate: 0.012,
            momentum: 0.9,
            weight_decay: 2e-4,
            stair_factor: 0.96,
            stair_epochs: 8.0,
            ramp: 0.05,
            average_decay: 0.995,
            clip_norm: Some(2.0),
            clip_tensors: None,
            momentum_at: MomentumPlace::Worker,
            rate_multipliers: BTreeMap::new(),
        },
        run: Run {
            seed: 1,
            sample_seed: None,
            batch: 16,
            precision: Precision::F32,
            epochs: 4.5,
            images: None,
            evaluate_epochs: 2.0,
            lease_batches: 8,
            wire: Wire::F32,
            init_from: None,
            init_sha256: None,
            data_rules: None,
            init_except: vec![],
        },
    }
}
