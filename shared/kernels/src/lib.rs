//! SIMD compute on slices: convolution, pooling, normalisation, dense layers, the update.
//!
//! Every operation is a function or a small struct of sizes; it takes the instruction set ([`Isa`]) and the threads
//! ([`Pool`]) as values, reads and writes slices that the caller owns, and keeps no state. Activations lie in blocks
//! of 16 channels ([`map`]). `Isa::scalar()` runs the plain reference loops that every faster kernel is tested against.
//!
//! This is the only crate of the workspace with unsafe code. Operations panic, with a text, on wrong lengths: they are
//! invariants of the caller, not input.

mod affinity;
pub mod blocked;
mod buffer;
mod cache;
pub mod conv;
pub mod convert;
pub mod dense;
mod disjoint;
pub mod dropout;
pub mod elementwise;
mod entries;
mod epilogue;
mod isa;
pub mod lrn;
pub mod map;
pub mod memory;

pub mod peak;
mod planes;
mod pool;
pub mod pooling;
pub(crate) mod simd;
pub mod softmax;
#[cfg(test)]
mod testing;
pub mod update;
mod value;

pub use buffer::Buffer;
pub use conv::{BRANCHES, Branch, BranchGradient, Convolution, Stem, backward_branches, forward_branches};
pub use convert::{from_bf16, to_bf16};
pub use dense::Dense;
pub use dropout::dropout;
pub use elementwise::{add, all_finite, copy, relu, relu_backward, sum_of_squares};
pub use epilogue::Epilogue;
pub use half::bf16;
pub use isa::{Isa, IsaError};
pub use lrn::Lrn;
pub use map::{LANES, Map, MapMut, Shape, blocks};
pub use pool::{Pool, PoolError};
pub use pooling::{AveragePool, MaxPool};
pub use softmax::{cross_entropy, softmax};
pub use update::{State, Update, momentum_update, momentum_update_ahead};
pub use value::Value;
