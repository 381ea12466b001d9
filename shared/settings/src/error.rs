//! The errors of a configuration.

/// Reasons why the configuration of a run cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// A value is not of the kind that its key requires, or outside the range that the key allows.
    #[error("configuration key {key}: found {found}, expected {expected}")]
    Value {
        /// Name of the key with its section, such as "run.batch".
        key: &'static str,
        /// The value found, as text.
        found: String,
        /// Description of the values that are allowed.
        expected: String,
    },
    /// There is no key of the given name in a run's configuration.
    #[error("configuration key {found} is not known; expected one of {known}")]
    Key {
        /// Name of the key that was given.
        found: String,
        /// Names of the keys in the same section, or of all keys if the configuration has no such section.
        known: String,
    },
    /// There is no recipe (a named configuration to start from) of the given name.
    #[error("recipe {found:?} is not known; expected one of {known}")]
    Recipe {
        /// The name that was given.
        found: String,
        /// The names of all recipes.
        known: String,
    },
    /// A configuration file cannot be read.
    #[error("cannot read configuration file {path}: {error}")]
    Read {
        /// Path of the configuration file.
        path: String,
        /// Error of the system.
        error: std::io::Error,
    },
    /// A configuration file is not valid: its syntax is wrong, a key is unknown, or a value is of another
    /// kind or out of its range.
    #[error("configuration file {path}: {text}")]
    File {
        /// Path of the configuration file.
        path: String,
        /// Description of the fault, with its line and key.
        text: String,
    },
}
