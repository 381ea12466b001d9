//! The reasons why tokens and certificates cannot be made, read or used.

use std::io;
use std::path::PathBuf;

/// Reasons why tokens and certificates cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The folder already holds a run's tokens, which are never overwritten.
    #[error(
        "folder {path} holds the tokens of a run already, which must not be lost while it goes on; name another \
         folder, or remove it first"
    )]
    Exists {
        /// Path of the folder.
        path: PathBuf,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {path}: {error}")]
    Write {
        /// Path of the file or folder.
        path: PathBuf,
        /// Error of the operating system.
        error: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        error: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path}: {reason}")]
    Unusable {
        /// Path of the file.
        path: PathBuf,
        /// Reason why no token can be read: what was expected and what was found, without any secret.
        reason: String,
    },
    /// An environment variable does not hold a token.
    #[error("{name}: {reason}")]
    Variable {
        /// Name of the variable.
        name: &'static str,
        /// Reason why no token can be read: what was expected and what was found, without any secret.
        reason: String,
    },
    /// The operating system has no randomness to give, of which secrets are made.
    #[error("the operating system gives no random bytes, of which secrets are made: {0}")]
    Random(io::Error),
    /// A certificate cannot be made.
    #[error("cannot make the certificate of run {run:?}: {reason}")]
    Certificate {
        /// Name of the run, the certificate's subject.
        run: String,
        /// Cause of the failure.
        reason: String,
    },
}
