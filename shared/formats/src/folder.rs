//! The model in a folder: the best or the newest one of a run, or the average in a snapshot.
//!
//! A snapshot is the folder `ID` in the snapshots of a run: the files of all shards, which hold the blocks of the
//! average among others, and the manifest, which was written last and names them with their hashes.

use std::path::{Path, PathBuf};

use files::Digest;
use parameters::{
    Layout,
    checkpoint::{Checkpoint, MOST_BYTES},
};
use serde::Deserialize;
use settings::RunConfiguration;

use crate::file::FormatError;
use crate::model_file::{About, BEST_FILE, MODEL_FILE, metadata};

/// Name of a snapshot's manifest.
pub const MANIFEST: &str = "manifest.json";
/// Largest size of a manifest in bytes. A manifest has about 100 bytes for each epoch that has begun, and the
/// names of all classes and unreadable images.
pub const MOST_MANIFEST: u64 = 256 << 20;
/// Kind of the values of the average in a shard's file; the tensor of a block is called after the kind and the
/// block's index.
pub const AVERAGE: &str = "average";
/// Key of the network's layout in the metadata of a shard's file, as JSON.
pub const LAYOUT: &str = "layout";

/// Returns the name of the file of shard `number` in a snapshot.
pub fn shard_file(number: u32) -> String {
    format!("shard-{number}.safetensors")
}

/// Returns the name of the tensor that holds the values of a kind, such as [`AVERAGE`], of a block in a shard's
/// file.
pub fn tensor_name(kind: &str, block: u32) -> String {
    format!("{kind}/{block}")
}

/// Returns the path of the model that `path` names: in the folder of a run that of its best model or else of its
/// newest, and `path` itself otherwise.
pub fn named(path: &Path) -> PathBuf {
    let in_it = [BEST_FILE, MODEL_FILE].map(|name| path.join(name));
    in_it.into_iter().find(|file| file.is_file()).unwrap_or_else(|| path.into())
}

/// The parts of a snapshot's manifest that a model needs.
#[derive(Deserialize)]
struct Manifest {
    shards: Vec<Shard>,
    run: Run,
}

#[derive(Deserialize)]
struct Shard {
    shard: u32,
    hash: String,
}

#[derive(Deserialize)]
struct Run {
    configuration: RunConfiguration,
    data: Data,
    progress: Progress,
    evaluations: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Data {
    classes: Vec<String>,
    hash: String,
}

#[derive(Deserialize)]
struct Progress {
    used: u64,
}

/// Returns the average in the snapshot `folder` as the bytes of a model file.
///
/// # Errors
/// If the folder is no whole snapshot.
pub(crate) fn average(folder: &Path) -> Result<Vec<u8>, FormatError> {
    read_average(folder).map_err(|reason| FormatError::Folder { path: folder.into(), reason })
}

fn read_average(folder: &Path) -> Result<Vec<u8>, String> {
    let path = folder.join(MANIFEST);
    if !path.exists() {
        return Err(format!(
            "holds neither {BEST_FILE} nor {MODEL_FILE}, as the folder of a run does, nor {MANIFEST}, as a whole snapshot \
             does; name one of these, as run or run/snapshots/7"
        ));
    }
    let malformed = |path: &Path, error: &dyn std::fmt::Display| {
        format!("{} is not as a run writes it: {error}; use another snapshot", path.display())
    };
    let text = files::read_text(&path, MOST_MANIFEST)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let Manifest { shards, run } = serde_json::from_str(&text).map_err(|error| malformed(&path, &error))?;
    let mut layout: Option<Layout> = None;
    let mut blocks = Vec::new();
    for Shard { shard, hash } in shards {
        let path = folder.join(shard_file(shard));
        let mut file = shard_of(&path, &hash)?;
        let text = file.metadata.get(LAYOUT).map_or("nothing", String::as_str);
        let own: Layout = serde_json::from_str(text).map_err(|error| malformed(&path, &error))?;
        for block in own.blocks() {
            if let Some(values) = file.tensors.remove(&tensor_name(AVERAGE, block.index)) {
                blocks.push((block.range.clone(), values));
            }
        }
        match &layout {
            Some(known) if *known != own => return Err(malformed(&path, &"its network is another")),
            _ => layout = Some(own),
        }
    }
    let layout = layout.ok_or_else(|| malformed(&path, &"it names no shards"))?;
    // Only values that are there are given room.
    let found: usize = blocks.iter().map(|(_, values)| values.len()).sum();
    if found != layout.len() || blocks.iter().any(|(range, values)| range.len() != values.len()) {
        let error = format!("expected {} values of the average in its shards, found {found}", layout.len());
        return Err(malformed(&path, &error));
    }
    let mut flat = vec![0.0; found];
    for (range, values) in blocks {
        flat[range].iter_mut().zip(&values).for_each(|(to, value)| *to = *value);
    }
    let about = About {
        configuration: &run.configuration,
        classes: &run.data.classes,
        data: Some(&*run.data.hash).filter(|hash| !hash.is_empty()),
        values: "average",
        samples: run.progress.used,
        evaluation: run.evaluations.last().cloned(),
    };
    let metadata = metadata(&about).map_err(|error| malformed(&path, &error))?;
    Ok(Checkpoint::from_flat(&layout, &flat, metadata).to_bytes())
}

/// Reads the file of a shard, whose SHA-256 must be `hash`.
fn shard_of(path: &Path, hash: &str) -> Result<Checkpoint, String> {
    let bytes = files::read(path, MOST_BYTES).map_err(|error| {
        format!(
            "cannot read {}: {error}; the files of shards of another machine are there: put them all into one folder",
            path.display()
        )
    })?;
    let found = Digest::of(&bytes).to_string();
    if found != hash {
        return Err(format!(
            "{} is damaged: expected the SHA-256 {hash}, found {found}; use another snapshot",
            path.display()
        ));
    }
    Checkpoint::parse(&bytes, path).map_err(|error| error.to_string())
}
