//! A complete snapshot, as a shard process knows it.

use super::register::MOST_SHARDS;
use crate::{
    fields::{FieldError, names},
    proto,
};

/// A complete snapshot of a run, from which the run can resume: its number, and the hashes of the files of
/// the shards (parts of the parameters) of one server process or of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Number of the snapshot; later snapshots have higher numbers.
    pub id: u64,
    /// SHA-256, hexadecimal, of each shard's file in the snapshot, in the order of the shards' numbers.
    pub hashes: Vec<String>,
}

impl Snapshot {
    /// Narrows a snapshot that has the hashes of all shards' files to the files of one process, which holds
    /// `shards` shards from number `first` on.
    pub fn of(&self, first: u32, shards: u32) -> Snapshot {
        let hashes = self.hashes.iter().skip(first as usize).take(shards as usize).cloned().collect();
        Snapshot { id: self.id, hashes }
    }
}

impl From<Snapshot> for proto::Snapshot {
    fn from(Snapshot { id, hashes }: Snapshot) -> proto::Snapshot {
        proto::Snapshot { id, hashes }
    }
}

impl TryFrom<proto::Snapshot> for Snapshot {
    type Error = FieldError;

    fn try_from(proto::Snapshot { id, hashes }: proto::Snapshot) -> Result<Snapshot, FieldError> {
        Ok(Snapshot { id, hashes: names(hashes, MOST_SHARDS as usize, "Snapshot", "hashes")? })
    }
}
