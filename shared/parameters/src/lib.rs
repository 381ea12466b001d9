//! The parameters of a network as both server and workers see them: named tensors in one flat vector.
//!
//! A [`Layout`] lists the tensors. From the layout alone both sides derive the same [`Block`]s, place them on
//! the same shards ([`assign`]) and draw the same initial values; its [`Fingerprint`] tells whether they have
//! the same network.
//!
//! Absent by intent: what a layer computes, how values travel, and how they are updated.
//!
//! ```
//! use parameters::{Initialiser, Layout, Tensor, assign};
//!
//! let weights = Tensor {
//!     name: "classifier/weights".into(),
//!     shape: vec![10, 65_536],
//!     initialiser: Initialiser::Uniform { bound: 0.1 },
//!     rate_multiplier: 1.0,
//!     decay_multiplier: 1.0,
//! };
//! let layout = Layout::new(vec![weights])?;
//! assert_eq!(layout.len(), 655_360);
//! // Blocks have at most 262,144 values; the third is shorter.
//! assert_eq!(layout.blocks().len(), 3);
//! assert_eq!(assign(&layout, 2), [0, 1, 0]);
//! assert_eq!(layout.initial(1), layout.initial(1), "the same values for the same seed");
//! # Ok::<(), parameters::LayoutError>(())
//! ```

mod block;
pub mod checkpoint;
mod fingerprint;
pub mod finite;
mod initial;
mod layout;
mod number;
pub mod pattern;
mod placement;
mod tensor;

pub use block::{BLOCK_VALUES, Block};
pub use fingerprint::{Fingerprint, FingerprintError};
pub use layout::{Difference, Layout, LayoutError, MOST_VALUES};
pub use number::NumberType;
pub use placement::assign;
pub use tensor::{Initialiser, Tensor};
