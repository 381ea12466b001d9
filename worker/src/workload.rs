//! The workload of a replica as its loop sees it: data, model and samples behind small traits.
//!
//! The loop knows neither images nor networks: implementations of these traits decide what is loaded,
//! computed and scored. A real worker trains GoogLeNet on photographs (`image_work.rs`); a simulation trains
//! a small linear model.

use dataset::{DataAway, LoaderRange};
use kernels::Isa;
use network::Losses;
use parameters::Layout;
use protocol::{DataDescription, Evaluation, RunStatus, Scores};
use settings::RunConfiguration;

/// A minibatch. The loop only counts its samples; their content concerns only the model and the queue that
/// made them.
pub trait Batch: Send + 'static {
    /// Returns the numbers, in the data set, of the minibatch's samples; samples that could not be read are
    /// left out.
    fn samples(&self) -> &[u32];

    /// Returns the samples of the minibatch's range that could not be read, each as "path: reason".
    fn skipped(&self) -> &[String];
}

/// The arguments of one forward and backward pass besides the minibatch.
pub struct Pass<'a> {
    /// Number of samples that the pass is over: the first of the minibatch, at least one, up to all of them.
    pub samples: usize,
    /// One seed of dropout masks for each sample of the minibatch; with `None` nothing is dropped.
    pub dropout: Option<&'a [u64]>,
    /// Buffer that receives the mean gradient, a flat vector as long as the layout.
    pub gradients: &'a mut [f32],
    /// Function called once for each tensor when its gradient is complete, with the tensor's index and
    /// gradient.
    pub ready: &'a mut (dyn FnMut(usize, &[f32]) + Send),
}

/// A sum of the scores of samples.
pub trait Tally: Copy + Default + Send + 'static {
    /// Returns the number of samples scored.
    fn samples(&self) -> u64;

    /// Returns the means of the scores over the samples scored, by name.
    fn scores(&self) -> Scores;
}

/// A model that a replica trains. Its parameters are loaded and its gradients handed out tensor by tensor.
pub trait Model: Send + 'static {
    /// The minibatches that the model computes with.
    type Batch: Batch;
    /// The sum of the scores that the model gives to samples.
    type Tally: Tally;

    /// Returns the layout of the model's parameters.
    fn layout(&self) -> &Layout;

    /// Returns the instruction set with which the model's gradients are processed: that of the model, by
    /// default the best of this machine.
    fn isa(&self) -> Isa {
        Isa::detect()
    }

    /// Loads new values of the tensor with this index in the layout. Every tensor is loaded before the model
    /// is first used.
    fn load_tensor(&mut self, tensor: usize, values: &[f32]);

    /// Computes the losses and the mean gradient of the samples of a minibatch that the pass names.
    fn train(&mut self, batch: &Self::Batch, pass: Pass<'_>) -> Losses;

    /// Adds the scores of a minibatch of at least one sample to `tally`.
    fn score(&mut self, batch: &Self::Batch, tally: &mut Self::Tally);
}

/// A queue that takes ranges of samples and returns them as minibatches.
pub trait Samples: Send + 'static {
    /// The minibatches of the queue.
    type Batch: Batch;

    /// Queues a range of samples; does not block.
    fn request(&mut self, range: LoaderRange);

    /// Returns the next minibatch, in the order of the requests, or `None` once everything requested has been
    /// returned. Blocks until that minibatch is loaded. No minibatch spans two ranges, so the last one of a
    /// range may be short.
    ///
    /// # Errors
    /// If the data stay unavailable for longer than the queue waits for them.
    fn next(&mut self) -> Result<Option<Self::Batch>, DataAway>;
}

/// The result of a run: the trained parameters and what describes them.
pub struct Trained<'a> {
    /// The run's configuration.
    pub configuration: &'a RunConfiguration,
    /// The layout of the parameters.
    pub layout: &'a Layout,
    /// The averaged parameters, a flat vector as long as the layout.
    pub average: &'a [f32],
    /// The last evaluation.
    pub evaluation: &'a Evaluation,
}

/// The workload of a worker: its data, and the model and samples that it builds once the run's configuration
/// is known.
pub trait Workload: Sync {
    /// The model that the workload trains.
    type Model: Model;
    /// The queue of the model's minibatches.
    type Samples: Samples<Batch = <Self::Model as Model>::Batch>;

    /// Returns the description of the data with which a worker joins the run that has this status.
    ///
    /// # Errors
    /// If the data cannot be used, or if they are unsuitable for beginning a run.
    fn data(&self, status: &RunStatus) -> anyhow::Result<DataDescription>;

    /// Builds the model of a run.
    ///
    /// # Errors
    /// If this worker cannot build the model that the configuration describes.
    fn model(&self, configuration: &RunConfiguration) -> anyhow::Result<Self::Model>;

    /// Creates an empty queue of a run's samples.
    fn samples(&self, configuration: &RunConfiguration) -> Self::Samples;

    /// Keeps the trained model of a run, for example in a file. The worker that did the last evaluation calls
    /// this function before it reports that evaluation.
    ///
    /// # Errors
    /// If the model cannot be kept.
    fn keep(&self, trained: &Trained<'_>) -> anyhow::Result<()>;
}
