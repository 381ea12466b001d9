//! The description of a run to simulate, and the reasons why it may end early.

use std::sync::Arc;

use dataset::{DataAway, Dataset};
use kernels::{Isa, Pool};
use network::GoogLeNet;
use parameter_server::WarmStart;
use protocol::{Refusal, UpdateRule};
use settings::{Optimisation, Sampling};

use crate::{Cluster, Method};

/// The description of a run to simulate: its network, data, machines and method.
pub struct Run {
    /// The machines to simulate.
    pub cluster: Cluster,
    /// Method by which gradients become updates: asynchronous or synchronous.
    pub method: Method,
    /// The network that is trained.
    pub network: Arc<GoogLeNet>,
    /// Seed of the dropout masks; `None` means no dropout.
    pub dropout: Option<u64>,
    /// The data set with training and validation images.
    pub dataset: Arc<Dataset>,
    /// Settings by which training crops are drawn from images.
    pub sampling: Sampling,
    /// Seed of the order of the images, of their crops, and of the workers' start times, jitter and losses.
    pub seed: u64,
    /// The model file whose tensors the run starts from; `None` means that all tensors start with the initial
    /// values of the network.
    pub warm_start: Option<Arc<WarmStart>>,
    /// The settings by which the server turns gradients into updates; its `total_samples` is also the length
    /// of the run, in training images.
    pub rule: UpdateRule,
    /// The settings of the optimizer, from which the workers take clipping and momentum.
    pub optimisation: Optimisation,
    /// Number of images in a minibatch of one worker.
    pub batch: usize,
    /// Number of training images between two evaluations.
    pub evaluate_every: u64,
    /// Top-1 accuracy (0 to 1) at which the run ends, once two evaluations in a row reach it; `None` means
    /// that the run has its full length.
    pub until: Option<f64>,
    /// The instruction set with which gradients and updates are computed.
    pub isa: Isa,
    /// The threads that compute the steps of all workers, one step after the other.
    pub pool: Arc<Pool>,
}

/// The reasons why a simulated run ends early.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The data folder stayed unavailable.
    #[error(transparent)]
    Data(#[from] DataAway),
    /// The server's shard of the parameters cannot start the run, for example from a model file that lacks a
    /// tensor of the network.
    #[error(transparent)]
    Start(Refusal),
}
