//! Whole files: read up to a size, written whole or not at all, told apart by digests, and locks.
//!
//! Whoever reads a file of somebody else's knows how large it can sensibly be, and says so before any memory
//! is taken for it.
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
pub use write::write;
