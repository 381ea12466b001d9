//! A model loaded from a file of any supported format: its network, its classes and its preprocessing.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, ensure};
use files::Digest;
use formats::caffe::{CLASSIFIER, NETWORK};
use formats::{FileFormat, FormatError, ModelCard, folder};
use kernels::{Isa, Pool};
use network::{Architecture, Engine, GoogLeNet, Precision};
use parameters::checkpoint::Checkpoint;
use settings::{MEAN, Preprocessing, Resize, Variant};

/// Key of a model file's metadata that names the network.
const ARCHITECTURE: &str = "architecture";
/// Keys that the metadata of every model of a run have. The variant is not among them: files of before networks had
/// one do not name it.
const KEYS: [&str; 6] = [ARCHITECTURE, "classes", "input_size", "width", "mean", "resize"];

/// A model loaded from a file and ready for use.
pub(crate) struct LoadedModel {
    pub path: PathBuf,
    /// Everything needed to use the model besides its tensors: the network, without auxiliary heads, the names
    /// of the classes, and the preprocessing of images.
    pub card: ModelCard,
    /// The tensors and metadata of the model file.
    pub checkpoint: Checkpoint,
    network: Arc<GoogLeNet>,
    parameters: Vec<f32>,
}

impl LoadedModel {
    /// Opens a model file that a training run wrote, or a Caffe model of GoogLeNet, or the model in the folder of
    /// a run or a snapshot; says on standard error which file of a run's folder it is.
    ///
    /// # Errors
    /// If the file is not a model, if it holds a network other than GoogLeNet, or if some of its values are
    /// not finite.
    pub fn open(path: &Path) -> anyhow::Result<LoadedModel> {
        Ok(LoadedModel::open_with_digest(path)?.0)
    }

    /// Opens a model file like [`LoadedModel::open`]; returns the model and the digest of the file's bytes.
    ///
    /// # Errors
    /// If [`LoadedModel::open`] would fail, with the same error.
    pub fn open_with_digest(path: &Path) -> anyhow::Result<(LoadedModel, Digest)> {
        let named = folder::named(path);
        if named != path {
            process::tell(format_args!("{}: the model is {}", path.display(), named.display()));
        }
        let bytes = formats::read_bytes(&named).map_err(|error| unread(error, &named))?;
        let model = LoadedModel::of(formats::parse(&bytes, &named)?, &named)?;
        Ok((model, Digest::of(&bytes)))
    }

    fn of((format, checkpoint): (FileFormat, Checkpoint), path: &Path) -> anyhow::Result<LoadedModel> {
        let card = match format {
            FileFormat::Safetensors => {
                check_keys(&checkpoint, path)?;
                ModelCard::of_metadata(&checkpoint, path)?
            }
            FileFormat::Caffe => card_of_caffe(&checkpoint, path)?,
        };
        let network = GoogLeNet::new(&architecture(&card));
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

    /// Returns the model's network: its layers, without the values of their parameters, which an
    /// [engine](Self::engine) adds.
    pub fn network(&self) -> &GoogLeNet {
        &self.network
    }

    /// Returns the side of the network's square input in pixels.
    pub fn input_size(&self) -> usize {
        self.card.input_size
    }

    /// Creates an engine, which computes the network's outputs with this model's parameters, for up to
    /// `batch` inputs at once. It computes in f32, whatever precision the model was trained in.
    ///
    /// # Errors
    /// If this machine has too little memory for the engine.
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

/// Returns the error of a model that cannot be read. One that is not there is told with what is expected in its
/// place, and with the flag that names it.
fn unread(error: FormatError, path: &Path) -> anyhow::Error {
    match error {
        FormatError::Read { error, .. } if error.kind() == ErrorKind::NotFound => anyhow!(
            "there is no model {}: expected a model file, the folder of a run, or that of a snapshot; name it by --model, \
             as --model downpour-run or --model downpour-run/snapshots/7",
            path.display()
        ),
        other => other.into(),
    }
}

/// Checks that the metadata of a model of a run have every key without which the model cannot be used. A file that
/// names no network is none of a run, and is left to the reader of its card.
fn check_keys(checkpoint: &Checkpoint, path: &Path) -> anyhow::Result<()> {
    let has = |key: &&str| checkpoint.metadata.contains_key(*key);
    let missing: Vec<&str> = KEYS.into_iter().filter(|key| !has(key)).collect();
    ensure!(
        missing.is_empty() || missing.contains(&ARCHITECTURE),
        "model file {}: its metadata lack {}: expected {}, as a run writes them; use the file of a run, or one that \
         `downpour fetch` or `downpour export` wrote",
        path.display(),
        missing.join(" and "),
        KEYS.join(", ")
    );
    Ok(())
}

/// Returns the architecture of the network that a card describes.
fn architecture(card: &ModelCard) -> Architecture {
    let &ModelCard { input_size, width, variant, auxiliary_heads, ref classes, .. } = card;
    Architecture {
        classes: classes.len(),
        input_size,
        width,
        variant,
        auxiliary_heads,
        ..Architecture::paper()
    }
}

/// Returns the card of a Caffe model of GoogLeNet. Its file holds nothing but tensors; the network and the
/// preprocessing are those of the published model, and the classifier has as many outputs as there are
/// classes.
fn card_of_caffe(checkpoint: &Checkpoint, path: &Path) -> anyhow::Result<ModelCard> {
    let path = path.display();
    let published = Architecture { auxiliary_heads: false, ..Architecture::paper() };
    let network = GoogLeNet::new(&published).context("build GoogLeNet")?;
    let expected = network.layout().tensors().iter().filter(|tensor| !tensor.name.starts_with(CLASSIFIER));
    let (found, all) = (
        expected.clone().filter(|tensor| checkpoint.tensors.contains_key(&tensor.name)).count(),
        expected.count(),
    );
    ensure!(found > 0, "model file {path} is a caffe model of {}", another_network(checkpoint));
    let classifier = checkpoint.tensors.get(&format!("{CLASSIFIER}/weights"));
    let classes = classifier.map(|weights| weights.shape()[0]).with_context(|| {
        format!(
            "model file {path} has {found} of the {all} tensors in front of GoogLeNet's classifier, but no layer \
             {CLASSIFIER}, nor one other fully connected layer of 1024 inputs in its place; get or write it again"
        )
    })?;
    Ok(ModelCard {
        input_size: published.input_size,
        width: published.width,
        variant: Variant::Table,
        auxiliary_heads: false,
        classes: (0..classes).map(|class| format!("class {class}")).collect(),
        preprocessing: Preprocessing { mean: MEAN, resize: Resize::Square },
    })
}

/// Describes a model without a single tensor of GoogLeNet.
fn another_network(checkpoint: &Checkpoint) -> String {
    let name = checkpoint.metadata.get(NETWORK).map(|name| format!(" ({name:.60})")).unwrap_or_default();
    let first = checkpoint.tensors.keys().next().expect("a model has tensors");
    format!(
        "another network{name} than GoogLeNet: it has {} tensors, as {first:.60}, and none of GoogLeNet, as \
         conv1/7x7_s2/weights; use a model of GoogLeNet",
        checkpoint.tensors.len()
    )
}
