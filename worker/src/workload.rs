//! The workload of a replica as its loop sees it: data, model and samples behind small traits.
//!
//! The loop knows neither images nor networks: implementations of these traits decide what is loaded,
//! computed and scored. A real worker trains GoogLeNet on photographs (`image_work.rs`); a simulation trains
//! a small linear model.

use dataset::{DataAway, LoaderRange};
use kernels::Isa;
use network::Losses;
use parameters::Layout;
use protocol::{CoordinatorClient, DataDescription, RunStatus, Scores, WorstMistakes};
use settings::RunConfiguration;

/// A minibatch. The worker's training loop only counts its samples; their content concerns only the model and
/// the queue that made them.
pub trait Batch: Send + 'static {
    /// Returns the index of each sample of the minibatch in its split (training or validation) of the data
    /// set; samples that could not be read are left out.
    fn samples(&self) -> &[u32];

    /// Returns the samples of the minibatch's range that could not be read, each as "path: reason".
    fn skipped(&self) -> &[String];
}

/// The arguments of one forward and backward pass besides the minibatch.
pub struct Pass<'a> {
    /// Number of samples, counted from the first of the minibatch, that the pass runs over: from 1 to all of
    /// them.
    pub samples: usize,
    /// One seed of dropout masks for each sample of the minibatch; with `None` nothing is dropped.
    pub dropout: Option<&'a [u64]>,
    /// Buffer that receives the gradient of the mean loss over the first `samples` samples: a flat vector of
    /// one value for each parameter, in the order of the model's layout.
    pub gradients: &'a mut [f32],
    /// Function called once for each tensor when its gradient is complete, with the tensor's index and
    /// gradient.
    pub ready: &'a mut (dyn FnMut(usize, &[f32]) + Send),
}

/// Sums of the scores of samples, such as loss and accuracy; the default is empty.
pub trait Tally: Copy + Default + Send + 'static {
    /// Returns the number of samples scored.
    fn samples(&self) -> u64;

    /// Returns the sum of each score over the samples scored, with its name, such as `top1`.
    fn sums(&self) -> Scores;
}

/// A model that a worker trains as its replica (copy) of the run's network. Its parameters are loaded and its
/// gradients handed out tensor by tensor.
pub trait Model: Send + 'static {
    /// The minibatches that the model computes with.
    type Batch: Batch;
    /// The sum of the scores that the model gives to samples.
    type Tally: Tally;

    /// Returns the layout of the model's parameters: its tensors in the order in which they lie in a flat
    /// vector.
    fn layout(&self) -> &Layout;

    /// Returns the CPU instruction set with which the worker processes the model's gradients, for example
    /// clips them: that with which the model computes, by default the best that this machine has.
    fn isa(&self) -> Isa {
        Isa::detect()
    }

    /// Replaces the parameters of the tensor with index `tensor` in the layout by `values`. Every tensor is
    /// loaded before the model is first used.
    fn load_tensor(&mut self, tensor: usize, values: &[f32]);

    /// Computes the gradient of the mean loss over the first `pass.samples` samples of `batch`, handing it
    /// out by way of `pass`; returns the losses.
    fn train(&mut self, batch: &Self::Batch, pass: Pass<'_>) -> Losses;

    /// Runs the model forward on `batch`, which has at least one sample, and adds the scores of its samples
    /// to `tally`; offers those that it takes for another class to `mistakes`.
    fn score(&mut self, batch: &Self::Batch, tally: &mut Self::Tally, mistakes: &mut WorstMistakes);
}

/// A queue that takes ranges of samples and returns them as minibatches.
pub trait Samples: Send + 'static {
    /// The minibatches of the queue.
    type Batch: Batch;

    /// Queues the samples of `range`, to be loaded as minibatches; returns without waiting for them.
    fn request(&mut self, range: LoaderRange);

    /// Returns the next minibatch, in the order of the requests, or `None` once everything requested has been
    /// returned. Blocks until that minibatch is loaded. No minibatch spans two ranges, so the last one of a
    /// range may be short.
    ///
    /// # Errors
    /// If the data stay unavailable for longer than the queue waits for them.
    fn next(&mut self) -> Result<Option<Self::Batch>, DataAway>;
}

/// What a worker trains, and the data that it trains on: describes the data, and builds the model and the
/// queues of samples once the run's configuration is known.
pub trait Workload: Sync {
    /// The model that the workload trains.
    type Model: Model;
    /// The queue of the model's minibatches.
    type Samples: Samples<Batch = <Self::Model as Model>::Batch>;

    /// Returns the description of the worker's data set, which the worker sends when it joins the run;
    /// `status` is the run's status before it joins, and `client` calls the run's coordinator, which may lend the
    /// data.
    ///
    /// # Errors
    /// If the data set cannot be read, or if it is unsuitable for beginning a run and this run has not
    /// trained on any sample yet.
    fn data(
        &self,
        client: &CoordinatorClient,
        status: &RunStatus,
    ) -> impl Future<Output = anyhow::Result<DataDescription>> + Send;

    /// Builds the model of a run.
    ///
    /// # Errors
    /// If this worker cannot build the model that the configuration describes.
    fn model(&self, configuration: &RunConfiguration) -> anyhow::Result<Self::Model>;

    /// Creates an empty queue that loads samples of the data set as the run's configuration says.
    fn samples(&self, configuration: &RunConfiguration) -> Self::Samples;
}
