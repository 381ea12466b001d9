//! A model file of any format that can be read, loaded for use: its network, its classes, how it wants its
//! images.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use dataset::{MEAN, Preprocessing, Resize};
use files::Digest;
use formats::FileFormat;
use kernels::{Isa, Pool};
use network::{Architecture, Engine, GoogLeNet, Precision};
use parameters::checkpoint::Checkpoint;
use setup::ModelCard;

/// The tensor by which a Caffe model, which has no card, is known as GoogLeNet, and which tells the number of
/// its classes.
const CLASSIFIER: &str = "loss3/classifier/weights";

/// A model that is ready for use.
pub(crate) struct LoadedModel {
    pub path: PathBuf,
    /// Network, without auxiliary heads, classes and preprocessing.
    pub card: ModelCard,
    /// Tensors, and what the file says of itself.
    pub checkpoint: Checkpoint,
    network: Arc<GoogLeNet>,
    parameters: Vec<f32>,
}

impl LoadedModel {
    /// Opens a model file of a run, or a Caffe model of GoogLeNet.
    ///
    /// # Errors
    /// A file that is no model, that of another network, or one with values that are not finite.
    pub fn open(path: &Path) -> anyhow::Result<LoadedModel> {
        LoadedModel::of(formats::read(path)?, path)
    }

    /// Opens a model file as [`LoadedModel::open`] does; returns the digest of the bytes that it was read
    /// from, too.
    ///
    /// # Errors
    /// Those of [`LoadedModel::open`].
    pub fn open_with_digest(path: &Path) -> anyhow::Result<(LoadedModel, Digest)> {
        let bytes = formats::read_bytes(path)?;
        let model = LoadedModel::of(formats::parse(&bytes, path)?, path)?;
        Ok((model, Digest::of(&bytes)))
    }

    fn of((format, checkpoint): (FileFormat, Checkpoint), path: &Path) -> anyhow::Result<LoadedModel> {
        let card = match format {
            FileFormat::Safetensors => ModelCard::of_metadata(&checkpoint, path)?,
            FileFormat::Caffe => card_of_caffe(&checkpoint, path)?,
        };
        let network = GoogLeNet::new(&card.architecture);
        // The error is the file's and not that of a flag, as it would be taken for.
        let network = network.map_err(|error| {
            anyhow!(
                "model file {} is of a network that cannot be built ({error}); use another file",
                path.display()
            )
        })?;
        let parameters =
            checkpoint.to_flat(network.layout()).with_context(|| format!("load model {}", path.display()))?;
        Ok(LoadedModel { path: path.to_owned(), card, checkpoint, network: Arc::new(network), parameters })
    }

    /// Returns the network that computes the model.
    pub fn network(&self) -> &GoogLeNet {
        &self.network
    }

    /// Returns the side of the input in pixels.
    pub fn input_size(&self) -> usize {
        self.card.architecture.input_size
    }

    /// Makes an engine of the network with its parameters, for up to `batch` inputs at once, in f32
    /// whatever it was trained in.
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

/// Makes the card of a Caffe model of GoogLeNet, whose file says nothing but its tensors: the network and
/// the preprocessing of the public one.
fn card_of_caffe(checkpoint: &Checkpoint, path: &Path) -> anyhow::Result<ModelCard> {
    let classes = checkpoint.tensors.get(CLASSIFIER).map(|tensor| tensor.shape()[0]);
    let classes = classes.with_context(|| {
        let found = checkpoint.tensors.keys().next().expect("a model has tensors");
        format!(
            "model file {} has no tensor {CLASSIFIER}, only such as {found}: expected a model of GoogLeNet",
            path.display()
        )
    })?;
    Ok(ModelCard {
        architecture: Architecture { classes, auxiliary_heads: false, ..Architecture::paper() },
        classes: (0..classes).map(|class| format!("class {class}")).collect(),
        preprocessing: Preprocessing { mean: MEAN, resize: Resize::Square },
    })
}
