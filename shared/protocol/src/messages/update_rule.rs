//! The update rule: how the shards of a run turn gradients into updates.

use settings::{Optimizer, Staleness};

use crate::{
    fields::{FieldError, choice, name, names},
    proto,
};

/// Most patterns of names of tensors.
const MOST_PATTERNS: usize = 1024;

/// The update rule of a run: the settings by which shards turn gradients into updates of the parameters. All
/// shards have the same rule; besides it, a shard needs only the layout (the list of the network's tensors).
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct UpdateRule {
    /// Seed of the run, from which the initial values of the parameters are drawn.
    pub seed: u64,
    /// Optimizer that turns a gradient into an update.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// Base learning rate, which the ramp at the start of the run and the staircase schedule multiply.
    pub learning_rate: f64,
    /// Factor on the learning rate at each step down of the staircase schedule; 0.96 in the GoogLeNet paper.
    pub stair_factor: f64,
    /// Number of samples between two steps of the learning rate's staircase schedule; those of 8 epochs in
    /// the GoogLeNet paper.
    pub stair_samples: u64,
    /// Number of samples at the start of the run over which the learning rate rises linearly from 0 to the
    /// base rate; 0 means that there is no ramp.
    pub ramp_samples: u64,
    /// Momentum: the fraction of the velocity that an update keeps, such as 0.9.
    pub momentum: f64,
    /// Weight decay (the factor of the L2 penalty), to be multiplied by each tensor's own multiplier.
    pub weight_decay: f64,
    /// Upper bound of the decay of the parameters' Polyak average, such as 0.9999; the decay is smaller while
    /// a block has had few updates.
    pub average_decay: f64,
    /// Policy for stale pushes, whose block received other updates after the fetch that the gradient was
    /// computed from; `None` means the default for the form of the push, gradient or step.
    #[serde(default)]
    pub staleness: Option<Staleness>,
    /// Number of samples that the whole run trains on, over all epochs.
    pub total_samples: u64,
    /// Most samples behind one push, the images of a minibatch; `None` in files of earlier releases, which
    /// did not bound them.
    #[serde(default)]
    pub batch: Option<u32>,
    /// SHA-256, hexadecimal, of the model file whose tensors the run starts with; `None` if all tensors start
    /// by their initialisers.
    #[serde(default)]
    pub init_sha256: Option<String>,
    /// [Patterns](parameters::pattern) of the names of tensors that start by their initialisers even if the
    /// model file of [`init_sha256`](Self::init_sha256) has them.
    #[serde(default)]
    pub init_except: Vec<String>,
}

impl From<UpdateRule> for proto::UpdateRule {
    fn from(rule: UpdateRule) -> proto::UpdateRule {
        proto::UpdateRule {
            seed: rule.seed,
            learning_rate: rule.learning_rate,
            stair_factor: rule.stair_factor,
            stair_samples: rule.stair_samples,
            ramp_samples: rule.ramp_samples,
            momentum: rule.momentum,
            weight_decay: rule.weight_decay,
            average_decay: rule.average_decay,
            total_samples: rule.total_samples,
            batch: rule.batch,
            init_sha256: rule.init_sha256,
            init_except: rule.init_except,
            staleness: rule.staleness.map(|policy| policy.name().into()),
            optimizer: rule.optimizer.name().into(),
        }
    }
}

impl TryFrom<proto::UpdateRule> for UpdateRule {
    type Error = FieldError;

    fn try_from(rule: proto::UpdateRule) -> Result<UpdateRule, FieldError> {
        let hash = |text| name(text, "UpdateRule", "init_sha256");
        Ok(UpdateRule {
            seed: rule.seed,
            learning_rate: rule.learning_rate,
            stair_factor: rule.stair_factor,
            stair_samples: rule.stair_samples,
            ramp_samples: rule.ramp_samples,
            momentum: rule.momentum,
            weight_decay: rule.weight_decay,
            average_decay: rule.average_decay,
            total_samples: rule.total_samples,
            batch: rule.batch,
            init_sha256: rule.init_sha256.map(hash).transpose()?,
            init_except: names(rule.init_except, MOST_PATTERNS, "UpdateRule", "init_except")?,
            staleness: rule.staleness.map(|name| choice(&name, "UpdateRule", "staleness")).transpose()?,
            optimizer: choice(&rule.optimizer, "UpdateRule", "optimizer")?,
        })
    }
}
