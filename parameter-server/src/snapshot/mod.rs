//! Snapshots of a run. Every shard writes `ID/shard-K.safetensors`; `ID/manifest.json`, written last,
//! completes the snapshot.
//!
//! A snapshot is passed over for an older one if it has no manifest, or if a file does not have the hash that
//! the manifest gives. Each shard's file is consistent in itself. An update that was pushed while the
//! snapshot was taken may be in the files of some shards only; the leases that such updates belong to are
//! done again.

pub mod inspect;

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use parameters::Fingerprint;
use protocol::{Evaluation, ShardStatus, Snapshot};
use serde::{Deserialize, Serialize};

use crate::{coordinator::SavedRun, shard::file as shard_file};

/// Number of complete snapshots that are kept.
pub const KEPT: usize = 3;
/// Name of the manifest's format; it changes when the meaning of the manifest does.
const FORMAT: &str = "downpour snapshot 1";
const MANIFEST: &str = "manifest.json";
/// Largest size of a manifest in bytes. A manifest has about 100 bytes for each epoch that has begun, and the
/// names of all classes and unreadable images.
const MOST_MANIFEST: u64 = 256 << 20;
/// Largest size, in bytes, of a file that holds a number.
const MOST_NUMBER: u64 = 64;
/// Name of the file that holds the number of the last snapshot of a run that is over.
const OVER: &str = "over";

/// The manifest of a snapshot: the hashes of the shards' files, and the state of the run apart from the
/// shards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name of the format; a manifest of another format is refused.
    format: String,
    /// Number of the snapshot; later ones have higher numbers.
    pub id: u64,
    /// Fingerprint of the network's layout.
    pub layout: Fingerprint,
    /// The shards' files, in the order of their numbers.
    pub shards: Vec<ShardEntry>,
    /// The state of the run apart from the shards.
    pub run: SavedRun,
}

/// A shard's file as the manifest describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardEntry {
    /// Number of the shard.
    pub shard: u32,
    /// SHA-256 of the file, hexadecimal.
    pub hash: String,
    /// Whether the file was in the leader's own folder. If not, the shard's process has it, on another
    /// machine.
    pub here: bool,
}

impl Manifest {
    /// The number of the snapshot and the hashes of all shards' files, as shard processes are told them.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { id: self.id, hashes: self.shards.iter().map(|entry| entry.hash.clone()).collect() }
    }

    /// Whether the run is complete, its last evaluation included.
    pub fn finished(&self) -> bool {
        self.run.finished
    }

    /// The newest evaluation; in a finished run, that is the last one.
    pub fn evaluation(&self) -> Option<&Evaluation> {
        self.run.evaluations.last()
    }

    /// Makes the manifest of snapshot `id` from the statuses of the shards that wrote their files into it.
    ///
    /// # Errors
    /// A shard that named no file.
    pub(crate) fn new(
        folder: &Path,
        id: u64,
        layout: Fingerprint,
        mut statuses: Vec<ShardStatus>,
        run: SavedRun,
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
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), SnapshotError> {
        let path = folder.join(self.id.to_string()).join(MANIFEST);
        let text = serde_json::to_string_pretty(self).expect("a manifest is plain data");
        files::write(&path, text.as_bytes()).map_err(|source| SnapshotError::Write { path, source })
    }

    /// Reads the manifest of snapshot `id`.
    ///
    /// # Errors
    /// A manifest that is missing, cannot be read, or contradicts itself.
    pub(crate) fn read(folder: &Path, id: u64) -> Result<Manifest, SnapshotError> {
        let path = folder.join(id.to_string()).join(MANIFEST);
        let text = files::read_text(&path, MOST_MANIFEST).map_err(|source| match source.kind() {
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

    /// Reads the manifest of snapshot `id` and checks that the shards' files have the hashes that it gives.
    fn read_whole(folder: &Path, id: u64) -> Result<Manifest, SnapshotError> {
        let manifest = Manifest::read(folder, id)?;
        manifest.shards.iter().try_for_each(|entry| entry.check(folder, id).map(drop))?;
        Ok(manifest)
    }
}

/// Checks that the files of the shards from `first` on have the hashes that the leader gave for a snapshot.
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
    /// Returns whether the file is in the folder.
    ///
    /// # Errors
    /// A file whose hash is not the one of the manifest, that cannot be read, or that is missing in the
    /// folder it was written to.
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
        /// The cause.
        source: io::Error,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The manifest cannot be parsed, or its content is not that of a manifest.
    #[error("{} is not a manifest: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The reason why it cannot be used.
        reason: String,
    },
    /// A file has another hash than when it was written.
    #[error("{} is damaged: expected sha-256 {expected}, found {found}", path.display())]
    Hash {
        /// The file.
        path: PathBuf,
        /// The hash that the manifest gives.
        expected: String,
        /// The hash of the file.
        found: String,
    },
    /// The content of the folder cannot be listed.
    #[error("cannot list the snapshots in {}: {source}", folder.display())]
    List {
        /// The folder.
        folder: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Snapshots were finished in the folder, but none of them can be used.
    #[error(
        "no snapshot in {} can be used, the newest that was finished is {id}: {reason}; put its files back as they were, \
         or --fresh to start anew (it removes the snapshots)",
        folder.display()
    )]
    NoneUsable {
        /// The folder.
        folder: PathBuf,
        /// Number of the newest snapshot that was finished.
        id: u64,
        /// The reason why it cannot be used.
        reason: Box<SnapshotError>,
    },
    /// A counter's file does not hold a number.
    #[error(
        "{} holds {found:?}, expected a number; write one that is higher than any it had, as 1000000",
        path.display()
    )]
    Counter {
        /// The file.
        path: PathBuf,
        /// The text of the file.
        found: String,
    },
    /// A shard wrote no file.
    #[error("shard {shard} was told to write a snapshot and named no file")]
    NoHash {
        /// Number of the shard.
        shard: u32,
    },
    /// Another process uses the folder.
    #[error(
        "snapshot folder {} is used by another process; stop that one, or give another --snapshots",
        folder.display()
    )]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
}

