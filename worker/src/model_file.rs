//! The model file: parameters with everything that is needed to use them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use dataset::{Preprocessing, Resize};
use parameters::checkpoint::Checkpoint;
use parameters::{Layout, finite};
use protocol::Evaluation;
use serde::de::DeserializeOwned;
use settings::RunConfiguration;

/// Name of the file in an output folder.
pub const MODEL_FILE: &str = "model.safetensors";

/// The metadata that tell the data that a model was trained on, by their hash.
pub(crate) const DATA: &str = "data";
/// What the metadata `resize` says of the two ways that images get to their scale.
pub(crate) const SHORTER_SIDE: &str =
    "shorter side to round(input_size * 256 / 224), centre crop of input_size";
pub(crate) const SQUARE: &str = "both sides to round(input_size * 256 / 224), centre crop of input_size";

/// What a model file says besides its tensors.
pub struct About<'a> {
    /// The run that it comes from.
    pub configuration: &'a RunConfiguration,
    /// Class names in label order.
    pub classes: &'a [String],
    /// Hash of the data that it was trained on.
    pub data: Option<&'a str>,
    /// Which values: "average" or "last iterate".
    pub values: &'static str,
    /// Samples that the run had used.
    pub samples: u64,
    /// The newest evaluation; it says itself after how many samples.
    pub evaluation: Option<&'a Evaluation>,
}

/// Writes `values` (as long as `layout`) with their description, whole or not at all.
///
/// Metadata are strings; lists and objects are JSON.
///
/// # Errors
/// Values that are not finite, by the first tensor that has some; a file or its folder that cannot be
/// written.
pub fn write(path: &Path, layout: &Layout, values: &[f32], about: &About) -> anyhow::Result<()> {
    for (index, tensor) in layout.tensors().iter().enumerate() {
        finite::check(&tensor.name, &values[layout.range(index)]).with_context(|| {
            format!(
                "{} is not written: training has diverged, start it again with a lower --learning-rate",
                path.display()
            )
        })?;
    }
    let network = &about.configuration.network;
    let mut metadata: BTreeMap<String, String> = [
        ("architecture", "googlenet".to_owned()),
        ("parameters", about.values.to_owned()),
        ("classes", serde_json::to_string(about.classes).context("write the classes")?),
        ("input_size", network.input_size.to_string()),
        ("width", network.width.to_string()),
        ("variant", serde_json::to_string(&network.variant).context("write the variant")?),
        ("auxiliary_heads", network.auxiliary_heads.to_string()),
        ("channels", "RGB, 0..255 minus mean, not scaled".to_owned()),
        ("mean", serde_json::to_string(&dataset::MEAN).context("write the mean")?),
        ("resize", SHORTER_SIDE.to_owned()),
        ("recipe", about.configuration.recipe.clone()),
        ("configuration", serde_json::to_string(about.configuration).context("write the configuration")?),
        ("samples", about.samples.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if let Some(hash) = about.data {
        metadata.insert(DATA.into(), hash.to_owned());
    }
    if let Some(evaluation) = about.evaluation {
        let text = serde_json::to_string(evaluation).context("write the scores")?;
        metadata.insert("evaluation".into(), text);
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("create folder {}", folder.display()))?;
    }
    Checkpoint::from_flat(layout, values, metadata).write(path)?;
    tracing::info!("wrote {}", path.display());
    Ok(())
}

/// What a model file says of itself: a configuration with its network, as it is used and not trained, and its classes.
///
/// # Errors
/// Metadata that are missing or not what [`write()`] writes.
pub fn describe(model: &Checkpoint, path: &Path) -> anyhow::Result<(RunConfiguration, Vec<String>)> {
    let classes: Vec<String> = value(model, path, "classes")?;
    let mut configuration = settings::recipe("paper")?;
    let network = &mut configuration.network;
    network.classes = Some(classes.len());
    network.input_size = value(model, path, "input_size")?;
    network.width = value(model, path, "width")?;
    network.auxiliary_heads = false;
    if model.metadata.contains_key("variant") {
        network.variant = value(model, path, "variant")?;
    }
    Ok((configuration, classes))
}

/// How the model of a file wants its images.
///
/// # Errors
/// Metadata that are missing or not what [`write()`] writes.
pub(crate) fn preprocessing(model: &Checkpoint, path: &Path) -> anyhow::Result<Preprocessing> {
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
             `worker fetch` wrote",
            path.display()
        )
    })
}
