//! GoogLeNet on CPUs: Table 1 with both auxiliary heads, forward and backward.
//!
//! A [`GoogLeNet`] is data: its layers, the layout of its parameters, the plan of its memory. An [`Engine`]
//! adds memory for a batch size, an instruction set and threads, and computes. Layers are in `layers`, one
//! file each, forward and backward side by side; activations lie in the kernels' channel-blocked layout from
//! the first convolution to the heads.
//!
//! Absent by intent: how gradients are applied, where parameters come from, how images are read.
#![forbid(unsafe_code)]

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

pub use architecture::{Architecture, ArchitectureError, Initialisation, Variant};
pub use engine::{Engine, LayerTime};
pub use graph::{Computation, GraphLayer};
pub use loss::Losses;
pub use network::{Description, GoogLeNet, LayerDescription};
pub use precision::Precision;
pub use shapes::{LayerShape, Operand};
