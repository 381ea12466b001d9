//! Snapshots of a run. Every shard writes `ID/shard-K.safetensors`; `ID/manifest.json`, written last,
//! completes the snapshot.
//!
//! A snapshot is passed over for an older one if it has no manifest, or if a file does not have the hash that
//! the manifest gives. Each shard's file is consistent in itself. An update that was pushed while the
//! snapshot was taken may be in the files of some shards only; the leases that such updates belong to are
//! repeated after a resume.

mod home;
pub mod inspect;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use files::Digest;
use formats::folder::{MANIFEST, MOST_MANIFEST};
use parameters::Fingerprint;
use protocol::{Evaluation, RunId, ShardFiles, ShardStatus, Snapshot};
use serde::{Deserialize, Serialize};

pub(crate) use self::home::Home;
use crate::{coordinator::SavedRun, shard::file as shard_file};

/// Number of complete snapshots that are kept in a folder; older ones are removed.
pub const KEPT: usize = 3;
/// Name of the manifest's format; it changes when the meaning of the manifest does.
const FORMAT: &str = "downpour snapshot 1";
/// Largest size, in bytes, of a file that holds a number.
const MOST_NUMBER: u64 = 64;
/// Name of the file that holds the id of the run whose snapshots are in a folder.
const RUN: &str = "run";
/// Beginning of the names of the files that hold the generations of shards; a shard's number follows.
const GENERATION: &str = "generation-";
/// Name of the file that holds the number of the last snapshot of a run that is over.
const OVER: &str = "over";

/// Manifest of a snapshot, the file `manifest.json` that is written last and completes it: the hashes of the
/// shards' files, and the state of the run apart from that of the shards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name of the format; a manifest of another format is refused.
    format: String,
    /// Number of the snapshot; later ones have higher numbers.
    pub id: u64,
    /// Fingerprint (hash) of the network's layout, that is, of its tensors in their order.
    pub layout: Fingerprint,
    /// Files of the shards in the snapshot, in the order of the shards' numbers.
    pub shards: Vec<ShardEntry>,
    /// State of the run apart from that of the shards: its configuration, progress and evaluations.
    pub run: SavedRun,
}

/// File of one shard in a snapshot, as the snapshot's manifest lists it: the shard's number, the file's
/// SHA-256, and where the file was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardEntry {
    /// Number of the shard.
    pub shard: u32,
    /// SHA-256 of the shard's file in the snapshot, hexadecimal.
    pub hash: String,
    /// Whether the shard's file was in the snapshot folder of the leader (the first process of the server).
    /// If not, the process that holds the shard has the file, on another machine.
    pub here: bool,
}

impl Manifest {
    /// The number of the snapshot and the hashes of all shards' files, in the form that shard processes
    /// receive.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { id: self.id, hashes: self.shards.iter().map(|entry| entry.hash.clone()).collect() }
    }

    /// Returns whether the run was complete, its last evaluation included, when the snapshot was taken.
    pub fn finished(&self) -> bool {
        self.run.finished
    }

    /// The result of the run's newest evaluation, if any; in a finished run, that is the last evaluation.
    pub fn evaluation(&self) -> Option<&Evaluation> {
        self.run.evaluations.last()
    }

    /// Makes the manifest of snapshot `id` from the statuses of the shards that wrote their files into it.
    ///
    /// # Errors
    /// If a shard gives no hash of its file.
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
    /// If the file cannot be written.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), SnapshotError> {
        let path = folder.join(self.id.to_string()).join(MANIFEST);
        let text = serde_json::to_string_pretty(self).expect("a manifest is plain data");
        files::write(&path, text.as_bytes()).map_err(|error| SnapshotError::Write { path, error })
    }

    /// Reads the manifest of snapshot `id`.
    ///
    /// # Errors
    /// If the manifest is missing, cannot be read, or contradicts itself.
    pub(crate) fn read(folder: &Path, id: u64) -> Result<Manifest, SnapshotError> {
        let path = folder.join(id.to_string()).join(MANIFEST);
        let text = files::read_text(&path, MOST_MANIFEST).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => SnapshotError::Unfinished,
            _ => SnapshotError::Read { path: path.clone(), error },
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
    /// Checks the shard's file against its hash; returns whether the file is in the folder.
    ///
    /// # Errors
    /// If the hash of the file is not the one in the manifest, the file cannot be read, or it is missing in
    /// the folder to which it was written.
    pub(crate) fn check(&self, folder: &Path, id: u64) -> Result<bool, SnapshotError> {
        let path = shard_file::path(folder, id, self.shard);
        match Digest::of_file(&path).map(|digest| digest.to_string()) {
            Ok(found) if found == self.hash => Ok(true),
            Ok(found) => Err(SnapshotError::Hash { path, expected: self.hash.clone(), found }),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.here => Ok(false),
            Err(error) => Err(SnapshotError::Read { path, error }),
        }
    }
}

