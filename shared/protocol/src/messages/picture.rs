//! The photographs that a server lends to workers: what there is, their labels, and their files in pieces.

use super::{
    data::DataDescription,
    lease::{KEPT_ACCOUNT, readable},
    refusal::Answer,
};
use crate::{
    fields::{FieldError, answer, listed, required, shown},
    proto,
};

/// Most training shards of a lent data set, and most labels of one reply.
const MOST_LISTED: usize = 1 << 18;

/// Most images of one request for their files.
pub const MOST_PICTURES: usize = 256;

/// Largest number of bytes of one piece of an image's file.
pub const PIECE: usize = 256 << 10;

/// Largest number of bytes of an image's file.
pub const LARGEST_PICTURE: u64 = 1 << 30;

/// Description of a data set whose photographs a server lends to workers without them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LentData {
    /// Description of the data set, with which such a worker joins.
    pub data: DataDescription,
    /// Number of training images in each tar shard that has some, which the order of an epoch depends on; empty
    /// if the images are files of their own.
    pub shards: Vec<u32>,
}

/// A request for labels of the images of a lent data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelsRequest {
    /// Whether the labels are those of the validation images, in place of the training images.
    pub validation: bool,
    /// Number of the first image whose label is asked for.
    pub start: u32,
}

/// A request for the files of some images of a lent data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// Whether the images are validation images, in place of training images.
    pub validation: bool,
    /// Numbers of the images in their split, in the order in which the files are to be sent.
    pub images: Vec<u32>,
}

/// A piece of the file of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PicturePiece {
    /// Bytes of the file, which follow those of the piece before.
    pub bytes: Vec<u8>,
    /// What is said of the image in the last piece of its file; `None` in others.
    pub end: Option<PictureEnd>,
}

/// The end of an image's file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PictureEnd {
    /// Path of the file on the machine that lends it, for people.
    pub name: String,
    /// Reason why the file could not be read; `None` if it was.
    pub failure: Option<String>,
}

/// Returns the labels of one reply, which begin at that of image `start`.
pub fn page_of_labels(images: usize, start: usize) -> std::ops::Range<usize> {
    start..images.min(start.saturating_add(MOST_LISTED))
}

impl From<LentData> for proto::Lent {
    fn from(LentData { data, shards }: LentData) -> proto::Lent {
        proto::Lent { data: Some(data.into()), shards }
    }
}

impl TryFrom<proto::Lent> for LentData {
    type Error = FieldError;

    fn try_from(lent: proto::Lent) -> Result<LentData, FieldError> {
        Ok(LentData {
            data: required(lent.data, "Lent", "data")?.try_into()?,
            shards: listed(lent.shards, MOST_LISTED, "shards", "Lent", "shards")?,
        })
    }
}

impl From<Answer<Option<LentData>>> for proto::DescribeReply {
    fn from(answer: Answer<Option<LentData>>) -> proto::DescribeReply {
        use proto::describe_reply::Outcome;
        let outcome = match answer {
            Ok(Some(lent)) => Outcome::Lent(lent.into()),
            Ok(None) => Outcome::Nothing(proto::NothingLent {}),
            Err(refusal) => Outcome::Refusal(refusal.into()),
        };
        proto::DescribeReply { outcome: Some(outcome) }
    }
}

impl TryFrom<proto::DescribeReply> for Answer<Option<LentData>> {
    type Error = FieldError;

    fn try_from(reply: proto::DescribeReply) -> Result<Answer<Option<LentData>>, FieldError> {
        use proto::describe_reply::Outcome;
        Ok(match required(reply.outcome, "DescribeReply", "outcome")? {
            Outcome::Lent(lent) => Ok(Some(lent.try_into()?)),
            Outcome::Nothing(proto::NothingLent {}) => Ok(None),
            Outcome::Refusal(refusal) => Err(refusal.try_into()?),
        })
    }
}

impl From<LabelsRequest> for proto::LabelsRequest {
    fn from(LabelsRequest { validation, start }: LabelsRequest) -> proto::LabelsRequest {
        proto::LabelsRequest { validation, start }
    }
}

impl TryFrom<proto::LabelsRequest> for LabelsRequest {
    type Error = FieldError;

    fn try_from(request: proto::LabelsRequest) -> Result<LabelsRequest, FieldError> {
        let proto::LabelsRequest { validation, start } = request;
        Ok(LabelsRequest { validation, start })
    }
}

impl From<Vec<u32>> for proto::LabelList {
    fn from(labels: Vec<u32>) -> proto::LabelList {
        proto::LabelList { labels }
    }
}

impl TryFrom<proto::LabelList> for Vec<u32> {
    type Error = FieldError;

    fn try_from(list: proto::LabelList) -> Result<Vec<u32>, FieldError> {
        listed(list.labels, MOST_LISTED, "labels", "LabelList", "labels")
    }
}

answer!(Vec<u32>, proto::LabelsReply, labels_reply::Labels);

impl From<ReadRequest> for proto::ReadRequest {
    fn from(ReadRequest { validation, images }: ReadRequest) -> proto::ReadRequest {
        proto::ReadRequest { validation, images }
    }
}

impl TryFrom<proto::ReadRequest> for ReadRequest {
    type Error = FieldError;

    fn try_from(request: proto::ReadRequest) -> Result<ReadRequest, FieldError> {
        let proto::ReadRequest { validation, images } = request;
        Ok(ReadRequest {
            validation,
            images: listed(images, MOST_PICTURES, "images", "ReadRequest", "images")?,
        })
    }
}

impl From<PicturePiece> for proto::PicturePiece {
    fn from(PicturePiece { bytes, end }: PicturePiece) -> proto::PicturePiece {
        let text = |text: String| shown(&text, KEPT_ACCOUNT);
        let end = end.map(|PictureEnd { name, failure }| proto::PictureEnd {
            name: text(name),
            failure: failure.map(text),
        });
        proto::PicturePiece { bytes: bytes.into(), end }
    }
}

impl TryFrom<proto::PicturePiece> for PicturePiece {
    type Error = FieldError;

    fn try_from(piece: proto::PicturePiece) -> Result<PicturePiece, FieldError> {
        let text = |text, field| readable(text, "PictureEnd", field);
        let end = |proto::PictureEnd { name, failure }| -> Result<PictureEnd, FieldError> {
            let failure = failure.map(|failure| text(failure, "failure")).transpose()?;
            Ok(PictureEnd { name: text(name, "name")?, failure })
        };
        // Pieces without anything in them could go on for ever.
        let least = usize::from(piece.end.is_none());
        if !(least..=PIECE).contains(&piece.bytes.len()) {
            let expected = format!("{least} to {PIECE} bytes");
            return Err(FieldError::new("PicturePiece", "bytes", expected, piece.bytes.len()));
        }
        Ok(PicturePiece { bytes: piece.bytes.into(), end: piece.end.map(end).transpose()? })
    }
}

answer!(PicturePiece, proto::ReadReply, read_reply::Piece);
