//! Model files that other programs write and read: Caffe models come in ([`caffe`]), ONNX goes out ([`onnx`]).
//!
//! Both are protocol buffers; the few rules of that encoding are in `wire`, so that nothing else of it is needed.
//! Whatever the format, a model in memory is a [`Checkpoint`](parameters::checkpoint::Checkpoint): named tensors.
//! [`read`] opens a file of any kind that can be read, told apart by content.
//!
//! Absent by intent: what a network computes. Whoever exports one describes it, layer by layer.

pub mod caffe;
mod file;
pub mod onnx;
mod wire;

pub use file::{FormatError, Kind, read};
pub use wire::WireError;
