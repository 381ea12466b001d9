//! The file of one shard in a snapshot, `ID/shard-K.safetensors`. Its tensors are the parameters, the average
//! and the optimizer's arrays of each block, under the names that the optimizer gives them; its metadata are
//! versions, sample counts, identities of applied pushes, layout, update rule, and the optimizer's name. A
//! shard that is read equals the one that was written, bit for bit.

use std::{
    collections::BTreeMap,
    fs, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
};

use files::Digest;
use formats::folder::{AVERAGE, LAYOUT, shard_file, tensor_name};
use ndarray::{ArrayD, IxDyn};
use parameters::{
    Layout, assign,
    checkpoint::{Checkpoint, CheckpointError},
    finite::{self, NotFinite},
};
use protocol::{RunId, UpdateRule};
use serde::{Deserialize, Serialize};

use super::{BlockState, SavedShard, block::AppliedPushes};
use crate::optimizer;

/// Name of the file's format; it changes when the meaning of the file does.
const FORMAT: &str = "downpour shard 1";

/// Key of the id of the run, which files of earlier releases do not have.
const RUN: &str = "run";
/// Key of the update rule.
const RULE: &str = "rule";
/// Key of the update rule in files of earlier releases.
const OLD_RULE: &str = "plan";

/// The counters of a block, which the file keeps as metadata.
#[derive(Serialize, Deserialize)]
struct BlockCounters {
    counter: u64,
    samples: u64,
    applied: BTreeMap<u64, AppliedPushes>,
}

/// Reasons why a shard's file in a snapshot cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum ShardFileError {
    /// A snapshot folder that cannot be made, or a written file that cannot be hashed.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// Path of the folder or file.
        path: PathBuf,
        /// Cause given by the operating system.
        error: io::Error,
    },
    /// A shard's file that cannot be read or written as a checkpoint (named tensors with metadata, in the
    /// safetensors format).
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A shard of which a parameter, its average or its optimizer state is NaN or infinite.
    #[error("{}: {found}; {advice}", path.display())]
    NotFinite {
        /// Path of the file.
        path: PathBuf,
        /// The tensor, and the first value in it that is not finite.
        found: NotFinite,
        /// Advice to the user on what to do about the values that are not finite.
        advice: String,
    },
    /// A file whose metadata or tensors are not those of the shard that was to be read.
    #[error("snapshot file {}: {what}: expected {expected}, found {found}", path.display())]
    Content {
        /// Path of the file.
        path: PathBuf,
        /// Name of the metadata key or tensor of the file that is not as expected.
        what: String,
        /// The value that the key or tensor should have.
        expected: String,
        /// The value that the key or tensor has.
        found: String,
    },
}

/// Returns the path of the file of shard `number` in snapshot `id` of the folder `snapshots`.
pub fn path(snapshots: &Path, id: u64, number: u32) -> PathBuf {
    snapshots.join(id.to_string()).join(shard_file(number))
}

/// Lists the numbers of the shards whose files are in snapshot `id`, ascending.
pub(crate) fn numbers(snapshots: &Path, id: u64) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(snapshots.join(id.to_string())) else { return Vec::new() };
    let number = |name: &str| name.strip_prefix("shard-")?.strip_suffix(".safetensors")?.parse().ok();
    let mut numbers: Vec<u32> =
        entries.flatten().filter_map(|entry| number(entry.file_name().to_str()?)).collect();
    numbers.sort_unstable();
    numbers
}

/// Writes a shard of the run `run` durably and returns the SHA-256 of the file, hexadecimal, as read back
/// from the disk.
///
/// # Errors
/// If the shard holds values that are not finite, or the file cannot be written.
pub(crate) fn write(
    snapshots: &Path,
    id: u64,
    run: RunId,
    saved: SavedShard,
) -> Result<String, ShardFileError> {
    let path = path(snapshots, id, saved.shard);
    check(&saved.layout, &saved.blocks).map_err(|found| ShardFileError::NotFinite {
        path: path.clone(),
        found,
        advice: "it is not written; start again from an earlier snapshot or with --fresh".into(),
    })?;
    let folder = path.parent().expect("a file in the snapshot's folder");
    fs::create_dir_all(folder).map_err(|error| ShardFileError::Write { path: folder.into(), error })?;
    to_checkpoint(run, saved).write(&path)?;
    match Digest::of_file(&path) {
        Ok(digest) => Ok(digest.to_string()),
        Err(error) => Err(ShardFileError::Write { path, error }),
    }
}

