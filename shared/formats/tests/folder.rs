//! Models in the folders of runs and snapshots. What a server writes there, its own tests read.

use std::fs;
use std::path::Path;

use files::Digest;
use formats::folder::{self, AVERAGE, LAYOUT, MANIFEST, shard_file, tensor_name};
use formats::model_file::{BEST_FILE, MODEL_FILE};
use formats::{FileFormat, read};
use ndarray::{ArrayD, IxDyn};
use parameters::checkpoint::Checkpoint;
use parameters::{Initialiser, Layout, Tensor};
use serde_json::json;

fn array(values: &[f32]) -> ArrayD<f32> {
    ArrayD::from_shape_vec(IxDyn(&[values.len()]), values.to_vec()).unwrap()
}

#[test]
fn a_runs_folder_means_its_best_model_or_else_its_newest() {
    let home = tempfile::tempdir().unwrap();
    let run = home.path();
    assert_eq!(folder::named(run), run);
    for (file, value) in [(MODEL_FILE, 1.0), (BEST_FILE, 2.0)] {
        let mut checkpoint = Checkpoint::default();
        checkpoint.tensors.insert("bias".into(), array(&[value]));
        checkpoint.write(&run.join(file)).unwrap();
        assert_eq!(folder::named(run), run.join(file));
        assert_eq!(read(run).unwrap(), (FileFormat::Safetensors, checkpoint));
    }
}

fn layout(outputs: usize) -> Layout {
    let tensor = |name: &str, shape: &[usize]| Tensor {
        name: name.into(),
        shape: shape.into(),
        initialiser: Initialiser::Uniform { bound: 1.0 },
        rate_multiplier: 1.0,
        decay_multiplier: 1.0,
    };
    Layout::new(vec![tensor("fc/weights", &[outputs, 2]), tensor("fc/bias", &[outputs])]).unwrap()
}

/// Writes the file of a shard with these blocks of the average, and returns its entry in the manifest.
fn shard(snapshot: &Path, number: u32, layout: &Layout, blocks: &[(u32, &[f32])]) -> serde_json::Value {
    let mut checkpoint = Checkpoint::default();
    checkpoint.metadata.insert(LAYOUT.into(), serde_json::to_string(layout).unwrap());
    for (block, values) in blocks {
        checkpoint.tensors.insert(tensor_name(AVERAGE, *block), array(values));
        checkpoint.tensors.insert(tensor_name("parameters", *block), array(&[9.0]));
    }
    let path = snapshot.join(shard_file(number));
    checkpoint.write(&path).unwrap();
    json!({"shard": number, "hash": Digest::of_file(&path).unwrap().to_string(), "here": true})
}

fn manifest(snapshot: &Path, shards: &[serde_json::Value]) {
    let run = json!({
        "configuration": settings::recipe("quick").unwrap(),
        "data": {"images": 10, "validation": 2, "hash": "5eed", "classes": ["cat", "dog", "emu"]},
        "progress": {"used": 70, "skipped": 0},
        "evaluations": [{"samples": 20}, {"samples": 60}],
    });
    let manifest = json!({"id": 7, "shards": shards, "run": run});
    fs::write(snapshot.join(MANIFEST), manifest.to_string()).unwrap();
}

const WEIGHTS: &[f32] = &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
const BIAS: &[f32] = &[7.0, 8.0, 9.0];

#[test]
fn a_snapshot_means_its_average() {
    let home = tempfile::tempdir().unwrap();
    let layout = layout(3);
    let shards =
        [shard(home.path(), 0, &layout, &[(1, BIAS)]), shard(home.path(), 1, &layout, &[(0, WEIGHTS)])];
    manifest(home.path(), &shards);
    let (format, model) = read(home.path()).unwrap();
    assert_eq!(format, FileFormat::Safetensors);
    assert_eq!(model.to_flat(&layout).unwrap(), [WEIGHTS, BIAS].concat());
    let expected = [
        ("classes", "[\"cat\",\"dog\",\"emu\"]"),
        ("data", "5eed"),
        ("samples", "70"),
        ("evaluation", "{\"samples\":60}"),
        ("parameters", "average"),
        ("input_size", "64"),
    ];
    for (key, value) in expected {
        assert_eq!(model.metadata[key], value, "{key}");
    }
}

#[test]
fn what_a_folder_lacks_is_said() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path();
    let layout = layout(3);
    let refused = |expected: &str| {
        let text = read(path).unwrap_err().to_string();
        let start = format!("folder {} ", path.display());
        assert!(text.starts_with(&start) && text.contains(expected), "{text}\nexpected {expected}");
    };
    refused(
        "holds neither best.safetensors nor model.safetensors, as the folder of a run does, nor manifest.json",
    );
    fs::write(path.join(MANIFEST), "{").unwrap();
    refused("manifest.json is not as a run writes it: EOF");
    manifest(path, &[]);
    refused("manifest.json is not as a run writes it: it names no shards");
    let weights = shard(path, 0, &layout, &[(0, WEIGHTS)]);
    manifest(path, std::slice::from_ref(&weights));
    refused("expected 9 values of the average in its shards, found 6");
    manifest(path, &[weights.clone(), shard(path, 1, &layout, &[(1, &[1.0; 4])])]);
    refused("expected 9 values of the average in its shards, found 10");
    manifest(path, &[weights.clone(), shard(path, 1, &self::layout(4), &[(1, BIAS)])]);
    refused("shard-1.safetensors is not as a run writes it: its network is another");
    let bias = shard(path, 1, &layout, &[(1, BIAS)]);
    manifest(path, &[weights, bias]);
    assert!(read(path).is_ok());
    fs::write(path.join(shard_file(0)), "other").unwrap();
    refused("shard-0.safetensors is damaged: expected the SHA-256 ");
    fs::remove_file(path.join(shard_file(0))).unwrap();
    refused("the files of shards of another machine are there: put them all into one folder");
}
