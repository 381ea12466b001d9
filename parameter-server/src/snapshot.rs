//! Snapshots: `ID/shard-K.safetensors` of every shard, then `ID/manifest.json`, which makes them one.
//!
//! A snapshot without a manifest, or whose files are not those that the manifest names by hash, is passed over for an
//! older one. Each shard is consistent in itself; what was pushed while a snapshot was being taken may be in some
//! shards only, and the leases behind it are done again.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use parameters::{Fingerprint, durable};
use protocol::{Evaluation, ShardStatus};
use serde::{Deserialize, Serialize};

use crate::{coordinator::Checkpointed, shard_file};

/// Complete snapshots that are kept.
pub const KEPT: usize = 3;
/// Changes when the manifest's meaning does.
const FORMAT: &str = "downpour snapshot 1";
const MANIFEST: &str = "manifest.json";
/// Names the snapshot of a run that is over.
const OVER: &str = "over";

/// What makes the shards' files one snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always the same; another format is not read.
    format: String,
    /// Number of the snapshot, counting up.
    pub id: u64,
    /// Fingerprint of the network's layout.
    pub layout: Fingerprint,
    /// The shards' files, in the order of their numbers.
    pub shards: Vec<ShardEntry>,
    /// The run beside the shards.
    pub run: Checkpointed,
}

/// A shard's file as the manifest knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardEntry {
    /// Number of the shard.
    pub shard: u32,
    /// SHA-256 of its file, hexadecimal.
    pub hash: String,
    /// Whether the file lay in the coordinator's folder; else its process, on another machine, has it.
    pub here: bool,
}

impl Manifest {
    /// Whether the run is complete.
    pub fn finished(&self) -> bool {
        self.run.finished
    }

    /// The newest evaluation; of a finished run, the last one.
    pub fn evaluation(&self) -> Option<&Evaluation> {
        self.run.evaluations.last()
    }

    /// Puts together what the shards wrote into snapshot `id`.
    pub(crate) fn new(
        folder: &Path,
        id: u64,
        layout: Fingerprint,
        mut statuses: Vec<ShardStatus>,
        run: Checkpointed,
    ) -> Result<Manifest, SnapshotError> {
        statuses.sort_by_key(|status| status.shard);
        let entry = |status: ShardStatus| {
            let shard = status.shard;
            let hash = status.snapshot_hash.ok_or(SnapshotError::NoHash { shard })?;
            Ok(ShardEntry { shard, hash, here: shard_file::path(folder, id, shard).exists() })
        };
        let shards = statuses.into_iter().map(entry).collect::<Result<_, _>>()?;
        Ok(Manifest { format: FORMAT.into(), id, layout, shards, run })
    }

    /// Writes the manifest, which completes the snapshot.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), SnapshotError> {
        let path = folder.join(self.id.to_string()).join(MANIFEST);
        let text = serde_json::to_string_pretty(self).expect("a manifest is plain data");
        durable::write(&path, text.as_bytes()).map_err(|source| SnapshotError::Write { path, source })
    }

    /// Reads the manifest of snapshot `id`.
    pub(crate) fn read(folder: &Path, id: u64) -> Result<Manifest, SnapshotError> {
        let path = folder.join(id.to_string()).join(MANIFEST);
        let text = fs::read_to_string(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => SnapshotError::Unfinished,
            _ => SnapshotError::Read { path: path.clone(), source },
        })?;
        let manifest: Manifest = serde_json::from_str(&text)
            .map_err(|error| SnapshotError::Malformed { path: path.clone(), reason: error.to_string() })?;
        let wrong = |reason: String| SnapshotError::Malformed { path: path.clone(), reason };
        if manifest.format != FORMAT {
            return Err(wrong(format!("format: expected {FORMAT:?}, found {:?}", manifest.format)));
        }
        if manifest.id != id || !manifest.run.progress.is_consistent() {
            return Err(wrong("its numbers contradict each other".into()));
        }
        Ok(manifest)
    }

    /// The same, if the files are those that it names.
    fn read_whole(folder: &Path, id: u64) -> Result<Manifest, SnapshotError> {
        let manifest = Manifest::read(folder, id)?;
        manifest.shards.iter().try_for_each(|entry| entry.check(folder, id).map(drop))?;
        Ok(manifest)
    }
}

impl ShardEntry {
    /// Whether the file lies in the folder; what lies there must be what was written.
    pub(crate) fn check(&self, folder: &Path, id: u64) -> Result<bool, SnapshotError> {
        let path = shard_file::path(folder, id, self.shard);
        match shard_file::hash(&path) {
            Ok(found) if found == self.hash => Ok(true),
            Ok(found) => Err(SnapshotError::Hash { path, expected: self.hash.clone(), found }),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.here => Ok(false),
            Err(source) => Err(SnapshotError::Read { path, source }),
        }
    }
}

