//! Whole files: read up to a size, and written whole or not at all.
//!
//! Whoever reads a file of somebody else's knows how large it can sensibly be, and says so before any memory is taken
//! for it.

mod read;
mod write;

pub use read::{read, read_text};
pub use write::write;
