//! Descriptions of the data that workers train on.

use crate::{
    fields::{FieldError, MOST_NAME, at_most, bounded, listed},
    proto,
};

/// Most classes of a data set.
const MOST_CLASSES: usize = 100_000;

/// Most images of a data set: positions of an epoch are numbered in 32 bits.
const MOST_SAMPLES: u64 = u32::MAX as u64;

/// A data set as workers compare it: the counts of its images, a hash, and its class names.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DataDescription {
    /// Number of training images.
    pub images: u64,
    /// Number of validation images.
    pub validation: u64,
    /// Hash of the data set's content, in one of the forms that `Data` in `coordinator.proto` describes.
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
            classes: listed(data.classes, MOST_CLASSES, "names", "Data", "classes")?,
            hash: bounded(data.hash, MOST_NAME, "Data", "hash")?,
        })
    }
}
