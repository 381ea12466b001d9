//! The recipe `bvlc`: the solver of the public BVLC model (solver.prototxt), with a learning rate that falls
//! by 4 % every 8 epochs over 250 epochs, biases that learn twice as fast, no averaging, and crops of one size with
//! mirroring. That model's images were squashed to 256 x 256 and cropped to 224 x 224; here pixels keep their aspect
//! ratio, and of a photograph of 4:3 a crop has 7/8 of the shorter side, as an evaluation's centre crop has.

use std::collections::BTreeMap;

use super::paper;
use crate::{Optimisation, Run, RunConfiguration, Sampling};

pub(super) fn recipe() -> RunConfiguration {
    let paper = paper::recipe();
    RunConfiguration {
        recipe: "bvlc".into(),
        network: paper.network,
        sampling: Sampling { area: [0.57421875, 0.57421875], aspect: [1.0, 1.0], ..Sampling::default() },
        optimisation: Optimisation {
            ramp: 0.0,
            average_decay: 0.0,
            rate_multipliers: BTreeMap::from([("*/bias".into(), 2.0)]),
            ..paper.optimisation
        },
        run: Run { epochs: 250.0, ..paper.run },
    }
}
