//! What a replica trains, as its loop sees it: data, model and samples behind three small traits.
//!
//! The real one is GoogLeNet on images (`image_work.rs`); a simulation brings a small linear model.

use dataset::{DataAway, LoaderRange, Minibatch};
use kernels::Isa;
use ndarray::{Array2, ArrayView4};
use network::Losses;
use parameters::Layout;
use protocol::{DataDescription, Evaluation, RunStatus};
use settings::RunConfiguration;

/// A model that a replica computes with. Its parameters come tensor by tensor, and its gradients go so.
pub trait Model: Send + 'static {
    /// Its parameters.
    fn layout(&self) -> &Layout;

    /// The instruction set for what is done to its gradients; the best of this machine, unless it computes with another.
    fn isa(&self) -> Isa {
        Isa::detect()
    }

    /// Takes new values of one tensor; each tensor is loaded before the first use.
    fn load_tensor(&mut self, tensor: usize, values: &[f32]);

    /// Loss and mean gradient of a minibatch of at least one image. `dropout` has one seed per image; `None`: no
    /// dropout. `gradients` is as long as the layout. `ready` is called once for each tensor, as its gradient
    /// completes.
    fn train(
        &mut self,
        minibatch: &Minibatch,
        dropout: Option<&[u64]>,
        gradients: &mut [f32],
        ready: &mut (dyn FnMut(usize, &[f32]) + Send),
    ) -> Losses;

    /// Logits (N x classes) of the main head for N images, N at most the run's batch.
    fn logits(&mut self, images: ArrayView4<f32>) -> Array2<f32>;
}

/// A queue of sample ranges that comes back as minibatches.
pub trait Samples: Send + 'static {
    /// Queues a range; does not block.
    fn request(&mut self, range: LoaderRange);

    /// The next minibatch, in the order of the requests; a range ends with its own, perhaps short, minibatch. Blocks
    /// until it is there; `None` once everything requested was given.
    ///
    /// # Errors
    /// Data that stayed away for longer than they are waited for.
    fn next(&mut self) -> Result<Option<Minibatch>, DataAway>;
}

/// What a worker brings along: its data, and how it builds the rest once the run's configuration is known.
pub trait Workload: Sync {
    /// The model of this work.
    type Model: Model;
    /// The source of its minibatches.
    type Samples: Samples;

    /// The data, as a worker states it that joins a run of this status.
    ///
    /// # Errors
    /// Data that cannot be used, or on which it makes no sense to begin a run.
    fn data(&self, status: &RunStatus) -> anyhow::Result<DataDescription>;

    /// The model of a run.
    ///
    /// # Errors
    /// A configuration that this worker cannot or may not follow.
    fn model(&self, configuration: &RunConfiguration) -> anyhow::Result<Self::Model>;

    /// An empty queue of a run's samples.
    fn samples(&self, configuration: &RunConfiguration) -> Self::Samples;

    /// Called after the last evaluation, before it is reported, with the averaged parameters (as long as `layout`).
    ///
    /// # Errors
    /// Whatever keeps the model from being kept.
    fn keep(
        &self,
        configuration: &RunConfiguration,
        layout: &Layout,
        average: &[f32],
        evaluation: &Evaluation,
    ) -> anyhow::Result<()>;
}