/// Reads the file of shard `number` (from 0) of `total` in snapshot `id` of the folder `snapshots`. A file
/// that names its run must be of the run `run`, if that is known.
///
/// # Errors
/// If the file cannot be read, is incomplete, belongs to another shard or run, or holds values that are not
/// finite.
pub fn read(
    snapshots: &Path,
    id: u64,
    run: Option<RunId>,
    number: u32,
    total: u32,
) -> Result<SavedShard, ShardFileError> {
    let path = path(snapshots, id, number);
    let Checkpoint { mut tensors, metadata } = Checkpoint::read(&path)?;
    let wrong = |what: &str, expected: String, found: String| ShardFileError::Content {
        path: path.clone(),
        what: what.into(),
        expected,
        found,
    };
    let text = |key: &str| metadata.get(key).map(String::as_str).unwrap_or("nothing");
    let expect = |key: &str, expected: String| match text(key) {
        found if found == expected => Ok(()),
        found => Err(wrong(key, expected, found.into())),
    };
    expect("format", FORMAT.into())?;
    expect("shard", number.to_string())?;
    expect("shards", total.to_string())?;
    if let Some(run) = run.filter(|_| metadata.contains_key(RUN)) {
        expect(RUN, run.to_string())?;
    }
    let unreadable = |key: &'static str| {
        let wrong = &wrong;
        move |error: serde_json::Error| wrong(key, "JSON written by this program".into(), error.to_string())
    };
    let generation = serde_json::from_str(text("generation")).map_err(unreadable("generation"))?;
    let layout: Layout = serde_json::from_str(text(LAYOUT)).map_err(unreadable(LAYOUT))?;
    let key = if metadata.contains_key(OLD_RULE) { OLD_RULE } else { RULE };
    let rule: UpdateRule = serde_json::from_str(text(key)).map_err(unreadable(key))?;
    // Files that name no optimizer were written when there was only one.
    if metadata.contains_key("optimizer") {
        expect("optimizer", rule.optimizer.to_string())?;
    }
    let optimizer = optimizer::of(&rule);
    let mut counters: BTreeMap<u32, BlockCounters> =
        serde_json::from_str(text("blocks")).map_err(unreadable("blocks"))?;

    let owners = assign(&layout, total as usize);
    let mut blocks = BTreeMap::new();
    for block in layout.blocks().iter().filter(|block| owners[block.index as usize] == number) {
        let index = block.index;
        let mut values = |kind: &str| {
            let name = tensor_name(kind, index);
            let values =
                tensors.remove(&name).map(|tensor| tensor.into_raw_vec_and_offset().0).unwrap_or_default();
            if values.len() == block.range.len() {
                Ok(values)
            } else {
                let count = |values: usize| format!("{values} values");
                Err(wrong(&format!("tensor {name}"), count(block.range.len()), count(values.len())))
            }
        };
        let (parameters, average) = (Arc::new(values("parameters")?), values(AVERAGE)?);
        let array = |&name: &&'static str| values(name).map(|values| (name, values));
        let arrays = optimizer.arrays().iter().map(array).collect::<Result<_, _>>()?;
        let missing = || wrong("blocks", format!("block {index}"), "none".into());
        let BlockCounters { counter, samples, applied } = counters.remove(&index).ok_or_else(missing)?;
        blocks.insert(index, BlockState { parameters, average, arrays, counter, samples, applied });
    }
    check(&layout, &blocks).map_err(|found| ShardFileError::NotFinite {
        path: path.clone(),
        found,
        advice: format!(
            "training diverged before it was written: remove {} to go on from the snapshot before, or start anew with \
             --fresh",
            snapshots.join(id.to_string()).display()
        ),
    })?;
    Ok(SavedShard { shard: number, total, generation, layout, rule, blocks })
}

