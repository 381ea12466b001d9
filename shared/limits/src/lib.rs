//! Limits on what is taken from outside: files are read up to a size, and memory is taken up to what the
//! machine has.
//!
//! Every reader of a file or a flag knows how large the thing can sensibly be, and says so before any memory
//! is taken.
//!
//! ```
//! use limits::{Bytes, memory};
//!
//! assert_eq!(Bytes(3 << 29).to_string(), "1.5 GiB");
//!
//! // A machine that does not say what it has is not asked for more.
//! if let Some(free) = memory::available() {
//!     let shortage = memory::check(u64::MAX).unwrap_err();
//!     assert!(shortage.to_string().contains(" GiB of memory are needed, this machine has "));
//! }
//! ```

mod bytes;
mod file;
pub mod memory;

pub use bytes::Bytes;
pub use file::{read, read_text};
