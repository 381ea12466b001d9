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
use protocol::{Evaluation, ShardStatus, Snapshot};
use serde::{Deserialize, Serialize};

use crate::{coordinator::Checkpointed, shard_file};

/// Complete snapshots that are kept.
pub const KEPT: usize = 3;
/// Changes when the manifest's meaning does.
const FORMAT: &str = "downpour snapshot 1";
const MANIFEST: &str = "manifest.json";
/// Most bytes of a manifest, which has some 100 for each epoch begun and the name of each class and unreadable image.
const MOST_MANIFEST: u64 = 256 << 20;
/// Most bytes of a file that holds a number.
const MOST_NUMBER: u64 = 64;
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
    /// The snapshot as shard processes are told of it, with the hashes of all shards' files.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { id: self.id, hashes: self.shards.iter().map(|entry| entry.hash.clone()).collect() }
    }

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
        let text = limits::read_text(&path, MOST_MANIFEST).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => SnapshotError::Unfinished,
            _ => SnapshotError::Read { path: path.clone(), source },
        })?;
        let manifest: Manifest = serde_json::from_str(&text)
            .map_err(|error| SnapshotError::Malformed { path: path.clone(), reason: error.to_string() })?;
        let wrong = |reason: String| SnapshotError::Malformed { path: path.clone(), reason };
        if manifest.format != FORMAT {
            return Err(wrong(format!("format: expected {FORMAT:?}, found {:?}", manifest.format)));
        }
        manifest.run.configuration.validate().map_err(|error| wrong(error.to_string()))?;
        if manifest.id != id || !manifest.run.is_consistent() {
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

/// Whether the files of the shards from `first` on are those of a snapshot, as the coordinator knows it.
pub(crate) fn check(
    folder: &Path,
    first: u32,
    Snapshot { id, hashes }: &Snapshot,
) -> Result<(), SnapshotError> {
    (first..)
        .zip(hashes.clone())
        .try_for_each(|(shard, hash)| ShardEntry { shard, hash, here: true }.check(folder, *id).map(drop))
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
    /// The folder's content cannot be told.
    #[error("cannot list the snapshots in {}: {source}", folder.display())]
    List {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There are snapshots, and the newest that was finished cannot be used, nor any before it.
    #[error(
        "no snapshot in {} can be used, the newest that was finished is {id}: {reason}; put its files back as they were, \
         or --fresh to start anew (it removes the snapshots)",
        folder.display()
    )]
    NoneUsable {
        /// The folder.
        folder: PathBuf,
        /// Number of that snapshot.
        id: u64,
        /// What is wrong with it.
        reason: Box<SnapshotError>,
    },
    /// A file that counts something has no number.
    #[error(
        "{} holds {found:?}, expected a number; write one that is higher than any it had, as 1000000",
        path.display()
    )]
    Counter {
        /// The file.
        path: PathBuf,
        /// Its text.
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

/// The newest usable snapshot in `folder`, none if none was ever finished there. Those passed over are named in the log.
///
/// # Errors
/// A folder that cannot be read, or whose finished snapshots are all damaged: to start anew is for its owner to decide.
pub fn newest(folder: &Path) -> Result<Option<Manifest>, SnapshotError> {
    let mut damaged = None;
    for id in ids(folder)?.into_iter().rev() {
        let error = match Manifest::read_whole(folder, id) {
            Ok(manifest) => return Ok(Some(manifest)),
            Err(error) => error,
        };
        tracing::warn!("snapshot {id} in {} is passed over: {error}", folder.display());
        if damaged.is_none() && !matches!(error, SnapshotError::Unfinished) {
            damaged = Some((id, error));
        }
    }
    match damaged {
        None => Ok(None),
        Some((id, reason)) => {
            Err(SnapshotError::NoneUsable { folder: folder.into(), id, reason: Box::new(reason) })
        }
    }
}

/// Notes that the run of the newest snapshot is over and everybody was told.
pub(crate) fn set_over(folder: &Path) -> Result<(), SnapshotError> {
    let path = folder.join(OVER);
    let newest = ids(folder)?.last().copied().unwrap_or_default();
    durable::write(&path, format!("{newest}\n").as_bytes())
        .map_err(|source| SnapshotError::Write { path, source })
}

/// Whether nobody waits any more for the run that snapshot `id` finished.
pub(crate) fn is_over(folder: &Path, id: u64) -> bool {
    limits::read_text(&folder.join(OVER), MOST_NUMBER).is_ok_and(|text| text.trim() == id.to_string())
}

/// A number above those of all snapshots in `folder`.
pub(crate) fn next_id(folder: &Path) -> Result<u64, SnapshotError> {
    Ok(ids(folder)?.last().map_or(1, |newest| newest + 1))
}

/// Removes all snapshots.
pub(crate) fn clear(folder: &Path) -> Result<(), SnapshotError> {
    ids(folder)?.into_iter().try_for_each(|id| remove(folder, id))
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
    let ids = ids(folder)?;
    let complete: Vec<u64> =
        ids.iter().copied().filter(|id| folder.join(id.to_string()).join(MANIFEST).exists()).collect();
    let (kept, count) = match complete.len() {
        0 => (ids.iter().copied().filter(|id| *id <= newest).collect(), KEPT + 1),
        _ => (complete, KEPT),
    };
    let oldest = kept.iter().rev().nth(count - 1).copied().unwrap_or(0);
    ids.into_iter().filter(|id| *id < oldest || *id > newest).try_for_each(|id| remove(folder, id))
}

/// Numbers of all snapshots in `folder`, ascending, complete or not; none in a folder that is not there.
pub(crate) fn ids(folder: &Path) -> Result<Vec<u64>, SnapshotError> {
    let cannot = |source| SnapshotError::List { folder: folder.into(), source };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(cannot)?,
    };
    let mut ids = Vec::new();
    for entry in entries {
        let id = entry.map_err(cannot)?.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
        // Of the largest number there is no next one; nobody counts so far.
        ids.extend(id.filter(|id| *id < u64::MAX));
    }
    ids.sort_unstable();
    Ok(ids)
}

