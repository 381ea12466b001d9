//! The versions of the rules by which a folder is read as a data set.

/// A version of the rules by which a folder is read as a data set: which files are samples, which of them are
/// held out for validation, and what a [`Fingerprint`](crate::Fingerprint) covers.
///
/// A run keeps the version with which it began, since another version would number its samples differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rules {
    /// Version 1: every file of a class folder that is not hidden is a sample. Without a validation split,
    /// about a fifth of the samples, chosen by a hash of the bare file name, is held out for validation. The
    /// fingerprint covers names only.
    V1,
    /// Version 2: every file of a class folder is a sample unless it is hidden or its name tells that it is
    /// not an image. Without a validation split, a fifth of every class, chosen by a hash of the path within
    /// the class folder, is held out for validation. The fingerprint covers names, sizes, and the content of
    /// some files.
    V2,
}

impl Rules {
    /// The newest version of the rules, which new runs use.
    pub const NEWEST: Rules = Rules::V2;

    /// Returns the number of the version, 1 or 2, as a run's configuration holds it in `run.data_rules`.
    pub fn number(self) -> u32 {
        match self {
            Rules::V1 => 1,
            Rules::V2 => 2,
        }
    }

    /// Returns the version of the rules with this number, or `None` if this release has none.
    pub fn of(number: u32) -> Option<Rules> {
        match number {
            1 => Some(Rules::V1),
            2 => Some(Rules::V2),
            _ => None,
        }
    }
}
