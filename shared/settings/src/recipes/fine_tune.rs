//! From a trained network to new classes: --init-from FILE names it (a caffe model, or the model file of a run).
//! Classifiers are made anew and learn ten times as fast; all other tensors start as they are in the file.

use std::collections::BTreeMap;

use crate::{
    Initialisation, Interpolation, MomentumPlace, Network, Optimisation, Precision, Run, RunConfiguration,
    Sampling, Variant, Wire,
};

pub(super) fn recipe() -> RunConfiguration {
    RunConfiguration {
        recipe: "fine-tune".into(),
        network: Network {
            classes: None,
            input_size: 224,
            width: 1.0,
            auxiliary_heads: false,
            initialisation: Initialisation::Bvlc,
            dropout: true,
            variant: Variant::Table,
        },
        sampling: Sampling {
            area: [0.3, 1.0],
            aspect: [0.75, 1.3333334],
            mirror: true,
            interpolation: vec![Interpolation::Bilinear],
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            lighting: 0.0,
        },
        optimisation: Optimisation {
            learning_rate: 0.002,
            momentum: 0.9,
            weight_decay: 2e-4,
            stair_factor: 0.1,
            stair_epochs: 4.0,
            ramp: 0.05,
            average_decay: 0.99,
            clip_norm: None,
            clip_tensors: None,
            momentum_at: MomentumPlace::Shard,
            rate_multipliers: BTreeMap::from([("*/classifier/*".into(), 10.0)]),
        },
        run: Run {
            seed: 1,
            sample_seed: None,
            batch: 16,
            precision: Precision::F32,
            epochs: 6.0,
            images: None,
            evaluate_epochs: 1.0,
            lease_batches: 4,
            wire: Wire::F32,
            init_from: None,
            init_sha256: None,
            data_rules: None,
            init_except: vec!["*/classifier/*".into()],
        },
    }
}