/// Finds the newest usable snapshot in `folder`; returns none if none was ever finished there. Snapshots that
/// are passed over are named in the log.
///
/// # Errors
/// A folder that cannot be read, or one whose finished snapshots are all damaged: its owner has to decide
/// whether to start anew.
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

/// Records that the run of the newest snapshot is over and that all workers were told.
pub(crate) fn record_run_over(folder: &Path) -> Result<(), SnapshotError> {
    let path = folder.join(OVER);
    let newest = ids(folder)?.last().copied().unwrap_or_default();
    files::write(&path, format!("{newest}\n").as_bytes())
        .map_err(|source| SnapshotError::Write { path, source })
}

/// Whether snapshot `id` finished a run and all workers were told.
pub(crate) fn is_run_over(folder: &Path, id: u64) -> bool {
    files::read_text(&folder.join(OVER), MOST_NUMBER).is_ok_and(|text| text.trim() == id.to_string())
}

/// Returns a number above those of all snapshots in `folder`.
pub(crate) fn next_id(folder: &Path) -> Result<u64, SnapshotError> {
    Ok(ids(folder)?.last().map_or(1, |newest| newest + 1))
}

/// Removes all snapshots.
pub(crate) fn clear(folder: &Path) -> Result<(), SnapshotError> {
    ids(folder)?.into_iter().try_for_each(|id| remove(folder, id))
}

/// Removes one snapshot, complete or not.
pub(crate) fn remove(folder: &Path, id: u64) -> Result<(), SnapshotError> {
    let path = folder.join(id.to_string());
    match fs::remove_dir_all(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(SnapshotError::Write { path, source }),
        _ => Ok(()),
    }
}

/// Removes old snapshots once snapshot `newest` is written. A failure is only logged, since it harms no
/// snapshot.
pub(crate) fn prune(folder: &Path, newest: u64) {
    if let Err(error) = remove_old(folder, newest) {
        tracing::warn!("an old snapshot stays: {error}");
    }
}

/// Removes the snapshots older than the last [`KEPT`] complete ones; `newest` was written last.
///
/// A folder without any manifest belongs to a process on another machine than the leader's. One more snapshot
/// is kept there, since the newest may never be completed. Snapshots with a higher number than `newest` are
/// left over from a run that was given up, and are removed.
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

/// Lists the numbers of all snapshots in `folder`, ascending, complete or not. A folder that does not exist
/// has none.
pub(crate) fn ids(folder: &Path) -> Result<Vec<u64>, SnapshotError> {
    let cannot = |source| SnapshotError::List { folder: folder.into(), source };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(cannot)?,
    };
    let mut ids = Vec::new();
    for entry in entries {
        let id = entry.map_err(cannot)?.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
        // The largest number is skipped: it has no successor, and no server ever counts so far.
        ids.extend(id.filter(|id| *id < u64::MAX));
    }
    ids.sort_unstable();
    Ok(ids)
}

/// Returns the next value of the counter `name`, which is at least `least` and higher than any before. The
/// file of that name in `folder` keeps it; the new value is written durably before it is returned.
pub(crate) fn next_count(folder: &Path, name: &str, least: u64) -> Result<u64, SnapshotError> {
    let path = folder.join(name);
    let next = match files::read_text(&path, MOST_NUMBER) {
        Ok(text) => match text.trim().parse::<u64>().ok().and_then(|before| before.checked_add(1)) {
            Some(next) => next,
            None => return Err(SnapshotError::Counter { path, found: text }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(source) => return Err(SnapshotError::Read { path, source }),
    };
    let value = next.max(least);
    files::write(&path, format!("{value}\n").as_bytes())
        .map_err(|source| SnapshotError::Write { path, source })?;
    Ok(value)
}

/// Makes the folder and locks it under `name` until the returned file is dropped.
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
        coordinator::leases::{EpochLedger, Progress},
        testing::data,
    };

    /// A snapshot of one shard whose file holds `text`.
    pub(crate) fn snapshot(folder: &Path, id: u64, text: &str) -> Manifest {
        let path = shard_file::path(folder, id, 0);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let hash = shard_file::hash(&path).unwrap();
        let ledger = EpochLedger { images: 100, distinct: id, ..EpochLedger::default() };
        let progress =
            Progress { leased: id, to_do: Vec::new(), ledgers: vec![ledger], used: id, skipped: 0 };
        let run = SavedRun {
            momentum_moved: true,
            configuration: settings::recipe("quick").unwrap(),
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

    /// Without the check, a run would count on such a number or take memory for it.
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
        assert_eq!(next_id(folder).unwrap(), 3, "the largest number is ignored");
    }

    #[test]
    fn snapshots_that_were_never_finished_do_not_keep_a_server_from_starting() {
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

    /// A folder with the name of a file cannot be read as a file by anybody, root included.
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
    fn counters_never_repeat_a_value() {
        let home = tempfile::tempdir().unwrap();
        let counted = |least| next_count(home.path(), "generation-0", least).unwrap();
        assert_eq!([counted(1), counted(1), counted(9), counted(3)], [1, 2, 9, 10]);
        let path = home.path().join("generation-0");
        fs::write(&path, "").unwrap();
        let text = next_count(home.path(), "generation-0", 1).unwrap_err().to_string();
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
