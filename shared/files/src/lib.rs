//! Whole files: reading them up to a size, writing them whole or not at all, digests and locks.
//!
//! The caller who reads a file from outside gives the largest size that it can sensibly have, which is
//! checked before any memory is allocated for it.
//!
//! ```
//! let home = tempfile::tempdir()?;
//! let path = home.path().join("state");
//! files::write(&path, b"abc")?;
//! assert_eq!(files::read(&path, 3)?, b"abc");
//! assert_eq!(files::Digest::of_file(&path)?, files::Digest::of("abc"));
//!
//! let error = files::read(&path, 2).unwrap_err();
//! assert_eq!(error.to_string(), "expected at most 2 bytes, it has 3 bytes");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Absent by intent: what is in a file.

mod digest;
mod lock;
mod read;
mod write;

pub use digest::{Digest, Digester, NoDigest};
pub use lock::{Lock, LockError};
pub use read::{read, read_text};
pub use write::{write, write_private};
