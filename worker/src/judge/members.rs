//! The models of an ensemble: what each says of itself, and whether they speak of the same classes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use configuration::RunConfiguration;
use dataset::Preprocessing;
use kernels::{Isa, Pool};
use network::{Engine, GoogLeNet};
use parameters::checkpoint::Checkpoint;
use sha2::{Digest, Sha256};

use crate::googlenet::architecture;
use crate::model_file;

/// One model, as it is used.
pub(super) struct Member {
    pub path: PathBuf,
    /// SHA-256 of the file, hexadecimal.
    pub hash: String,
    pub configuration: RunConfiguration,
    /// Names of the classes in the order of the outputs.
    pub classes: Vec<String>,
    pub preprocessing: Preprocessing,
    model: Checkpoint,
}

impl Member {
    pub fn open(path: &Path) -> anyhow::Result<Member> {
        let model = Checkpoint::read(path)?;
        let (configuration, classes) = model_file::describe(&model, path)?;
        let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let hash = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let preprocessing = Preprocessing { mean: mean(&model, path)?, ..Preprocessing::default() };
        Ok(Member { path: path.to_owned(), hash, configuration, classes, preprocessing, model })
    }

    /// The network with its parameters, for up to `batch` inputs at once.
    pub fn engine(&self, batch: usize, isa: Isa, pool: Arc<Pool>) -> anyhow::Result<Engine> {
        let network = GoogLeNet::new(&architecture(&self.configuration.network, self.classes.len()))?;
        let parameters = self
            .model
            .to_flat(network.layout())
            .with_context(|| format!("load model {}", self.path.display()))?;
        let mut engine = Engine::forward_only(Arc::new(network), batch, isa, pool);
        engine.load(&parameters);
        Ok(engine)
    }
}

fn mean(model: &Checkpoint, path: &Path) -> anyhow::Result<[f32; 3]> {
    let text = model.metadata.get("mean").map_or("nothing", String::as_str);
    serde_json::from_str(text).with_context(|| {
        format!("model file {}: metadata mean: expected [red, green, blue], found {text}", path.display())
    })
}

/// The classes of all, which must be the same in the same order.
pub(super) fn common_classes(members: &[Member]) -> anyhow::Result<&[String]> {
    let (first, others) = members.split_first().context("expected at least one --model")?;
    for other in others {
        let (one, two) = (first.path.display(), other.path.display());
        ensure!(
            first.classes.len() == other.classes.len(),
            "the models of an ensemble must have the same classes: {one} has {}, {two} has {}",
            first.classes.len(),
            other.classes.len()
        );
        let difference = first.classes.iter().zip(&other.classes).enumerate().find(|(_, (a, b))| a != b);
        if let Some((number, (a, b))) = difference {
            anyhow::bail!(
                "the models of an ensemble must have the same classes in the same order: class {number} is \"{a}\" in \
                 {one}, \"{b}\" in {two}"
            );
        }
    }
    Ok(&first.classes)
}