/// Reasons why a snapshot cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A snapshot that was never completed: the file `manifest.json`, which is written last, is missing.
    #[error("it has no manifest, so it was not finished")]
    Unfinished,
    /// A file of a snapshot, or another file in the folder of the snapshots, that cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Cause given by the operating system.
        error: io::Error,
    },
    /// A folder of snapshots, or a file or folder in it, that cannot be written or removed.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// Path of the file or folder.
        path: PathBuf,
        /// Cause given by the operating system.
        error: io::Error,
    },
    /// A snapshot's `manifest.json` that cannot be parsed, is of another format, or contradicts itself.
    #[error("{} is not a manifest: {reason}", path.display())]
    Malformed {
        /// Path of the file.
        path: PathBuf,
        /// Reason why the file cannot be used as a manifest.
        reason: String,
    },
    /// A shard's file whose SHA-256 differs from the one recorded when the file was written.
    #[error("{} is damaged: expected sha-256 {expected}, found {found}", path.display())]
    Hash {
        /// Path of the file.
        path: PathBuf,
        /// SHA-256 that the manifest gives for the file, hexadecimal.
        expected: String,
        /// SHA-256 of the file as found, hexadecimal.
        found: String,
    },
    /// A folder of snapshots whose content cannot be listed.
    #[error("cannot list the snapshots in {}: {error}", folder.display())]
    List {
        /// Path of the folder.
        folder: PathBuf,
        /// Cause given by the operating system.
        error: io::Error,
    },
    /// A folder with finished snapshots of which none can be used.
    #[error(
        "no snapshot in {} can be used, the newest that was finished is {id}: {reason}; put its files back as they were, \
         or --fresh to start anew (it removes the snapshots)",
        folder.display()
    )]
    NoneUsable {
        /// Path of the folder.
        folder: PathBuf,
        /// Number of the newest snapshot that was finished.
        id: u64,
        /// Reason why the newest finished snapshot cannot be used.
        reason: Box<SnapshotError>,
    },
    /// A file that should hold a counter (of the server's lives or of a shard's generations) but holds no
    /// number.
    #[error(
        "{} holds {found:?}, expected a number; write one that is higher than any it had, as 1000000",
        path.display()
    )]
    Counter {
        /// Path of the file.
        path: PathBuf,
        /// Text that the file holds in place of a number.
        found: String,
    },
    /// A shard that was ordered to write its file of a snapshot but gave no hash of the file.
    #[error("shard {shard} was told to write a snapshot and named no file")]
    NoHash {
        /// Number of the shard.
        shard: u32,
    },
    /// A folder that another process uses.
    #[error(
        "snapshot folder {} is used by another process; stop that one, or give another --snapshots",
        folder.display()
    )]
    Locked {
        /// Path of the folder.
        folder: PathBuf,
    },
}

/// Finds the newest snapshot in `folder` that was finished and whose files have the hashes in its manifest;
/// returns `None` if none was ever finished there. The log names the snapshots that are passed over.
///
/// # Errors
/// If `folder` cannot be read, or its finished snapshots are all damaged: the user has to decide whether to
/// start the run anew.
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
        .map_err(|error| SnapshotError::Write { path, error })
}

/// Whether snapshot `id` finished a run and all workers were told.
pub(crate) fn is_run_over(folder: &Path, id: u64) -> bool {
    files::read_text(&folder.join(OVER), MOST_NUMBER).is_ok_and(|text| text.trim() == id.to_string())
}

/// Returns a number above those of all snapshots in `folder`.
pub(crate) fn next_id(folder: &Path) -> Result<u64, SnapshotError> {
    Ok(ids(folder)?.last().map_or(1, |newest| newest + 1))
}

