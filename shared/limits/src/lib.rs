//! The limits of this machine: how much memory it has left; and amounts as text for people.
//!
//! Code that needs much memory asks here before it allocates any.
//!
//! ```
//! use limits::{Bytes, Count, memory};
//!
//! assert_eq!(Bytes(3 << 29).to_string(), "1.5 GiB");
//! assert_eq!(Count(6_998_552).to_string(), "6,998,552");
//!
//! // A machine that does not say what it has is not asked for more.
//! if let Some(free) = memory::available() {
//!     let shortage = memory::check(u64::MAX).unwrap_err();
//!     assert!(shortage.to_string().contains(" GiB of memory are needed, this machine has "));
//! }
//! ```

mod bytes;
mod count;
pub mod memory;

pub use bytes::Bytes;
pub use count::Count;