/// Reads the fewest and the most samples behind the updates of a block from the file of a shard; `None` if the
/// file cannot be read, or has no blocks.
pub(crate) fn samples(snapshots: &Path, id: u64, number: u32) -> Option<RangeInclusive<u64>> {
    let file = Checkpoint::read(&path(snapshots, id, number)).ok()?;
    let counters: BTreeMap<u32, BlockCounters> = serde_json::from_str(file.metadata.get("blocks")?).ok()?;
    let samples = || counters.values().map(|block| block.samples);
    Some(samples().min()?..=samples().max()?)
}

/// Checks that all values of a shard are finite; the error names the network's tensor of the first that is
/// not.
fn check(layout: &Layout, blocks: &BTreeMap<u32, BlockState>) -> Result<(), NotFinite> {
    for (index, state) in blocks {
        let BlockState { parameters, average, arrays, .. } = state;
        let name = &layout.tensors()[layout.blocks()[*index as usize].tensor].name;
        let own = [("parameters", &**parameters), ("average", average)];
        for (kind, values) in own.into_iter().chain(arrays.iter().map(|(&name, values)| (name, values))) {
            finite::check(format_args!("{name} ({kind} of block {index})"), values)?;
        }
    }
    Ok(())
}

fn to_checkpoint(run: RunId, saved: SavedShard) -> Checkpoint {
    let json =
        |value: serde_json::Result<String>| value.expect("plain numbers, strings and lists become JSON");
    let mut tensors = BTreeMap::new();
    let mut counters = BTreeMap::new();
    for (index, state) in saved.blocks {
        let BlockState { parameters, average, arrays, counter, samples, applied } = state;
        let own = [("parameters", Arc::unwrap_or_clone(parameters)), (AVERAGE, average)];
        for (kind, values) in own.into_iter().chain(arrays) {
            let tensor =
                ArrayD::from_shape_vec(IxDyn(&[values.len()]), values).expect("a vector is its own shape");
            tensors.insert(tensor_name(kind, index), tensor);
        }
        counters.insert(index, BlockCounters { counter, samples, applied });
    }
    let metadata = [
        ("format", FORMAT.into()),
        (RUN, run.to_string()),
        ("shard", saved.shard.to_string()),
        ("shards", saved.total.to_string()),
        ("generation", saved.generation.to_string()),
        (LAYOUT, json(serde_json::to_string(&saved.layout))),
        (RULE, json(serde_json::to_string(&saved.rule))),
        ("optimizer", saved.rule.optimizer.to_string()),
        ("blocks", json(serde_json::to_string(&counters))),
    ];
    Checkpoint { tensors, metadata: metadata.map(|(key, value)| (key.to_string(), value)).into() }
}

#[cfg(test)]
mod tests {
    use kernels::Isa;
    use protocol::{Kind, RunId, Version};
    use settings::Optimizer;

    use super::*;
    use crate::{
        Shard,
        testing::{layout, push, rule},
    };

    #[test]
    fn a_shard_comes_back_bit_by_bit_and_in_a_new_generation() {
        for optimizer in [Optimizer::Momentum, Optimizer::Adagrad] {
            comes_back(optimizer);
        }
    }

