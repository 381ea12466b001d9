//! Checkpoints: named tensors with metadata, which are stored as files in the safetensors format.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use ndarray::{ArrayD, IxDyn};
use safetensors::{Dtype, SafeTensors};
use serde_json::json;

use crate::{
    Layout, MOST_VALUES, NumberType,
    finite::{self, NotFinite},
};

/// Largest size of a checkpoint file in bytes. The largest file is the saved state of a parameter-server
/// shard that holds [`MOST_VALUES`] values, each with its parameter, velocity and average; safetensors reads
/// a header of at most 100 MB.
pub const MOST_BYTES: u64 = 3 * size_of::<f32>() as u64 * MOST_VALUES as u64 + (128 << 20);

/// A checkpoint, the content of a safetensors file: named f32 tensors, such as the parameters of a model,
/// with metadata that describes them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// The tensors by name, row-major.
    pub tensors: BTreeMap<String, ArrayD<f32>>,
    /// Metadata by name, such as the names of the classes and the preprocessing of the images, as text.
    pub metadata: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Reads a safetensors file, whose tensors may be of type F32, F16, BF16 or F64 and become f32.
    ///
    /// # Errors
    /// If the file cannot be read, is not a whole safetensors file, or has tensors of another type.
    pub fn read(path: &Path) -> Result<Checkpoint, CheckpointError> {
        let bytes = files::read(path, MOST_BYTES)
            .map_err(|error| CheckpointError::Read { path: path.into(), error })?;
        Checkpoint::parse(&bytes, path)
    }

    /// Parses the bytes of a safetensors file, whose tensors may be of type F32, F16, BF16 or F64 and become
    /// f32; a value that is too large for f32 becomes infinite. `path` is only named in errors, as the place
    /// where the bytes come from.
    ///
    /// # Errors
    /// If the bytes are not a whole safetensors file, or if a tensor is of another type.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Checkpoint, CheckpointError> {
        let malformed =
            |reason: String| CheckpointError::Malformed { path: path.into(), bytes: bytes.len(), reason };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| malformed(e.to_string()))?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| malformed(e.to_string()))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let number = match view.dtype() {
                Dtype::F16 => NumberType::F16,
                Dtype::BF16 => NumberType::Bf16,
                Dtype::F32 => NumberType::F32,
                Dtype::F64 => NumberType::F64,
                other => {
                    let found = other.to_string();
                    return Err(CheckpointError::Type { path: path.into(), tensor: name.into(), found });
                }
            };
            let values = number.decode(view.data()).expect("a tensor's bytes hold whole values");
            let tensor = ArrayD::from_shape_vec(IxDyn(view.shape()), values)
                .map_err(|e| malformed(format!("tensor {name} {:?}: {e}", view.shape())))?;
            tensors.insert(name.to_string(), tensor);
        }
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        Ok(Checkpoint { tensors, metadata })
    }

    /// Returns the checkpoint unchanged if all of its values are finite. `path` is only named in the error,
    /// as the file that the checkpoint comes from.
    ///
    /// # Errors
    /// [`CheckpointError::NotFinite`] if a tensor holds a NaN or an infinity; the error names the first such
    /// tensor in the order of names.
    pub fn finite(self, path: &Path) -> Result<Checkpoint, CheckpointError> {
        self.tensors
            .iter()
            .try_for_each(|(name, tensor)| finite::check(name, tensor))
            .map_err(|found| CheckpointError::NotFinite { path: path.into(), found })?;
        Ok(self)
    }

    /// Writes the checkpoint to a file, either the whole file or none. Equal checkpoints give equal bytes.
    ///
    /// # Errors
    /// [`CheckpointError::Write`] if the file cannot be written; a previous file at `path` remains.
    pub fn write(&self, path: &Path) -> Result<(), CheckpointError> {
        files::write(path, &self.to_bytes())
            .map_err(|error| CheckpointError::Write { path: path.into(), error })
    }

    /// Encodes the checkpoint as the bytes of a file: the length of the header, the header (JSON, padded to a
    /// multiple of 8 bytes), and the values.
    ///
    /// The safetensors crate is not used for this, since it keeps metadata in a map of random order.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut entries = serde_json::Map::new();
        if !self.metadata.is_empty() {
            entries.insert("__metadata__".into(), json!(self.metadata));
        }
        let mut end = 0;
        for (name, tensor) in &self.tensors {
            let start = end;
            end += 4 * tensor.len();
            let entry = json!({"dtype": "F32", "shape": tensor.shape(), "data_offsets": [start, end]});
            entries.insert(name.clone(), entry);
        }
        let mut header = serde_json::Value::Object(entries).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut bytes = Vec::with_capacity(8 + header.len() + end);
        bytes.extend((header.len() as u64).to_le_bytes());
        bytes.extend(header);
        for tensor in self.tensors.values() {
            bytes.extend(tensor.iter().flat_map(|value| value.to_le_bytes()));
        }
        bytes
    }

    /// Creates a checkpoint from a flat vector of parameters in the order of `layout`.
    ///
    /// # Panics
    /// If `values` is not as long as the layout.
    pub fn from_flat(layout: &Layout, values: &[f32], metadata: BTreeMap<String, String>) -> Checkpoint {
        assert_eq!(values.len(), layout.len(), "values of a checkpoint and of its layout");
        let tensors = layout
            .tensors()
            .iter()
            .enumerate()
            .map(|(index, tensor)| {
                let values = values[layout.range(index)].to_vec();
                let array = ArrayD::from_shape_vec(IxDyn(&tensor.shape), values)
                    .expect("a layout's range is as long as its tensor's shape says");
                (tensor.name.clone(), array)
            })
            .collect();
        Checkpoint { tensors, metadata }
    }

    /// Copies the tensors that `layout` names into a flat vector, in the layout's order. The checkpoint's
    /// other tensors are left out, so that a model with auxiliary heads can be used for a network without
    /// them.
    ///
    /// # Errors
    /// If a tensor of the layout is missing or has another shape. Memory is allocated only once all tensors
    /// are found.
    pub fn to_flat(&self, layout: &Layout) -> Result<Vec<f32>, CheckpointError> {
        let mut tensors = Vec::with_capacity(layout.tensors().len());
        for expected in layout.tensors() {
            let tensor = self.tensors.get(&expected.name).ok_or_else(|| CheckpointError::Missing {
                tensor: expected.to_string(),
                tensors: self.tensors.len(),
            })?;
            if tensor.shape() != expected.shape {
                return Err(CheckpointError::Shape {
                    tensor: expected.name.clone(),
                    expected: expected.shape.clone(),
                    found: tensor.shape().to_vec(),
                });
            }
            tensors.push(tensor);
        }
        let mut values = Vec::with_capacity(layout.len());
        tensors.into_iter().for_each(|tensor| values.extend(tensor.iter()));
        Ok(values)
    }
}

