//! What a replica trains, as its loop sees it: data, model and samples behind small traits.
//!
//! The loop knows neither images nor networks: what is computed, what is loaded and what is scored are
//! implementations of these traits. The real ones are GoogLeNet and photographs (`image_work.rs`); a
//! simulation brings a small linear model.

use dataset::{DataAway, LoaderRange};
use kernels::Isa;
use network::Losses;
use parameters::Layout;
use protocol::{DataDescription, Evaluation, RunStatus, Scores};
use settings::RunConfiguration;

/// A minibatch, of which the loop counts the samples; what they are is between the model and the queue that
/// made them.
pub trait Batch: Send + 'static {
    /// The numbers of its samples in the data set, of those that could be read.
    fn samples(&self) -> &[u32];

    /// Samples of its range that could not be read, each as "path: reason".
    fn skipped(&self) -> &[String];
}

/// One pass forward and backward: what it needs beside the minibatch, and where its gradients go.
pub struct Pass<'a> {
    /// One seed of dropout masks for each sample; none: no dropout.
    pub dropout: Option<&'a [u64]>,
    /// The mean gradient, as long as the layout.
    pub gradients: &'a mut [f32],
    /// Called once for each tensor, as its gradient completes.
    pub ready: &'a mut (dyn FnMut(usize, &[f32]) + Send),
}

/// Scores of samples, summed up.
pub trait Tally: Copy + Default + Send + 'static {
    /// Returns the number of samples scored.
    fn samples(&self) -> u64;

    /// Returns the mean scores, by name.
    fn scores(&self) -> Scores;
}

/// A model that a replica computes with. Its parameters come tensor by tensor, and its gradients go so.
pub trait Model: Send + 'static {
    /// The minibatches that the model computes with.
    type Batch: Batch;
    /// The scores of its task.
    type Tally: Tally;

    /// Returns the layout of the model's parameters.
    fn layout(&self) -> &Layout;

    /// Returns the instruction set for what is done to its gradients; the best of this machine, unless it
    /// computes with another.
    fn isa(&self) -> Isa {
        Isa::detect()
    }

    /// Takes new values of one tensor; each tensor is loaded before the first use.
    fn load_tensor(&mut self, tensor: usize, values: &[f32]);

    /// Computes loss and mean gradient of a minibatch of at least one sample.
    fn train(&mut self, batch: &Self::Batch, pass: Pass<'_>) -> Losses;

    /// Adds the scores of a minibatch of at least one sample to `tally`.
    fn score(&mut self, batch: &Self::Batch, tally: &mut Self::Tally);
}

/// A queue of sample ranges that comes back as minibatches.
pub trait Samples: Send + 'static {
    /// The minibatches of the queue.
    type Batch: Batch;

    /// Queues a range; does not block.
    fn request(&mut self, range: LoaderRange);

    /// Returns the next minibatch, in the order of the requests; a range ends with its own, perhaps short,
    /// minibatch. Blocks until it is there; `None` once everything requested was given.
    ///
    /// # Errors
    /// Data that stayed away for longer than they are waited for.
    fn next(&mut self) -> Result<Option<Self::Batch>, DataAway>;
}

/// The end of a run, as whoever keeps its model sees it.
pub struct Trained<'a> {
    /// The run's configuration.
    pub configuration: &'a RunConfiguration,
    /// The layout of the parameters.
    pub layout: &'a Layout,
    /// The averaged parameters, as long as the layout.
    pub average: &'a [f32],
    /// The last evaluation.
    pub evaluation: &'a Evaluation,
}

/// The work of a worker: its data, and how it builds the rest once the run's configuration is known.
pub trait Workload: Sync {
    /// The model of this work.
    type Model: Model;
    /// The source of its minibatches.
    type Samples: Samples<Batch = <Self::Model as Model>::Batch>;

    /// Returns the data, as a worker states it that joins a run of this status.
    ///
    /// # Errors
    /// Data that cannot be used, or on which it makes no sense to begin a run.
    fn data(&self, status: &RunStatus) -> anyhow::Result<DataDescription>;

    /// Returns the model of a run.
    ///
    /// # Errors
    /// A configuration that this worker cannot or may not follow.
    fn model(&self, configuration: &RunConfiguration) -> anyhow::Result<Self::Model>;

    /// Makes an empty queue of a run's samples.
    fn samples(&self, configuration: &RunConfiguration) -> Self::Samples;

    /// Keeps the model of a run; called after the last evaluation, before it is reported.
    ///
    /// # Errors
    /// Whatever keeps the model from being kept.
    fn keep(&self, trained: &Trained<'_>) -> anyhow::Result<()>;
}