/// Why a snapshot cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The snapshot has no manifest.
    #[error("it has no manifest, so it was not finished")]
    Unfinished,
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The manifest is not one.
    #[error("{} is not a manifest: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A file is not the one that was written.
    #[error("{} is damaged: expected sha-256 {expected}, found {found}", path.display())]
    Hash {
        /// The file.
        path: PathBuf,
        /// What the manifest says.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// A shard wrote no file.
    #[error("shard {shard} was told to write a snapshot and named no file")]
    NoHash {
        /// Its number.
        shard: u32,
    },
    /// Another process has the folder.
    #[error(
        "snapshot folder {} is used by another process; stop that one, or give another --snapshots",
        folder.display()
    )]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
}

/// The newest usable snapshot in `folder`; those passed over are named in the log.
pub fn newest(folder: &Path) -> Option<Manifest> {
    ids(folder).into_iter().rev().find_map(|id| match Manifest::read_whole(folder, id) {
        Ok(manifest) => Some(manifest),
        Err(error) => {
            tracing::warn!("snapshot {id} in {} is passed over: {error}", folder.display());
            None
        }
    })
}

/// Notes that the run of the newest snapshot is over and everybody was told.
pub(crate) fn set_over(folder: &Path) -> Result<(), SnapshotError> {
    let path = folder.join(OVER);
    let newest = ids(folder).last().copied().unwrap_or_default();
    durable::write(&path, format!("{newest}\n").as_bytes())
        .map_err(|source| SnapshotError::Write { path, source })
}

/// Whether nobody waits any more for the run that snapshot `id` finished.
pub(crate) fn is_over(folder: &Path, id: u64) -> bool {
    fs::read_to_string(folder.join(OVER)).is_ok_and(|text| text.trim() == id.to_string())
}

/// A number above those of all snapshots in `folder`.
pub(crate) fn next_id(folder: &Path) -> u64 {
    ids(folder).last().map_or(1, |newest| newest + 1)
}

/// Removes all snapshots.
pub(crate) fn clear(folder: &Path) -> Result<(), SnapshotError> {
    ids(folder).into_iter().try_for_each(|id| remove(folder, id))
}

/// Removes one snapshot, whole or not.
pub(crate) fn remove(folder: &Path, id: u64) -> Result<(), SnapshotError> {
    let path = folder.join(id.to_string());
    match fs::remove_dir_all(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(SnapshotError::Write { path, source }),
        _ => Ok(()),
    }
}

/// Makes room once snapshot `newest` is written. What cannot be removed is only named: it harms no snapshot.
pub(crate) fn prune(folder: &Path, newest: u64) {
    if let Err(error) = remove_old(folder, newest) {
        tracing::warn!("an old snapshot stays: {error}");
    }
}

/// Removes what is older than the last [`KEPT`] complete snapshots; `newest` was written last.
///
/// A folder without any manifest is that of a process on another machine than the coordinator: one more is kept there,
/// since the newest may never be completed, and those above the newest, which are of a run that was given up, are not.
fn remove_old(folder: &Path, newest: u64) -> Result<(), SnapshotError> {
    let ids = ids(folder);
    let complete: Vec<u64> =
        ids.iter().copied().filter(|id| folder.join(id.to_string()).join(MANIFEST).exists()).collect();
    let (kept, count) = match complete.len() {
        0 => (ids.iter().copied().filter(|id| *id <= newest).collect(), KEPT + 1),
        _ => (complete, KEPT),
    };
    let oldest = kept.iter().rev().nth(count - 1).copied().unwrap_or(0);
    ids.into_iter().filter(|id| *id < oldest || *id > newest).try_for_each(|id| remove(folder, id))
}

/// Numbers of all snapshots in `folder`, ascending, complete or not.
pub(crate) fn ids(folder: &Path) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut ids: Vec<u64> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
        .collect();
    ids.sort_unstable();
    ids
}

