//! A model file of any kind that can be read, opened for use: its network, its labels, how it wants its images.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use dataset::{MEAN, Preprocessing, Resize};
use formats::Kind;
use kernels::{Isa, Pool};
use network::{Architecture, Engine, GoogLeNet, Precision};
use parameters::checkpoint::Checkpoint;
use settings::RunConfiguration;

use crate::model_file;

/// The tensor that tells the number of classes.
const CLASSIFIER: &str = "loss3/classifier/weights";

/// One model, as it is used.
pub(crate) struct Opened {
    pub path: PathBuf,
    /// Its network, without auxiliary heads.
    pub configuration: RunConfiguration,
    /// Labels in the order of the outputs.
    pub labels: Vec<String>,
    pub preprocessing: Preprocessing,
    /// Tensors, and what the file says of itself.
    pub checkpoint: Checkpoint,
    network: Arc<GoogLeNet>,
    parameters: Vec<f32>,
}

impl Opened {
    /// Opens a model file of a run, or a Caffe model of GoogLeNet with the preprocessing of the public one.
    ///
    /// # Errors
    /// A file that is no model, that of another network, or one with values that are not finite.
    pub fn open(path: &Path) -> anyhow::Result<Opened> {
        let (kind, checkpoint) = formats::read(path)?;
        let (configuration, labels, preprocessing) = match kind {
            Kind::Safetensors => {
                let (configuration, labels) = model_file::describe(&checkpoint, path)?;
                (configuration, labels, model_file::preprocessing(&checkpoint, path)?)
            }
            Kind::Caffe => {
                let classes = checkpoint.tensors.get(CLASSIFIER).map(|tensor| tensor.shape()[0]);
                let classes = classes.with_context(|| {
                    let found = checkpoint.tensors.keys().next().expect("a model has tensors");
                    format!(
                        "model file {} has no tensor {CLASSIFIER}, only such as {found}: expected a model of GoogLeNet",
                        path.display()
                    )
                })?;
                let mut configuration = settings::recipe("paper")?;
                configuration.network.classes = Some(classes);
                configuration.network.auxiliary_heads = false;
                let labels = (0..classes).map(|class| format!("class {class}")).collect();
                (configuration, labels, Preprocessing { mean: MEAN, resize: Resize::Square })
            }
        };
        let network = GoogLeNet::new(&Architecture::of(&configuration.network, labels.len()));
        // The error is the file's and not that of a flag, as it would be taken for.
        let network = network.map_err(|error| {
            anyhow!(
                "model file {} is of a network that cannot be built ({error}); use another file",
                path.display()
            )
        })?;
        let parameters =
            checkpoint.to_flat(network.layout()).with_context(|| format!("load model {}", path.display()))?;
        Ok(Opened {
            path: path.to_owned(),
            configuration,
            labels,
            preprocessing,
            checkpoint,
            network: Arc::new(network),
            parameters,
        })
    }

    /// What it computes.
    pub fn network(&self) -> &GoogLeNet {
        &self.network
    }

    /// Side of the input, pixels.
    pub fn input_size(&self) -> usize {
        self.configuration.network.input_size
    }

    /// The network with its parameters, for up to `batch` inputs at once, in f32 whatever it was trained in.
    ///
    /// # Errors
    /// Less memory than that takes.
    pub fn engine(&self, batch: usize, isa: Isa, pool: Arc<Pool>) -> anyhow::Result<Engine> {
        let network = Arc::clone(&self.network);
        let bytes = Engine::forward_bytes(&network, batch, Precision::F32, isa, &pool);
        limits::memory::check(bytes).with_context(|| {
            let (side, path) = (self.input_size(), self.path.display());
            format!("compute {batch} inputs of {side} x {side} pixels at once with model {path}")
        })?;
        let mut engine = Engine::forward_only(network, batch, Precision::F32, isa, pool);
        engine.load(&self.parameters);
        Ok(engine)
    }
}
