//! Descriptions of the data that workers train on.

use crate::{
    fields::{FieldError, at_most, name, names},
    proto,
};

/// Most classes of a data set.
pub(super) const MOST_CLASSES: usize = 100_000;

/// Most images of a data set: positions of an epoch are numbered in 32 bits.
const MOST_SAMPLES: u64 = u32::MAX as u64;

/// Description of a data set, by which the coordinator checks that all workers have the same one: the numbers
/// of its images, a hash, and its class names.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DataDescription {
    /// Number of training images.
    pub images: u64,
    /// Number of validation images.
    pub validation: u64,
    /// Hash of the data set: hexadecimal, of the sorted "class/path" of its files; or, in a second form,
    /// "2:training:validation:sizes:content", where the words stand for hashes of the training files' paths,
    /// the validation files' paths, all file sizes, and the content of a sample of files.
    pub hash: String,
    /// Class names; the position is the label.
    pub classes: Vec<String>,
}

impl From<DataDescription> for proto::Data {
    fn from(DataDescription { images, validation, hash, classes }: DataDescription) -> proto::Data {
        proto::Data { images, validation, hash, classes }
    }
}

impl TryFrom<proto::Data> for DataDescription {
    type Error = FieldError;

    fn try_from(data: proto::Data) -> Result<DataDescription, FieldError> {
        Ok(DataDescription {
            images: at_most(data.images, MOST_SAMPLES, "Data", "images")?,
            validation: at_most(data.validation, MOST_SAMPLES, "Data", "validation")?,
            classes: names(data.classes, MOST_CLASSES, "Data", "classes")?,
            hash: name(data.hash, "Data", "hash")?,
        })
    }
}