/// A number that is higher at each call for `name`, and at least `least`; kept in `folder`, durable before it is used.
pub(crate) fn raise(folder: &Path, name: &str, least: u64) -> Result<u64, SnapshotError> {
    let path = folder.join(name);
    let next = match limits::read_text(&path, MOST_NUMBER) {
        Ok(text) => match text.trim().parse::<u64>().ok().and_then(|before| before.checked_add(1)) {
            Some(next) => next,
            None => return Err(SnapshotError::Counter { path, found: text }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(source) => return Err(SnapshotError::Read { path, source }),
    };
    let value = next.max(least);
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
        newest(folder).unwrap().map(|manifest| manifest.id)
    }

    #[test]
    fn the_newest_whole_one_is_used() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path();
        assert_eq!(newest_id(&folder.join("none")), None);
        let first = snapshot(folder, 1, "one");
        assert_eq!(newest(folder).unwrap(), Some(first));
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
        let text = newest(folder).unwrap_err().to_string();
        let expected = format!(
            "no snapshot in {} can be used, the newest that was finished is 5: {} is damaged: expected sha-256",
            folder.display(),
            shard_file::path(folder, 5, 0).display()
        );
        assert!(text.starts_with(&expected), "{text}");
        assert!(text.ends_with("or --fresh to start anew (it removes the snapshots)"), "{text}");
    }

    /// Each would have been counted with, or taken into memory.
    #[test]
    fn a_manifest_of_numbers_that_no_run_has_is_passed_over() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path();
        snapshot(folder, 1, "one");
        snapshot(folder, 2, "two");
        let path = folder.join("2").join(MANIFEST);
        let whole = fs::read_to_string(&path).unwrap();
        for (from, to, reason) in [
            ("\"used\": 2", "\"used\": 18446744073709551615", "its numbers contradict each other"),
            ("\"leased\": 2", "\"leased\": 18446744073709551615", "its numbers contradict each other"),
            ("\"images\": 100,\n", "\"images\": 0,\n", "its numbers contradict each other"),
            (
                "\"batch\": 16",
                "\"batch\": 1000000000",
                "configuration key run.batch: found 1000000000, expected",
            ),
        ] {
            assert!(whole.contains(from), "{from} in {whole}");
            fs::write(&path, whole.replace(from, to)).unwrap();
            let text = Manifest::read(folder, 2).unwrap_err().to_string();
            assert!(text.contains(reason), "{text}");
            assert_eq!(newest_id(folder), Some(1), "{to}");
        }
        if fs::File::create(&path).unwrap().set_len(3 << 40).is_ok() {
            let text = Manifest::read(folder, 2).unwrap_err().to_string();
            assert!(text.ends_with("expected at most 256 MiB, it has 3,072 GiB"), "{text}");
        }
        fs::create_dir(folder.join(u64::MAX.to_string())).unwrap();
        assert_eq!(next_id(folder).unwrap(), 3, "a number that none follows is nobody's");
    }

    #[test]
    fn what_was_never_finished_is_no_reason_to_stay_down() {
        let home = tempfile::tempdir().unwrap();
        snapshot(home.path(), 1, "one");
        fs::remove_file(home.path().join("1").join(MANIFEST)).unwrap();
        assert_eq!(newest_id(home.path()), None);
    }

    #[test]
    fn wherever_a_file_is_cut_the_snapshot_before_is_used() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path();
        snapshot(folder, 1, "one");
        snapshot(folder, 2, "a shard's values");
        for path in [shard_file::path(folder, 2, 0), folder.join("2").join(MANIFEST)] {
            let whole = fs::read(&path).unwrap();
            for length in 0..whole.len() {
                fs::write(&path, &whole[..length]).unwrap();
                assert_eq!(newest_id(folder), Some(1), "{} cut to {length} bytes", path.display());
                let text = Manifest::read_whole(folder, 2).unwrap_err().to_string();
                assert!(text.starts_with(path.to_str().unwrap()), "{length} bytes: {text}");
            }
            fs::write(&path, whole).unwrap();
            assert_eq!(newest_id(folder), Some(2));
        }
    }

    #[test]
    fn the_newest_is_told_by_its_number_whatever_the_clock_said() {
        let home = tempfile::tempdir().unwrap();
        for id in 1..=3 {
            let manifest = snapshot(home.path(), id, "x");
            let written = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 / manifest.id);
            for file in ["", MANIFEST, "shard-0.safetensors"] {
                let file = File::open(home.path().join(id.to_string()).join(file)).unwrap();
                file.set_modified(written).unwrap();
            }
        }
        assert_eq!(newest_id(home.path()), Some(3));
    }

    /// A folder in a file's place cannot be read by anybody, root included.
    #[test]
    fn what_cannot_be_read_is_named_and_passed_over() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path();
        for id in 1..=3 {
            snapshot(folder, id, "x");
        }
        let unreadable = [shard_file::path(folder, 3, 0), folder.join("2").join(MANIFEST)];
        for path in &unreadable {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }
        assert_eq!(newest_id(folder), Some(1));
        for (id, path) in [(3, &unreadable[0]), (2, &unreadable[1])] {
            let text = Manifest::read_whole(folder, id).unwrap_err().to_string();
            assert!(text.starts_with(&format!("cannot read {}: ", path.display())), "{text}");
        }
        let file = folder.join("a file");
        fs::write(&file, "").unwrap();
        let text = newest(&file).unwrap_err().to_string();
        assert!(text.starts_with(&format!("cannot list the snapshots in {}: ", file.display())), "{text}");
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
        assert_eq!((ids(folder).unwrap(), next_id(folder).unwrap()), (vec![2, 3, 4, 5, 6], 7));
        snapshot(folder, 6, "x");
        prune(folder, 6);
        assert_eq!(ids(folder).unwrap(), [4, 5, 6]);
        clear(folder).unwrap();
        assert_eq!((ids(folder).unwrap(), next_id(folder).unwrap()), (vec![], 1));
    }

    #[test]
    fn a_folder_without_manifests_keeps_one_more_and_nothing_of_another_run() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path();
        for id in [1, 2, 3, 4, 5, 40, 41] {
            fs::create_dir(folder.join(id.to_string())).unwrap();
        }
        prune(folder, 5);
        assert_eq!(ids(folder).unwrap(), [2, 3, 4, 5]);
        prune(folder, 5);
        assert_eq!(ids(folder).unwrap(), [2, 3, 4, 5]);
    }

    #[test]
    fn raised_numbers_never_repeat() {
        let home = tempfile::tempdir().unwrap();
        let raised = |least| raise(home.path(), "generation-0", least).unwrap();
        assert_eq!([raised(1), raised(1), raised(9), raised(3)], [1, 2, 9, 10]);
        let path = home.path().join("generation-0");
        fs::write(&path, "").unwrap();
        let text = raise(home.path(), "generation-0", 1).unwrap_err().to_string();
        let expected = "holds \"\", expected a number; write one that is higher than any it had, as 1000000";
        assert_eq!(text, format!("{} {expected}", path.display()));
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
