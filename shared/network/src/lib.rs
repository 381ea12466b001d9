//! GoogLeNet on CPUs: Table 1 of the paper with both auxiliary heads, forward and backward.
//!
//! A [`GoogLeNet`] is data: its layers, the layout of its parameters, the plan of its memory. An [`Engine`]
//! adds memory for a batch size, an instruction set and threads, and computes. The layers are in `layers`,
//! one file each, with the forward and the backward pass side by side. Activations are in the kernels'
//! channel-blocked layout from the first convolution to the heads.
//!
//! Absent by intent: how gradients are applied, where parameters come from, how images are read.
//!
//! # Example
//!
//! The size of a network of a quarter of the paper's width, for ten classes:
//!
//! ```
//! use network::{Architecture, GoogLeNet};
//!
//! let narrow = Architecture { classes: 10, width: 0.25, ..Architecture::paper() };
//! let size = GoogLeNet::new(&narrow)?.describe();
//! println!("{} parameters, {} multiply-adds an image", size.parameters, size.multiply_adds);
//! assert!(size.parameters < 1_000_000);
//! # Ok::<(), network::ArchitectureError>(())
//! ```

mod architecture;
mod builder;
mod engine;
mod graph;
mod layers;
mod loss;
mod memory;
mod network;
mod plan;
mod precision;
mod shapes;
mod sharing;
mod table;

pub use architecture::{Architecture, ArchitectureError};
pub use engine::{Engine, LayerTime};
pub use graph::{Computation, GraphLayer};
pub use loss::Losses;
pub use network::{Description, GoogLeNet, LayerDescription};
pub use settings::{Initialisation, Precision, Variant};
pub use shapes::{LayerShape, Operand};
