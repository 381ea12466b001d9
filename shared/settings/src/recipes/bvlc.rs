//! The recipe `bvlc`: the solver of the public BVLC model (solver.prototxt), with a learning rate that falls
//! by 4 % every 8 epochs over 250 epochs, no averaging, and crops of one size with mirroring. That model's
//! images were squashed to 256 x 256 and cropped to 224 x 224, 77 % of the area; here a crop of that fraction
//! keeps the aspect ratio of the image's pixels.

use super::paper;
use crate::{Optimisation, Run, RunConfiguration, Sampling};

pub(super) fn recipe() -> RunConfiguration {
    let paper = paper::recipe();
    RunConfiguration {
        recipe: "bvlc".into(),
        network: paper.network,
        sampling: Sampling { area: [0.765625, 0.765625], aspect: [1.0, 1.0], ..Sampling::default() },
        optimisation: Optimisation { ramp: 0.0, average_decay: 0.0, ..paper.optimisation },
        run: Run { epochs: 250.0, ..paper.run },
    }
}
