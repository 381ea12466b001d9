//! What may be taken: memory is asked for up to what this machine has.

mod bytes;
pub mod memory;

pub use bytes::Bytes;