/// A number that is higher at each call for `name`, and at least `least`; kept in `folder`, durable before it is used.
pub(crate) fn raise(folder: &Path, name: &str, least: u64) -> Result<u64, SnapshotError> {
    let path = folder.join(name);
    let before = match fs::read_to_string(&path) {
        Ok(text) => Some(text.trim().parse::<u64>().map_err(|error| SnapshotError::Malformed {
            path: path.clone(),
            reason: format!("expected a number, found {text:?} ({error})"),
        })?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(SnapshotError::Read { path, source }),
    };
    let value = before.map_or(0, |before| before + 1).max(least);
    durable::write(&path, format!("{value}\n").as_bytes())
        .map_err(|source| SnapshotError::Write { path, source })?;
    Ok(value)
}

/// Makes the folder and locks it under `name` as long as the file lives.
pub(crate) fn lock(folder: &Path, name: &str) -> Result<File, SnapshotError> {
    let cannot = |path: &Path| {
        let path = path.to_path_buf();
        move |source| SnapshotError::Write { path, source }
    };
    fs::create_dir_all(folder).map_err(cannot(folder))?;
    let path = folder.join(format!("{name}.lock"));
    let file = File::options().create(true).write(true).truncate(false).open(&path).map_err(cannot(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SnapshotError::Locked { folder: folder.into() }),
        Err(TryLockError::Error(source)) => Err(SnapshotError::Write { path, source }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        leases::{Account, Progress},
        testing::data,
    };

    /// A snapshot of one shard whose file holds `text`.
    pub(crate) fn snapshot(folder: &Path, id: u64, text: &str) -> Manifest {
        let path = shard_file::path(folder, id, 0);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let hash = shard_file::hash(&path).unwrap();
        let account = Account { images: 100, distinct: id, ..Account::default() };
        let progress =
            Progress { leased: id, to_do: Vec::new(), accounts: vec![account], used: id, skipped: 0 };
        let run = Checkpointed {
            configuration: configuration::recipe("quick").unwrap(),
            data: data(100),
            progress,
            steps: id,
            unreadable: BTreeSet::new(),
            evaluations: Vec::new(),
            finished: false,
            addresses: vec!["a:1".into()],
        };
        let status = ShardStatus { snapshot_hash: Some(hash), ..ShardStatus::default() };
        let layout = crate::testing::layout().fingerprint();
        let manifest = Manifest::new(folder, id, layout, vec![status], run).unwrap();
        manifest.write(folder).unwrap();
        manifest
    }

    fn newest_id(folder: &Path) -> Option<u64> {
        newest(folder).map(|manifest| manifest.id)
    }

    #[test]
    fn the_newest_whole_one_is_used() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path();
        assert_eq!(newest_id(&folder.join("none")), None);
        let first = snapshot(folder, 1, "one");
        assert_eq!(newest(folder), Some(first));
        for id in 2..=5 {
            snapshot(folder, id, "more");
        }
        fs::write(shard_file::path(folder, 5, 0), "mo").unwrap();
        assert_eq!(newest_id(folder), Some(4), "a truncated file");
        fs::remove_file(folder.join("4").join(MANIFEST)).unwrap();
        assert_eq!(newest_id(folder), Some(3), "no manifest");
        fs::write(folder.join("3").join(MANIFEST), "{").unwrap();
        assert_eq!(newest_id(folder), Some(2), "a truncated manifest");
        fs::remove_file(shard_file::path(folder, 2, 0)).unwrap();
        assert_eq!(newest_id(folder), Some(1), "a missing file");
        let path = folder.join("1").join(MANIFEST);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"used\": 1", "\"used\": 2")).unwrap();
        assert_eq!(newest_id(folder), None, "numbers that contradict each other");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path();
        let reason = |id| Manifest::read_whole(folder, id).unwrap_err().to_string();
        fs::create_dir(folder.join("9")).unwrap();
        assert_eq!(reason(9), "it has no manifest, so it was not finished");
        let good = snapshot(folder, 1, "one");
        let path = shard_file::path(folder, 1, 0);
        fs::write(&path, "two").unwrap();
        let found = shard_file::hash(&path).unwrap();
        let expected = &good.shards[0].hash;
        assert_eq!(
            reason(1),
            format!("{} is damaged: expected sha-256 {expected}, found {found}", path.display())
        );
    }

    #[test]
    fn the_last_three_complete_ones_are_kept() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path();
        for id in [1, 2, 4, 5] {
            snapshot(folder, id, "x");
        }
        for unfinished in [3, 6] {
            fs::create_dir(folder.join(unfinished.to_string())).unwrap();
        }
        prune(folder, 6);
        assert_eq!((ids(folder), next_id(folder)), (vec![2, 3, 4, 5, 6], 7));
        snapshot(folder, 6, "x");
        prune(folder, 6);
        assert_eq!(ids(folder), [4, 5, 6]);
        clear(folder).unwrap();
        assert_eq!((ids(folder), next_id(folder)), (vec![], 1));
    }

    #[test]
    fn a_folder_without_manifests_keeps_one_more_and_nothing_of_another_run() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path();
        for id in [1, 2, 3, 4, 5, 40, 41] {
            fs::create_dir(folder.join(id.to_string())).unwrap();
        }
        prune(folder, 5);
        assert_eq!(ids(folder), [2, 3, 4, 5]);
        prune(folder, 5);
        assert_eq!(ids(folder), [2, 3, 4, 5]);
    }

    #[test]
    fn raised_numbers_never_repeat() {
        let home = tempfile::tempdir().unwrap();
        let raised = |least| raise(home.path(), "generation-0", least).unwrap();
        assert_eq!([raised(1), raised(1), raised(9), raised(3)], [1, 2, 9, 10]);
    }

    #[test]
    fn a_folder_in_use_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let held = lock(home.path(), "leader").unwrap();
        let text = lock(home.path(), "leader").unwrap_err().to_string();
        let expected = format!(
            "snapshot folder {} is used by another process; stop that one, or give another --snapshots",
            home.path().display()
        );
        assert_eq!(text, expected);
        lock(home.path(), "shards-2").unwrap();
        drop(held);
        lock(home.path(), "leader").unwrap();
    }
}
