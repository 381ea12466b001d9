//! The common language of server and worker: a network's parameters as named tensors in one flat vector.
//!
//! A [`Layout`] lists the tensors. From it alone both sides cut the same [`Block`]s, place them on the same
//! shards ([`assign`]), draw the same initial values, and tell by one [`Fingerprint`] whether they mean the
//! same network.
//!
//! Absent by intent: what a layer computes, how values travel, how they are updated.

mod block;
pub mod checkpoint;
mod fingerprint;
pub mod finite;
mod initial;
mod layout;
pub mod pattern;
mod tensor;

pub use block::{BLOCK_VALUES, Block, assign};
pub use fingerprint::{Fingerprint, FingerprintError};
pub use layout::{Difference, Layout, LayoutError, MOST_VALUES};
pub use tensor::{Initialiser, Tensor};
