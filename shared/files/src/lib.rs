//! Whole files: read up to a size, written whole or not at all, told apart by digests, and locks.
//!
//! Whoever reads a file of somebody else's knows how large it can sensibly be, and says so before any memory is taken
//! for it.

mod digest;
mod lock;
mod read;
mod write;

pub use digest::{Digest, Digester, NoDigest};
pub use lock::{Lock, LockError};
pub use read::{read, read_text};
pub use write::write;
