//! What may be taken: a file is read up to a size, and memory is asked for up to what this machine has.
//!
//! Whoever reads a file or a flag of somebody else's knows how large the thing can sensibly be, and says so before any
//! memory is taken for it.

mod bytes;
mod file;
pub mod memory;

pub use bytes::Bytes;
pub use file::{read, read_text};
