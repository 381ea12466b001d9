//! The versions of the rules by which a folder is read as a data set.

/// A version of the rules by which a folder is read as a data set: which files are samples, which of them are
/// held out for validation, and what a [`Fingerprint`](crate::Fingerprint) covers.
///
/// A run keeps the version with which it began, since another version would number its samples differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rules {
    /// Version 1: every file of a class folder that is not hidden is a sample. About a fifth of them, by the
    /// hash of the bare file name, is held out. The fingerprint covers names only.
    V1,
    /// Version 2: files whose names tell that they are not images are passed over. A fifth of every class, by
    /// the hash of the path within the class folder, is held out. The fingerprint covers names, sizes, and
    /// the content of some files.
    V2,
}

impl Rules {
    /// The newest version, which new runs use.
    pub const NEWEST: Rules = Rules::V2;

    /// Returns the number of the version, as a run's configuration holds it.
    pub fn number(self) -> u32 {
        match self {
            Rules::V1 => 1,
            Rules::V2 => 2,
        }
    }

    /// Returns the version with this number, or `None` if this release does not know it.
    pub fn of(number: u32) -> Option<Rules> {
        match number {
            1 => Some(Rules::V1),
            2 => Some(Rules::V2),
            _ => None,
        }
    }
}