    fn comes_back(optimizer: Optimizer) {
        let home = tempfile::tempdir().unwrap();
        let mut shard = Shard::empty(0, 1, 4, Isa::scalar());
        shard.begin(&UpdateRule { optimizer, ..rule() }).unwrap();
        shard.adopt(layout()).unwrap();
        let gradient: Vec<f32> = (0..300).map(|i| (i as f32).cos()).collect();
        for step in 0..3 {
            shard.push(push(1, step, 3, Version::default(), gradient.clone())).outcome.unwrap();
        }
        let saved = shard.saved().unwrap();
        let hash_then = write(home.path(), 1, RunId(5), saved.clone()).unwrap();
        let found = read(home.path(), 1, Some(RunId(6)), 0, 1).unwrap_err().to_string();
        let expected = format!("run: expected {}, found {}", RunId(6), RunId(5));
        assert!(found.ends_with(&expected), "{found}");
        let read = read(home.path(), 1, Some(RunId(5)), 0, 1).unwrap();
        assert_eq!(read, saved);
        assert_eq!(samples(home.path(), 1, 0), Some(0..=3 * 32));
        assert_eq!(
            write(home.path(), 2, RunId(5), read.clone()).unwrap(),
            hash_then,
            "equal state gives equal bytes"
        );

        let mut restored = Shard::restored(0, 1, 5, Isa::scalar(), read);
        let version = Version { generation: 5, counter: 3 };
        let fetched = restored.fetch(3, Kind::Parameters).unwrap();
        assert_eq!(
            (fetched.version, &fetched.values),
            (version, &shard.fetch(3, Kind::Parameters).unwrap().values)
        );
        let repeated = push(1, 2, 3, Version { generation: 4, counter: 3 }, gradient.clone());
        assert_eq!(restored.push(repeated).outcome, Ok(protocol::BlockAnswer::Values(fetched)));
        assert_eq!((restored.status().repeated, restored.status().updates), (1, 0));
        // Both shards continue alike, so the optimizer's array, average, counters and samples were all
        // restored.
        for shard in [&mut shard, &mut restored] {
            shard.push(push(1, 3, 3, Version::default(), gradient.clone())).outcome.unwrap();
        }
        assert_eq!(restored.saved().unwrap().blocks, shard.saved().unwrap().blocks);
    }