/// Makes `folder` one of the run `run`. Snapshots of another run that it holds are set aside in a folder
/// within it, named after that run: this run's would replace them.
pub(crate) fn claim(folder: &Path, run: RunId) -> Result<(), SnapshotError> {
    let path = folder.join(RUN);
    let cannot = |path: &Path| {
        let path = path.to_path_buf();
        move |error| SnapshotError::Write { path, error }
    };
    let own = match files::read_text(&path, MOST_NUMBER) {
        Ok(text) => text.trim().parse::<RunId>().ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(SnapshotError::Read { path, error }),
    };
    if own == Some(run) {
        return Ok(());
    }
    let ids = ids(folder)?;
    if let Some(other) = own.filter(|_| !ids.is_empty()) {
        let aside = folder.join(format!("run-{other}"));
        fs::create_dir_all(&aside).map_err(cannot(&aside))?;
        for id in ids {
            let to = aside.join(id.to_string());
            fs::rename(folder.join(id.to_string()), &to).map_err(cannot(&to))?;
        }
        tracing::warn!(
            "{} held snapshots of run {other}, this is run {run}: they are in {} now",
            folder.display(),
            aside.display()
        );
    }
    files::write(&path, format!("{run}\n").as_bytes()).map_err(cannot(&path))
}

/// Removes all snapshots in `folder`.
pub(crate) fn clear(folder: &Path) -> Result<(), SnapshotError> {
    ids(folder)?.into_iter().try_for_each(|id| remove(folder, id))
}

/// Removes snapshot `id` in `folder`, complete or not.
pub(crate) fn remove(folder: &Path, id: u64) -> Result<(), SnapshotError> {
    let path = folder.join(id.to_string());
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SnapshotError::Write { path, error }),
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
/// is kept there, since the newest may never be completed. Snapshots with a higher number than `newest` that
/// were not completed are left over from a run that was given up, and are removed; a complete one is never
/// removed for an older one.
fn remove_old(folder: &Path, newest: u64) -> Result<(), SnapshotError> {
    let ids = ids(folder)?;
    let complete: BTreeSet<u64> =
        ids.iter().copied().filter(|id| folder.join(id.to_string()).join(MANIFEST).exists()).collect();
    let oldest = match complete.len() {
        0 => ids.iter().rev().filter(|id| **id <= newest).nth(KEPT),
        _ => complete.iter().rev().nth(KEPT - 1),
    };
    let oldest = oldest.copied().unwrap_or(0);
    let left_over = |id: &u64| *id > newest && !complete.contains(id);
    ids.into_iter().filter(|id| *id < oldest || left_over(id)).try_for_each(|id| remove(folder, id))
}

/// Lists the numbers of all snapshots in `folder`, ascending, complete or not. A folder that does not exist
/// has none.
pub(crate) fn ids(folder: &Path) -> Result<Vec<u64>, SnapshotError> {
    let cannot = |error| SnapshotError::List { folder: folder.into(), error };
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
        Err(error) => return Err(SnapshotError::Read { path, error }),
    };
    let value = next.max(least);
    files::write(&path, format!("{value}\n").as_bytes())
        .map_err(|error| SnapshotError::Write { path, error })?;
    Ok(value)
}

/// Returns the run whose snapshots are in `folder` and the numbers of the shards that processes held there,
/// for a process that starts and asks for its place; `None` if no process did.
pub(crate) fn held(folder: &Path) -> Result<Option<ShardFiles>, SnapshotError> {
    let run = files::read_text(&folder.join(RUN), MOST_NUMBER).ok().and_then(|text| text.trim().parse().ok());
    let Some(run) = run else { return Ok(None) };
    let cannot = |error| SnapshotError::List { folder: folder.into(), error };
    let mut shards = Vec::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let name = entry.map_err(cannot)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(GENERATION));
        shards.extend(number.and_then(|number| number.parse::<u32>().ok()));
    }
    shards.sort_unstable();
    Ok((!shards.is_empty()).then_some(ShardFiles { run, shards }))
}

/// Returns the next generation of shard `number`, higher than any before; at least `least`.
pub(crate) fn next_generation(folder: &Path, number: u32, least: u64) -> Result<u64, SnapshotError> {
    next_count(folder, &format!("{GENERATION}{number}"), least)
}

#[cfg(test)]
pub(crate) mod tests;
