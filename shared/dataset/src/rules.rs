//! The rules by which a folder is read as a data set, in versions.

/// A version of the rules by which a folder is read as a data set: which files are samples, which of them are
/// held out for validation, and what a [`Fingerprint`](crate::Fingerprint) is made of.
///
/// A run keeps the version that it began with, since another version would number its samples differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rules {
    /// Version 1: every file of a class folder that is not hidden is a sample. About a fifth of them, by the
    /// hash of the bare file name, is held out. The fingerprint covers names only.
    V1,
    /// Version 2: files that are no images by their names are passed over. A fifth of every class, by the
    /// hash of the path under the class folder, is held out. The fingerprint covers names, sizes, and the
    /// content of some files.
    V2,
}

impl Rules {
    /// The version of new runs.
    pub const NEWEST: Rules = Rules::V2;

    /// Returns the version's number, as a run's configuration holds it.
    pub fn number(self) -> u32 {
        match self {
            Rules::V1 => 1,
            Rules::V2 => 2,
        }
    }

    /// Returns the version with this number, or none if this release does not know it.
    pub fn of(number: u32) -> Option<Rules> {
        match number {
            1 => Some(Rules::V1),
            2 => Some(Rules::V2),
            _ => None,
        }
    }
}