    /// The file of a run from before there was a choice names neither an optimizer nor what is made of
    /// staleness, and has its update rule under another key.
    #[test]
    fn a_file_that_names_no_optimizer_is_one_of_momentum() {
        let home = tempfile::tempdir().unwrap();
        let mut shard = Shard::empty(0, 1, 1, Isa::scalar());
        shard.begin(&rule()).unwrap();
        shard.adopt(layout()).unwrap();
        shard.push(push(1, 0, 3, Version::default(), vec![0.5; 300])).outcome.unwrap();
        let saved = shard.saved().unwrap();
        write(home.path(), 1, RunId(5), saved.clone()).unwrap();
        let file = path(home.path(), 1, 0);
        let mut checkpoint = Checkpoint::read(&file).unwrap();
        assert_eq!(checkpoint.metadata.remove("optimizer").as_deref(), Some("momentum"));
        let mut rule: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&checkpoint.metadata.remove(RULE).unwrap()).unwrap();
        for key in ["optimizer", "staleness"] {
            assert!(rule.remove(key).is_some());
        }
        checkpoint.metadata.insert(OLD_RULE.into(), serde_json::to_string(&rule).unwrap());
        checkpoint.write(&file).unwrap();
        assert_eq!(read(home.path(), 1, None, 0, 1).unwrap(), saved);
    }

    #[test]
    fn a_file_that_does_not_fit_says_why() {
        let home = tempfile::tempdir().unwrap();
        let mut shard = Shard::empty(0, 1, 1, Isa::scalar());
        shard.begin(&rule()).unwrap();
        shard.adopt(layout()).unwrap();
        write(home.path(), 1, RunId(5), shard.saved().unwrap()).unwrap();
        let file = path(home.path(), 1, 0);
        let text = read(home.path(), 1, None, 0, 2).unwrap_err().to_string();
        assert_eq!(text, format!("snapshot file {}: shards: expected 2, found 1", file.display()));

        let mut checkpoint = Checkpoint::read(&file).unwrap();
        checkpoint.tensors.remove("velocity/3");
        checkpoint.write(&file).unwrap();
        let text = read(home.path(), 1, None, 0, 1).unwrap_err().to_string();
        let expected = format!(
            "snapshot file {}: tensor velocity/3: expected 300 values, found 0 values",
            file.display()
        );
        assert_eq!(text, expected);
        checkpoint.metadata.insert("optimizer".into(), "adagrad".into());
        checkpoint.write(&file).unwrap();
        let text = read(home.path(), 1, None, 0, 1).unwrap_err().to_string();
        assert_eq!(
            text,
            format!("snapshot file {}: optimizer: expected momentum, found adagrad", file.display())
        );
        checkpoint.metadata.remove("format");
        checkpoint.write(&file).unwrap();
        let text = read(home.path(), 1, None, 0, 1).unwrap_err().to_string();
        assert_eq!(
            text,
            format!("snapshot file {}: format: expected downpour shard 1, found nothing", file.display())
        );

        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        let text = read(home.path(), 1, None, 0, 1).unwrap_err().to_string();
        assert!(text.contains("is not a whole safetensors file"), "{text}");
    }

    #[test]
    fn what_is_not_finite_is_neither_written_nor_read() {
        let home = tempfile::tempdir().unwrap();
        let mut shard = Shard::empty(0, 1, 1, Isa::scalar());
        shard.begin(&rule()).unwrap();
        shard.adopt(layout()).unwrap();
        let good = shard.saved().unwrap();
        write(home.path(), 1, RunId(5), good.clone()).unwrap();
        let file = path(home.path(), 1, 0);
        let whole = Checkpoint::read(&file).unwrap();
        for (kind, value) in
            [("parameters", f32::NAN), ("velocity", f32::INFINITY), ("average", f32::NEG_INFINITY)]
        {
            let found = format!(
                "tensor fc/bias ({kind} of block 2) holds 2 values that are not finite (NaN or infinite), the first at \
                 12: {value}"
            );
            let mut bad = good.clone();
            let state = bad.blocks.get_mut(&2).unwrap();
            let values = match kind {
                "parameters" => Arc::make_mut(&mut state.parameters),
                "velocity" => state.arrays.get_mut("velocity").unwrap(),
                _ => &mut state.average,
            };
            (values[12], values[299]) = (value, f32::NAN);
            let text = write(home.path(), 2, RunId(5), bad).unwrap_err().to_string();
            let expected = format!(
                "{}: {found}; it is not written; start again from an earlier snapshot or with --fresh",
                path(home.path(), 2, 0).display()
            );
            assert_eq!(text, expected);
            assert!(!home.path().join("2").exists(), "nothing is written");

            let mut checkpoint = whole.clone();
            let values = checkpoint.tensors.get_mut(&format!("{kind}/2")).unwrap();
            (values[[12]], values[[299]]) = (value, f32::NAN);
            checkpoint.write(&file).unwrap();
            let text = read(home.path(), 1, None, 0, 1).unwrap_err().to_string();
            let expected = format!(
                "{}: {found}; training diverged before it was written: remove {} to go on from the snapshot before, or \
                 start anew with --fresh",
                file.display(),
                home.path().join("1").display()
            );
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn wherever_a_file_is_cut_it_says_so() {
        let home = tempfile::tempdir().unwrap();
        let mut shard = Shard::empty(0, 4, 1, Isa::scalar());
        shard.begin(&rule()).unwrap();
        shard.adopt(layout()).unwrap();
        let mut smallest = shard.saved().unwrap();
        smallest.blocks.retain(|_, state| state.parameters.len() < 1000);
        write(home.path(), 1, RunId(5), smallest).unwrap();
        let file = path(home.path(), 1, 0);
        let whole = fs::read(&file).unwrap();
        for length in 0..whole.len() {
            fs::write(&file, &whole[..length]).unwrap();
            let text = read(home.path(), 1, None, 0, 4).unwrap_err().to_string();
            let start =
                format!("checkpoint {} ({length} bytes) is not a whole safetensors file: ", file.display());
            assert!(text.starts_with(&start) && text.ends_with("; get or write it again"), "{text}");
        }
    }
}
