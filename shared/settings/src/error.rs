//! The errors of a configuration.

/// Reasons why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// A value is not of the kind that its key requires, or outside the range that the key allows.
    #[error("configuration key {key}: found {found}, expected {expected}")]
    Value {
        /// Name of the key with its section, such as "run.batch".
        key: &'static str,
        /// The value found.
        found: String,
        /// The values that are allowed.
        expected: String,
    },
    /// A key does not exist.
    #[error("configuration key {found} is not known; expected one of {known}")]
    Key {
        /// The key given.
        found: String,
        /// The keys of the same section, or all keys if there is no such section.
        known: String,
    },
    /// A recipe does not exist.
    #[error("recipe {found:?} is not known; expected one of {known}")]
    Recipe {
        /// The name given.
        found: String,
        /// The names of all recipes.
        known: String,
    },
    /// A configuration file cannot be read.
    #[error("cannot read configuration file {path}: {error}")]
    Read {
        /// Path of the file.
        path: String,
        /// Error of the system.
        error: std::io::Error,
    },
    /// A configuration file is not valid: its syntax is wrong, a key is unknown, or a value is of another
    /// kind or out of its range.
    #[error("configuration file {path}: {text}")]
    File {
        /// Path of the file.
        path: String,
        /// The fault, with its line and key.
        text: String,
    },
}
