//! The recipe `fine-tune`: from a trained network to new classes. `--init-from FILE` names the network, which
//! is a Caffe model or the model file of a run. The classifiers are initialised anew and learn ten times as
//! fast; all other tensors start as they are in the file. The rate falls once, after two thirds of the run. A few
//! hundred photographs are gone through more often than thousands, as they would have too few updates otherwise.
//! Samples have the crops and the distortions of colour of the recipe `paper`: a network that has been trained knows
//! a few hundred photographs by heart after a few epochs of milder ones.

use std::collections::BTreeMap;

use super::paper;
use crate::{Interpolation, Network, Optimisation, Run, RunConfiguration, Sampling};

const CLASSIFIERS: &str = "*/classifier/*";

pub(super) fn recipe() -> RunConfiguration {
    let paper = paper::recipe();
    RunConfiguration {
        recipe: "fine-tune".into(),
        network: Network { auxiliary_heads: false, ..paper.network },
        sampling: Sampling { interpolation: vec![Interpolation::Bilinear], ..paper.sampling },
        optimisation: Optimisation {
            learning_rate: 0.001,
            stair_factor: 0.1,
            stair_epochs: 4.0,
            stair_share: Some(2.0 / 3.0),
            average_decay: 0.99,
            rate_multipliers: BTreeMap::from([(CLASSIFIERS.into(), 10.0)]),
            ..paper.optimisation
        },
        run: Run {
            batch: 16,
            epochs: 6.0,
            least_updates: Some(800),
            evaluate_epochs: 1.0,
            init_except: vec![CLASSIFIERS.into()],
            ..paper.run
        },
    }
}