/// The reasons why a checkpoint cannot be read, written or used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The checkpoint file cannot be read.
    #[error("cannot read checkpoint {}: {error}", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system.
        error: io::Error,
    },
    /// The checkpoint file cannot be written; a previous file at that path remains.
    #[error("cannot write checkpoint {}: {error}", path.display())]
    Write {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system.
        error: io::Error,
    },
    /// The file is not a safetensors file, or only part of one.
    #[error(
        "checkpoint {} ({bytes} bytes) is not a whole safetensors file: {reason}; get or write it again",
        path.display()
    )]
    Malformed {
        /// Path of the file.
        path: PathBuf,
        /// Size of the file in bytes.
        bytes: usize,
        /// Description of what is wrong with the file.
        reason: String,
    },
    /// A tensor has a number type of which no tensor of the network is.
    #[error(
        "checkpoint {}: tensor {tensor} has type {found}; expected F32, F16, BF16 or F64: use a model of GoogLeNet, \
         or convert the file",
        path.display()
    )]
    Type {
        /// Path of the file.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// Number type of the tensor.
        found: String,
    },
    /// A tensor holds values that are not finite.
    #[error(
        "{}: {found}; training diverged before it was written, or the file is damaged: use an earlier one, or get it again",
        path.display()
    )]
    NotFinite {
        /// Path of the file.
        path: PathBuf,
        /// The tensor and its first value that is not finite.
        found: NotFinite,
    },
    /// A tensor of the network is not in the checkpoint.
    #[error(
        "tensor {tensor} is missing among the checkpoint's {tensors}; use the network that it was trained with"
    )]
    Missing {
        /// Name and shape of the tensor.
        tensor: String,
        /// Number of tensors in the checkpoint.
        tensors: usize,
    },
    /// A tensor of the checkpoint has another shape than the network's tensor of the same name.
    #[error("tensor {tensor}: expected shape {expected:?}, found {found:?} in the checkpoint")]
    Shape {
        /// Name of the tensor.
        tensor: String,
        /// Shape in the network.
        expected: Vec<usize>,
        /// Shape in the checkpoint.
        found: Vec<usize>,
    },
}
