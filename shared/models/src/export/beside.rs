//! What lies beside an exported safetensors file for other programs and for people: `config.json`, which
//! describes the network and its input, and `README.md`, the model card. Both have the names by which hubs of
//! models know them.
//!
//! A file of that name that was not written here for the same model is left alone: a README of a project, or
//! the card of another model in the same folder.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use dataset::Resize;
use formats::onnx::{PRODUCER, VERSION};
use serde::{Deserialize, Serialize};

use crate::loaded::LoadedModel;

/// Name of the description for programs.
pub(super) const CONFIGURATION: &str = "config.json";
/// Name of the model card, a description for people.
pub(super) const CARD: &str = "README.md";

/// Largest size in bytes of an earlier description that is looked at: that of more classes than any network
/// has.
const MOST_BYTES: u64 = 64 << 20;

/// Number of classes that a model card names; the others are in `config.json`.
const CLASSES_SHOWN: usize = 20;

const INTO_TEXT: &str = "a string takes every text";

/// The content of `config.json`. The keys that hubs know have their names.
#[derive(Serialize)]
struct Configuration<'a> {
    architectures: [&'static str; 1],
    model_type: &'static str,
    /// Name of the file that is described.
    model_file: &'a str,
    producer: String,
    variant: settings::Variant,
    width: f32,
    num_channels: usize,
    /// Side of the network's input in pixels.
    image_size: usize,
    /// Means of red, green and blue, 0..255, which are subtracted from the pixels; nothing is divided.
    image_mean: [f32; 3],
    image_std: [f32; 3],
    /// Which sides of an image are scaled to `resize_to` pixels, before the centre is cut out.
    resize: &'static str,
    resize_to: usize,
    /// The classes in the order of the network's outputs, by their numbers from 0.
    id2label: BTreeMap<usize, &'a str>,
}

/// The part of an earlier `config.json` that tells whose it is.
#[derive(Deserialize)]
struct Owner {
    model_file: String,
    producer: String,
}

/// Writes both descriptions of `model`, which was exported to the file `output` with `metadata`, into the
/// folder of that file. Returns the paths of those that are left as they are, because a file of that name is
/// not of an earlier export to `output`.
///
/// # Errors
/// If one of the files cannot be written.
pub(super) fn write(
    model: &LoadedModel,
    metadata: &BTreeMap<String, String>,
    output: &Path,
) -> anyhow::Result<Vec<PathBuf>> {
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    let configuration = configuration(model, &name)?;
    let card = format!("{}{}\n", card(model, metadata, &name), mark(&name));
    let mut left = Vec::new();
    for (file, content) in [(CONFIGURATION, configuration), (CARD, card)] {
        let path = output.with_file_name(file);
        // What is there and cannot be read is not of an export.
        if path.exists() && !files::read_text(&path, MOST_BYTES).is_ok_and(|text| describes(&text, &name)) {
            left.push(path);
            continue;
        }
        files::write(&path, content.as_bytes()).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(left)
}

/// Whether the text of a description was written by an export to the model file `name`.
fn describes(text: &str, name: &str) -> bool {
    let owner = serde_json::from_str::<Owner>(text);
    owner.is_ok_and(|owner| owner.model_file == name && owner.producer.starts_with(PRODUCER))
        || text.trim_end().ends_with(&mark(name))
}

/// The last line of a model card of the file `name`, by which a later export knows it.
fn mark(name: &str) -> String {
    format!("<!-- written by {PRODUCER} export for {name} -->")
}

/// Side in pixels to which images are scaled before their centre is cut out.
fn scaled(model: &LoadedModel) -> usize {
    (model.input_size() as f64 * 256.0 / 224.0).round() as usize
}

fn configuration(model: &LoadedModel, name: &str) -> anyhow::Result<String> {
    let card = &model.card;
    let configuration = Configuration {
        architectures: ["GoogLeNet"],
        model_type: "googlenet",
        model_file: name,
        producer: format!("{PRODUCER} {VERSION}"),
        variant: card.variant,
        width: card.width,
        num_channels: 3,
        image_size: model.input_size(),
        image_mean: card.preprocessing.mean,
        image_std: [1.0; 3],
        resize: match card.preprocessing.resize {
            Resize::ShorterSide => "shorter side",
            Resize::Square => "both sides",
        },
        resize_to: scaled(model),
        id2label: card.classes.iter().map(String::as_str).enumerate().collect(),
    };
    Ok(serde_json::to_string_pretty(&configuration).context("describe the model")? + "\n")
}

/// The model card: what the model is, how images reach it, what it was trained on and how well it did.
fn card(model: &LoadedModel, metadata: &BTreeMap<String, String>, name: &str) -> String {
    let preprocessing = &model.card.preprocessing;
    let classes = &model.card.classes;
    let [red, green, blue] = preprocessing.mean;
    let resize = match preprocessing.resize {
        Resize::ShorterSide => "the shorter side",
        Resize::Square => "both sides",
    };
    let (side, input) = (scaled(model), model.input_size());
    let mut text = format!(
        "---\npipeline_tag: image-classification\nlibrary_name: {PRODUCER}\ntags:\n- googlenet\n---\n\n# {name}\n\n\
         GoogLeNet (\"Going deeper with convolutions\", 2014) for {} classes.\n\n| | |\n| --- | --- |\n",
        classes.len()
    );
    let mut row = |key: &str, value: &dyn std::fmt::Display| {
        writeln!(text, "| {key} | {value} |").expect(INTO_TEXT);
    };
    row("variant", &model.card.variant);
    row("width", &model.card.width);
    row("numbers", &model.network().layout().len());
    row("input", &format_args!("N x 3 x {input} x {input}, RGB, 0..255 minus ({red}, {green}, {blue})"));
    row("images", &format_args!("{resize} scaled to {side} pixels, the centre {input} x {input} cut out"));
    row("tensors", &"`LAYER/weights` (O x I x H x W, O x I) and `LAYER/bias`, by Caffe's layer names");
    for key in ["recipe", "samples", "parameters", "data"] {
        if let Some(value) = metadata.get(key) {
            let shown = if key == "samples" { "trained on images" } else { key };
            row(shown, value);
        }
    }
    text.push_str(&scores(metadata));
    text.push_str("\n## Classes\n\n");
    for (number, class) in classes.iter().enumerate().take(CLASSES_SHOWN) {
        writeln!(text, "- {number}: {class}").expect(INTO_TEXT);
    }
    if let Some(more @ 1..) = classes.len().checked_sub(CLASSES_SHOWN) {
        writeln!(text, "\nand {more} more, in {CONFIGURATION}").expect(INTO_TEXT);
    }
    write!(
        text,
        "\n## Use\n\n```sh\n{PRODUCER} classify --model {name} photo.jpg\n```\n\n\
         Probabilities say which of these classes a photograph looks most like, also where it shows none of them.\n\n"
    )
    .expect(INTO_TEXT);
    text
}

/// The newest evaluation of the run that the model comes from, if the metadata have one.
fn scores(metadata: &BTreeMap<String, String>) -> String {
    let evaluation = metadata.get("evaluation").and_then(|text| serde_json::from_str(text).ok());
    let Some(serde_json::Value::Object(evaluation)) = evaluation else { return String::new() };
    let scores = evaluation.get("average").and_then(serde_json::Value::as_object);
    let (Some(images), Some(scores)) = (evaluation.get("images"), scores) else { return String::new() };
    let mut text = format!("\n## Scores on {images} validation images\n\n| score | |\n| --- | --- |\n");
    for (name, value) in scores {
        writeln!(text, "| {name} | {value} |").expect(INTO_TEXT);
    }
    text
}
