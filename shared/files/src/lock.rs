//! Locks: files that only one process at a time can hold.

use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;

/// Largest number of bytes that are read of a lock file, which holds a process id.
const MOST_HOLDER: u64 = 32;

/// A lock on a file, which this process holds until it is dropped. The operating system releases it when the
/// process ends, so a process that is killed leaves no lock behind.
#[derive(Debug)]
pub struct Lock(File);

/// The reasons why a lock cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The lock is held by another process.
    #[error("held by process {holder}")]
    Held {
        /// Process id of the holder, as it wrote it into the file; empty if it did not.
        holder: String,
    },
    /// The file to be locked cannot be opened, locked or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Lock {
    /// Locks the file at `path`, which is created if it does not exist, and writes this process's id into it.
    ///
    /// # Errors
    /// If another process holds the lock, or if the file cannot be opened, locked or written.
    pub fn take(path: &Path) -> Result<Lock, LockError> {
        let mut file = File::options().create(true).read(true).write(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) => return Err(error.into()),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The number is only for people: without it the error is the same.
                let _ = file.take(MOST_HOLDER).read_to_string(&mut holder);
                return Err(LockError::Held { holder: holder.trim().into() });
            }
        }
        file.set_len(0)?;
        write!(file, "{}", std::process::id())?;
        Ok(Lock(file))
    }

    /// Returns whether the locked file is still the one at `path`. If it was removed or replaced there,
    /// another process could lock the new one.
    pub fn is_at(&self, path: &Path) -> bool {
        let (Ok(held), Ok(there)) = (self.0.metadata(), fs::metadata(path)) else { return false };
        same_file(&held, &there)
    }
}

#[cfg(unix)]
fn same_file(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Other systems do not let a file be removed while it is open.
#[cfg(not(unix))]
fn same_file(_: &Metadata, _: &Metadata) -> bool {
    true
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The file stays: to remove it would let one process lock the old file and another a new one.
        let _ = self.0.set_len(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_has_one_holder_who_is_named() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("lock");
        let held = Lock::take(&path).unwrap();
        let text = Lock::take(&path).unwrap_err().to_string();
        assert_eq!(text, format!("held by process {}", std::process::id()));
        drop(held);
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        Lock::take(&path).unwrap();
        assert!(matches!(Lock::take(&home.path().join("no/lock")), Err(LockError::Io(_))));
    }

    #[test]
    fn a_lock_tells_whether_its_file_is_still_there() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("lock");
        let held = Lock::take(&path).unwrap();
        assert!(held.is_at(&path));
        fs::remove_file(&path).unwrap();
        assert!(!held.is_at(&path));
        fs::write(&path, "").unwrap();
        assert!(!held.is_at(&path));
    }
}
