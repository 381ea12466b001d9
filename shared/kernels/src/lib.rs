//! SIMD kernels on slices: convolution, pooling, normalisation, dense layers, the optimizer's update.
//!
//! Each operation is a function or a small struct of sizes. It reads and writes slices that the caller owns,
//! and keeps no state. The passes of a layer take what they run with as one [`Context`]: the instruction set
//! ([`Isa`]), the threads ([`Pool`]) and scratch memory. Functions that pack weights or work on plain slices
//! need no scratch and take the instruction set and the threads alone. Feature maps are blocked by 16
//! channels ([`map`]). `Isa::scalar()` runs the plain reference loops that every faster kernel is tested
//! against.
//!
//! This is the only crate of the workspace with unsafe code. Operations panic with a clear text when a length
//! is wrong: lengths are invariants of the caller, not input.
//!
//! # Example
//!
//! A fully connected layer of three inputs and two outputs on one image, on the fastest instruction set of
//! the machine:
//!
//! ```
//! use kernels::{Context, Dense, DenseParameters, Isa, Pool};
//!
//! let pool = Pool::new(1)?;
//! let context = Context { isa: Isa::detect(), pool: &pool, scratch: &mut [] };
//! let layer = Dense { inputs: 3, outputs: 2 };
//! let parameters = DenseParameters { weights: &[1.0, 0.0, -1.0, 0.5, 0.5, 0.5], bias: &[0.0, 1.0] };
//! let mut output = [0.0; 2];
//! layer.forward(context, 1, &[3.0, 2.0, 1.0], parameters, true, &mut output);
//! assert_eq!(output, [2.0, 4.0]);
//! # Ok::<(), kernels::PoolError>(())
//! ```

pub mod adagrad;
mod affinity;
pub mod blocked;
mod buffer;
mod cache;
mod context;
pub mod conv;
pub mod convert;
pub mod dense;
mod disjoint;
pub mod dropout;
pub mod elementwise;
mod entries;
mod epilogue;
mod gradients;
mod isa;
pub mod largest;
pub mod lrn;
pub mod map;
pub mod memory;

pub mod peak;
mod planes;
mod pool;
pub mod pooling;
pub mod quantise;
pub(crate) mod simd;
pub mod softmax;
#[cfg(test)]
mod testing;
pub mod update;
mod value;

pub use adagrad::{AdagradState, AdagradUpdate, adagrad_update};
pub use buffer::Buffer;
pub use context::Context;
pub use conv::{
    BRANCHES, Branch, BranchGradient, Convolution, ConvolutionParameters, PlanarImages, Stem,
    backward_branches, forward_branches,
};
pub use convert::{from_bf16, to_bf16};
pub use dense::{Dense, DenseParameters};
pub use dropout::dropout;
pub use elementwise::{add, copy, dot, largest_magnitude, relu, relu_backward, sum_of_squares};
pub use epilogue::Epilogue;
pub use gradients::ParameterGradients;
pub use half::bf16;
pub use isa::{Isa, IsaError};
pub use largest::Share;
pub use lrn::Lrn;
pub use map::{LANES, Map, MapMut, Shape, blocks};
pub use pool::{Pool, PoolError};
pub use pooling::{AveragePool, MaxPool};
pub use quantise::{Bits, add_dequantised, dequantise, quantise};
pub use softmax::{cross_entropy, softmax};
pub use update::{State, Update, momentum_update, momentum_update_ahead, nesterov_step, step_update};
pub use value::Value;
