//! The model file of a run: the parameters of a model with everything that is needed to use them, in the
//! safetensors format.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use parameters::checkpoint::Checkpoint;
use parameters::{Layout, finite};
use serde::de::DeserializeOwned;
use settings::{Preprocessing, Resize, RunConfiguration, Variant};

/// Name of the model file in the folder of a run: the average of the newest evaluation, or of the moment at
/// which the run was stopped.
pub const MODEL_FILE: &str = "model.safetensors";
/// Name of the file in the folder of a run that holds the average of the best evaluation.
pub const BEST_FILE: &str = "best.safetensors";

/// Name of the entry in a model file's metadata that holds the hash of the data on which the model was
/// trained.
pub const DATA: &str = "data";
/// Value of the metadata entry `architecture`.
const GOOGLENET: &str = "googlenet";
/// Values of the metadata entry `resize`, for the two ways of scaling images.
const SHORTER_SIDE: &str = "shorter side to round(input_size * 256 / 224), centre crop of input_size";
const SQUARE: &str = "both sides to round(input_size * 256 / 224), centre crop of input_size";

/// The card of a model of GoogLeNet: everything needed to use it besides its tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelCard {
    /// Side of the network's square input in pixels.
    pub input_size: usize,
    /// Width multiplier of the network.
    pub width: f32,
    /// Variant of the network.
    pub variant: Variant,
    /// Whether the file may have tensors of the auxiliary heads, which only training needs.
    pub auxiliary_heads: bool,
    /// Names of the classes in the order of the network's outputs.
    pub classes: Vec<String>,
    /// The preprocessing that turns an image into an input of the network.
    pub preprocessing: Preprocessing,
}

impl ModelCard {
    /// Reads the card from the metadata of `model`, a model file that was read from `path`, which errors
    /// name. The network is taken without auxiliary heads, which only training needs.
    ///
    /// # Errors
    /// If metadata of the model are missing or are not as [`to_metadata`](Self::to_metadata) writes them.
    pub fn of_metadata(model: &Checkpoint, path: &Path) -> anyhow::Result<ModelCard> {
        let Some(found) = model.metadata.get("architecture") else { bail!(not_ours(model, path)) };
        ensure!(
            found == GOOGLENET,
            "model file {}: metadata architecture: expected {GOOGLENET}, found {found}",
            path.display()
        );
        Ok(ModelCard {
            classes: value(model, path, "classes")?,
            input_size: value(model, path, "input_size")?,
            width: value(model, path, "width")?,
            auxiliary_heads: false,
            // Files of before the network had variants do not name one.
            variant: match model.metadata.contains_key("variant") {
                true => value(model, path, "variant")?,
                false => Variant::Table,
            },
            preprocessing: preprocessing(model, path)?,
        })
    }

    /// Returns the card as metadata of a model file: strings by name, with lists and objects as JSON.
    ///
    /// # Errors
    /// If a value cannot be written as JSON, which does not happen with names and numbers.
    pub fn to_metadata(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let resize = match self.preprocessing.resize {
            Resize::ShorterSide => SHORTER_SIDE,
            Resize::Square => SQUARE,
        };
        let metadata = [
            ("architecture", GOOGLENET.to_owned()),
            ("classes", serde_json::to_string(&self.classes).context("write the classes")?),
            ("input_size", self.input_size.to_string()),
            ("width", self.width.to_string()),
            ("variant", serde_json::to_string(&self.variant).context("write the variant")?),
            ("auxiliary_heads", self.auxiliary_heads.to_string()),
            ("channels", "RGB, 0..255 minus mean, not scaled".to_owned()),
            ("mean", serde_json::to_string(&self.preprocessing.mean).context("write the mean")?),
            ("resize", resize.to_owned()),
        ];
        Ok(metadata.map(|(name, value)| (name.to_owned(), value)).into())
    }
}

