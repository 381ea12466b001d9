//! The recipe `quick`: a narrow GoogLeNet on small images, which learns the synthetic set in under two
//! minutes on two cores.

use super::paper;
use crate::{Network, Optimisation, Run, RunConfiguration, Sampling};

pub(super) fn recipe() -> RunConfiguration {
    let paper = paper::recipe();
    RunConfiguration {
        recipe: "quick".into(),
        network: Network {
            input_size: 64,
            width: 0.25,
            auxiliary_heads: false,
            dropout: false,
            ..paper.network
        },
        sampling: Sampling { area: [0.7, 1.0], ..Sampling::default() },
        optimisation: Optimisation {
            learning_rate: 0.012,
            average_decay: 0.995,
            clip_norm: Some(2.0),
            ..paper.optimisation
        },
        run: Run { batch: 16, epochs: 4.5, lease_batches: 8, ..paper.run },
    }
}
