//! The rules by which a folder is read as a data set, in versions.

/// A version of the rules that say which files of a folder are samples, which of them are put aside for validation, and
/// what a [`Fingerprint`](crate::Fingerprint) is made of.
///
/// A run keeps the version that it began with, because another one would give its samples other numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rules {
    /// Every file of a class folder that is not hidden is a sample. About a fifth of them, by the hash of the bare file
    /// name, is put aside. The fingerprint follows names only.
    V1,
    /// Files that are no pictures are passed over. A fifth of every class, by the hash of the path under the class
    /// folder, is put aside. The fingerprint follows names, sizes, and the content of a sample.
    V2,
}

impl Rules {
    /// The rules of new runs.
    pub const NEWEST: Rules = Rules::V2;

    /// The number of the version, as a run's configuration holds it.
    pub fn number(self) -> u32 {
        match self {
            Rules::V1 => 1,
            Rules::V2 => 2,
        }
    }

    /// The version of that number, if this release knows it.
    pub fn of(number: u32) -> Option<Rules> {
        match number {
            1 => Some(Rules::V1),
            2 => Some(Rules::V2),
            _ => None,
        }
    }
}
