//! A complete snapshot, as a shard process knows it.

use crate::{fields::same_fields, proto};

/// A complete snapshot: its number, and the hashes of the files of one or of all processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Number of the snapshot.
    pub id: u64,
    /// SHA-256 of the files of the process's shards, hexadecimal, in the order of their numbers.
    pub hashes: Vec<String>,
}

impl Snapshot {
    /// Narrows a snapshot of all shards to the `shards` shards of one process, from number `first` on.
    pub fn of(&self, first: u32, shards: u32) -> Snapshot {
        let hashes = self.hashes.iter().skip(first as usize).take(shards as usize).cloned().collect();
        Snapshot { id: self.id, hashes }
    }
}

same_fields!(Snapshot, proto::Snapshot { id, hashes });
