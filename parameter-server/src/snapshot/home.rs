//! The snapshot folder of a running process: locked for as long as it runs, and marked with its run.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use files::{Lock, LockError};
use protocol::RunId;

use super::{SnapshotError, claim};

/// The snapshot folder of a running process. Nobody else writes into it under the same lock name; whoever
/// removes or replaces it under the run does not break that.
pub(crate) struct Home {
    folder: PathBuf,
    /// Path of the lock file.
    path: PathBuf,
    lock: Mutex<Lock>,
}

impl Home {
    /// Creates `folder` if it is missing, and locks it under `name`.
    ///
    /// # Errors
    /// If another process holds that lock, or the folder cannot be written.
    pub(crate) fn open(folder: &Path, name: &str) -> Result<Home, SnapshotError> {
        let path = folder.join(format!("{name}.lock"));
        let lock = Mutex::new(take(folder, &path)?);
        Ok(Home { folder: folder.into(), path, lock })
    }

    /// Path of the folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Checks that the folder is still the one that was locked. One that was removed or replaced is made,
    /// locked and marked as one of the run `run` anew; returns whether that was necessary.
    ///
    /// # Errors
    /// If another process has locked the folder that is there by now, or it cannot be written.
    pub(crate) fn keep(&self, run: RunId) -> Result<bool, SnapshotError> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_at(&self.path) {
            return Ok(false);
        }
        *lock = take(&self.folder, &self.path)?;
        claim(&self.folder, run)?;
        tracing::warn!(
            "snapshot folder {} was removed or replaced while the server runs; it is made anew, and the next snapshot \
             will be in it",
            self.folder.display()
        );
        Ok(true)
    }
}

/// Creates `folder` if it is missing, and locks the file at `path` in it.
fn take(folder: &Path, path: &Path) -> Result<Lock, SnapshotError> {
    let cannot = |path: &Path, error| SnapshotError::Write { path: path.into(), error };
    fs::create_dir_all(folder).map_err(|error| cannot(folder, error))?;
    Lock::take(path).map_err(|error| match error {
        LockError::Held { .. } => SnapshotError::Locked { folder: folder.into() },
        LockError::Io(error) => cannot(path, error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: RunId = RunId(7);

    #[test]
    fn a_folder_in_use_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let held = Home::open(home.path(), "leader").unwrap();
        let text = Home::open(home.path(), "leader").err().unwrap().to_string();
        let expected = format!(
            "snapshot folder {} is used by another process; stop that one, or give another --snapshots",
            home.path().display()
        );
        assert_eq!(text, expected);
        Home::open(home.path(), "shards-2").unwrap();
        drop(held);
        Home::open(home.path(), "leader").unwrap();
    }

    #[test]
    fn a_folder_that_is_removed_or_replaced_stays_locked() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("snapshots");
        let mine = Home::open(&folder, "leader").unwrap();
        assert!(!mine.keep(RUN).unwrap());
        assert!(matches!(Home::open(&folder, "leader"), Err(SnapshotError::Locked { .. })));
        fs::remove_dir_all(&folder).unwrap();
        assert!(mine.keep(RUN).unwrap() && !mine.keep(RUN).unwrap());
        assert_eq!(fs::read_to_string(folder.join("run")).unwrap().trim(), RUN.to_string());
        assert!(matches!(Home::open(&folder, "leader"), Err(SnapshotError::Locked { .. })));
        // A copy of the folder in its place, as from a backup, has a lock file that nobody holds.
        fs::rename(&folder, home.path().join("old")).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("leader.lock"), "").unwrap();
        assert!(mine.keep(RUN).unwrap());
        assert!(matches!(Home::open(&folder, "leader"), Err(SnapshotError::Locked { .. })));
    }

    #[test]
    fn a_folder_that_another_process_took_meanwhile_is_left_to_it() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("snapshots");
        let mine = Home::open(&folder, "leader").unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let other = Home::open(&folder, "leader").unwrap();
        for _ in 0..2 {
            assert!(matches!(mine.keep(RUN), Err(SnapshotError::Locked { .. })));
        }
        assert!(!folder.join("run").exists() && !other.keep(RUN).unwrap());
    }
}
