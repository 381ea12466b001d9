//! Model files: those of runs ([`model_file`]), and those of other programs, of which Caffe models are read
//! ([`caffe`]) and ONNX models are written ([`onnx`]). Beside them are the event files that TensorBoard draws
//! ([`tensorboard`]), and addresses that hold a file for a page ([`data_address`]).
//!
//! Those of other programs are protocol buffers; the module `protobuf` implements the few rules of that encoding that are
//! needed. A model in memory is a [`Checkpoint`](parameters::checkpoint::Checkpoint) of named tensors,
//! whatever the format. [`read`] reads a file of any format, which it recognises by its content, and the model in
//! the folder of a run or of a snapshot; a file that is none of a model is called by its kind ([`Other`]).
//!
//! Absent by intent: what a network computes. The caller who exports a network describes it, layer by layer.
//!
//! ```
//! use std::path::Path;
//!
//! let error = formats::read(Path::new("/nowhere/model.caffemodel")).unwrap_err();
//! assert!(error.to_string().starts_with("cannot read model file /nowhere/model.caffemodel: "));
//!
//! let error = formats::caffe::parse(b"no model").unwrap_err();
//! assert!(error.to_string().starts_with("not a whole protocol buffer, at byte "));
//! let other = formats::Other::of(b"<!DOCTYPE html>").expect("a page is recognised");
//! assert_eq!(other.what, "an HTML page");
//! ```

pub mod caffe;
mod data_address;
mod file;
pub mod folder;
pub mod model_file;
pub mod onnx;
mod other;
mod protobuf;
pub mod tensorboard;

pub use data_address::data_address;
pub use file::{FileFormat, FormatError, parse, read, read_bytes};
pub use model_file::ModelCard;
pub use other::Other;
pub use protobuf::{Message, ProtobufError};