/// The description that a run writes into a model file besides the tensors.
#[derive(Clone, Debug)]
pub struct About<'a> {
    /// Configuration of the run that the model comes from.
    pub configuration: &'a RunConfiguration,
    /// Names of the classes in label order.
    pub classes: &'a [String],
    /// Hash of the data on which the model was trained, if it is known.
    pub data: Option<&'a str>,
    /// Kind of the parameter values: "average" (their running average over the updates, by Polyak) or "last
    /// iterate" (as the newest update left them).
    pub values: &'static str,
    /// Number of samples that the run had trained on when the values were taken.
    pub samples: u64,
    /// The newest evaluation of the run as JSON, if there was one.
    pub evaluation: Option<serde_json::Value>,
}

/// Writes the parameters `values` and their description `about` to a model file at `path`. `values` is a flat
/// vector with the tensors in the order of `layout`. Either the whole file is written or none.
///
/// # Errors
/// If some values are not finite, or if the file or its folder cannot be written. The error names the first
/// tensor with a value that is not finite.
pub fn write(path: &Path, layout: &Layout, values: &[f32], about: &About) -> anyhow::Result<()> {
    for (index, tensor) in layout.tensors().iter().enumerate() {
        finite::check(&tensor.name, &values[layout.range(index)]).with_context(|| {
            format!(
                "{} is not written: training has diverged, start it again with a lower --learning-rate",
                path.display()
            )
        })?;
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("create folder {}", folder.display()))?;
    }
    Checkpoint::from_flat(layout, values, metadata(about)?).write(path)?;
    tracing::info!("wrote {}", path.display());
    Ok(())
}

/// Returns the metadata of a model file that `about` describes.
///
/// # Errors
/// If a value cannot be written as JSON, which does not happen with what a run has.
pub(crate) fn metadata(about: &About) -> anyhow::Result<BTreeMap<String, String>> {
    let network = &about.configuration.network;
    let card = ModelCard {
        input_size: network.input_size,
        width: network.width,
        variant: network.variant,
        auxiliary_heads: network.auxiliary_heads,
        classes: about.classes.to_vec(),
        preprocessing: Preprocessing::default(),
    };
    let mut metadata = card.to_metadata()?;
    let configuration = serde_json::to_string(about.configuration).context("write the configuration")?;
    metadata.extend([
        ("parameters".into(), about.values.to_owned()),
        ("recipe".into(), about.configuration.recipe.clone()),
        ("configuration".into(), configuration),
        ("samples".into(), about.samples.to_string()),
    ]);
    if let Some(hash) = about.data {
        metadata.insert(DATA.into(), hash.to_owned());
    }
    if let Some(evaluation) = &about.evaluation {
        metadata.insert("evaluation".into(), evaluation.to_string());
    }
    Ok(metadata)
}

/// Describes a safetensors file that does not name its network, such as those of other programs.
fn not_ours(model: &Checkpoint, path: &Path) -> String {
    let count = model.tensors.len();
    let first = model.tensors.keys().next().map(|name| format!(", as {name:.60}")).unwrap_or_default();
    format!(
        "model file {} is a safetensors file with {count} tensors{first}, whose metadata name no network (architecture): \
         use a file that a run, `downpour fetch` or `downpour export` wrote",
        path.display()
    )
}

/// Reads the preprocessing from the metadata of a model file.
fn preprocessing(model: &Checkpoint, path: &Path) -> anyhow::Result<Preprocessing> {
    let resize = match model.metadata.get("resize").map_or("nothing", String::as_str) {
        SHORTER_SIDE => Resize::ShorterSide,
        SQUARE => Resize::Square,
        found => bail!(
            "model file {}: metadata resize: expected \"{SHORTER_SIDE}\" or \"{SQUARE}\", found \"{found}\"",
            path.display()
        ),
    };
    let mean: [f32; 3] = value(model, path, "mean")?;
    ensure!(
        mean.iter().all(|value| value.is_finite()),
        "model file {}: metadata mean: expected finite numbers, found {mean:?}",
        path.display()
    );
    Ok(Preprocessing { mean, resize })
}

fn value<T: DeserializeOwned>(model: &Checkpoint, path: &Path, key: &str) -> anyhow::Result<T> {
    let text = model.metadata.get(key).map_or("nothing", String::as_str);
    serde_json::from_str(text).with_context(|| {
        format!(
            "model file {}: metadata {key}: expected what a run writes there, found {text}; use a file that a run or \
             `downpour fetch` wrote",
            path.display()
        )
    })
}
