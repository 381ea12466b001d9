//! The section `[optimisation]` of a configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::choice::choice;

/// Asynchronous SGD with the paper's staircase and Polyak averaging.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Optimisation {
    /// How the shards make an update of a gradient; left out, "momentum".
    #[serde(default)]
    pub optimizer: Optimizer,
    /// Base learning rate (torch's form of momentum: the rate is outside the velocity).
    pub learning_rate: f64,
    /// Momentum, of the optimizer "momentum".
    pub momentum: f64,
    /// L2 penalty on weights; biases have none.
    pub weight_decay: f64,
    /// Factor of each stair (0.96).
    pub stair_factor: f64,
    /// Length of one stair (8).
    pub stair_epochs: f64,
    /// Length of one stair as a share of the run's samples when it begins, in place of `stair_epochs`; left out, that
    /// counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stair_share: Option<f64>,
    /// Share of the run's samples over which the rate rises linearly from zero.
    pub ramp: f64,
    /// Upper bound of the Polyak average's decay; (1 + t) / (10 + t) below it.
    pub average_decay: f64,
    /// Clip of a push by its global norm, on the worker; left out, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Clip of each tensor's gradient at so many running means of its norm, on the worker; left out, none. It
    /// follows the run, and no tensor waits for the whole gradient; the mean begins anew with each worker, so
    /// that a resumed run is not the same bit for bit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_tensors: Option<f64>,
    /// The place of momentum once several workers push; left out, "shard".
    #[serde(default)]
    pub momentum_at: MomentumPlace,
    /// The rule by which a shard treats a push that is stale, which means that other updates came between the
    /// fetch that it was computed from and its own; left out, "divide" for gradients and "root" for the steps
    /// of workers that keep their momentum. One worker alone has no staleness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staleness: Option<Staleness>,
    /// Weights of the classes in the loss; left out, "even".
    #[serde(default)]
    pub class_weights: ClassWeights,
    /// Factors on the learning rate of tensors by name pattern (`*` stands for any characters); a tensor
    /// takes those of all patterns that fit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rate_multipliers: BTreeMap<String, f32>,
}

choice! {
    /// The optimizer, by which shards make updates of gradients.
    #[derive(Default)]
    pub enum Optimizer {
        /// Momentum, of which the paper says that it is 0.9, and no more. One worker has it in torch's form, at the
        /// shards; several have that too, or each makes Nesterov's steps with a velocity of its own, as `momentum_at`
        /// says.
        #[default]
        Momentum = "momentum",
        /// Adagrad, after DistBelief: each parameter has a rate of its own, which falls as its squared gradients add
        /// up. Other than there, 0.1 is added to their sum under the root, weight decay is in the gradients that are
        /// squared, the rate is divided by 1 + staleness unless `staleness` says otherwise ("none": the whole rate),
        /// and the clip of a recipe stays on.
        Adagrad = "adagrad",
    }
}

choice! {
    /// The place where momentum is kept. Until several push at a time, a worker trains with the shards' velocity,
    /// unless it sends only the largest values of its gradients.
    #[derive(Default)]
    pub enum MomentumPlace {
        /// One velocity for all workers, at the shards.
        #[default]
        Shard = "shard",
        /// A velocity of each worker, which pushes steps that the shards add.
        Worker = "worker",
    }
}

choice! {
    /// The weights of the classes in the loss of training; what is evaluated has none.
    #[derive(Default)]
    pub enum ClassWeights {
        /// Each image counts alike.
        #[default]
        Even = "even",
        /// Each class counts alike, however many training images it has: an image weighs as many times more as
        /// its class has fewer of them than classes have in the mean.
        Balanced = "balanced",
    }
}

choice! {
    /// The rule by which a shard treats the staleness of a push, the number of updates between its fetch and
    /// its own.
    pub enum Staleness {
        /// Divides the rate by 1 + staleness; the reply to a gradient is the block moved ahead by its
        /// momentum.
        Divide = "divide",
        /// Divides the rate by the root of 1 + staleness, beyond 9 by a third of 1 + staleness; the reply is moved
        /// ahead in the same way.
        Root = "root",
        /// Nothing: the whole rate, and the block as it is.
        None = "none",
    }
}
