//! Pieces of image files as they lie on disk, for whoever decodes them elsewhere.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::decode_error::{DecodeError, MOST_BYTES};
use crate::entry::Part;
use crate::streams::Streams;

/// A piece of an image file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Bytes of the piece.
    pub bytes: Vec<u8>,
    /// Place of the piece: true if the file ends with it.
    pub is_last: bool,
}

/// Reads at most `most` bytes of an image file from position `offset` on.
pub(crate) fn of_file(path: &Path, offset: u64, most: usize) -> Result<Piece, DecodeError> {
    let mut file = File::open(path)?;
    let length = check(file.metadata()?.len())?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(most as u64).read_to_end(&mut bytes)?;
    // A file that has become shorter ends too.
    let is_last = bytes.len() < most || offset + bytes.len() as u64 >= length;
    Ok(Piece { bytes, is_last })
}

/// Reads at most `most` bytes of an image in a tar shard from position `offset` of the image on.
pub(crate) fn of_part(shards: &Streams, part: &Part, offset: u64, most: usize) -> Result<Piece, DecodeError> {
    let left = check(part.length)?.saturating_sub(offset);
    let length = left.min(most as u64);
    let bytes =
        shards.read(&Part { shard: part.shard, offset: part.offset + offset.min(part.length), length })?;
    Ok(Piece { bytes, is_last: length == left })
}

/// Checks the size of an image file.
fn check(bytes: u64) -> Result<u64, DecodeError> {
    if bytes > MOST_BYTES { Err(DecodeError::LargeFile { bytes }) } else { Ok(bytes) }
}
