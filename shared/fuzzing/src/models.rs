//! The readers of model files and of labels.

use std::path::{Path, PathBuf};

use models::{ExportOptions, Format};
use parameters::checkpoint::Checkpoint;

use crate::folder;

/// Reads a Caffe model.
pub(crate) fn caffe(bytes: &[u8]) {
    let _ = formats::caffe::parse(bytes);
}

/// Reads a safetensors file.
pub(crate) fn checkpoint(bytes: &[u8]) {
    let _ = Checkpoint::parse(bytes, Path::new("model.safetensors"));
}

/// Reads a model of any format with the network that it names, as `downpour export` does, and writes it
/// again.
pub(crate) fn model(bytes: &[u8]) {
    let home = folder(&[("model", bytes)]);
    let at = |name: &str| -> PathBuf { home.path().join(name) };
    let export =
        |format, output| models::export(&ExportOptions { model: at("model"), labels: None, format, output });
    if export(Format::Safetensors, at("model.safetensors")).is_ok() {
        export(Format::Onnx, at("model.onnx")).expect("a model that could be written could be read");
    }
}

/// Reads a file of labels, and matches class folders that are named like its lines.
pub(crate) fn labels(bytes: &[u8]) {
    let home = folder(&[("labels.txt", bytes)]);
    let classes = String::from_utf8_lossy(bytes).lines().count();
    if let Ok(labels) = models::labels::read(&home.path().join("labels.txt"), classes) {
        let _ = models::labels::of_folders(&labels[..classes.min(2)], &labels);
    }
}
