//! The error of the system about a file or folder that cannot be read.

use std::fmt;
use std::io::{self, ErrorKind};

/// An error of the system about a file or folder that cannot be read; if a permission is missing, its text
/// also names the user who lacks it.
///
/// In a container, photographs often belong to another user than the program runs as.
#[derive(Debug)]
pub struct Refusal(io::Error);

impl Refusal {
    /// Returns the kind of the system's error, such as [`ErrorKind::PermissionDenied`].
    pub fn kind(&self) -> ErrorKind {
        self.0.kind()
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal(error)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        match (self.kind(), user()) {
            (ErrorKind::PermissionDenied, Some(user)) => write!(f, ", user {user} may not read it"),
            _ => Ok(()),
        }
    }
}

/// Returns the id of the user as whom the program runs, on systems that show processes as files.
#[cfg(unix)]
fn user() -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").ok().map(|process| process.uid())
}

#[cfg(not(unix))]
fn user() -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_permission_is_said_to_be_whose() {
        let refusal = Refusal::from(io::Error::from(ErrorKind::PermissionDenied)).to_string();
        assert!(refusal.starts_with("permission denied"), "{refusal}");
        assert_eq!(refusal.ends_with(" may not read it"), user().is_some(), "{refusal}");
        let other = io::Error::from(ErrorKind::NotFound);
        assert_eq!(Refusal::from(io::Error::from(ErrorKind::NotFound)).to_string(), other.to_string());
    }
}
