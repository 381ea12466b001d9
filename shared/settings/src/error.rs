//! What is wrong with a configuration.

/// Reasons why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// A value of another kind, or out of its range.
    #[error("configuration key {key}: found {found}, expected {expected}")]
    Value {
        /// The key, dotted.
        key: &'static str,
        /// The value found.
        found: String,
        /// The values that are allowed.
        expected: String,
    },
    /// A key that no configuration has.
    #[error("configuration key {found} is not known; expected one of {known}")]
    Key {
        /// The key given.
        found: String,
        /// The keys that are nearest to it.
        known: String,
    },
    /// The name of no recipe.
    #[error("recipe {found:?} is not known; expected one of {known}")]
    Recipe {
        /// The name given.
        found: String,
        /// The names of all recipes.
        known: String,
    },
    /// A file that cannot be read.
    #[error("cannot read configuration file {path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// The system's reason.
        error: std::io::Error,
    },
    /// A file that is not what it should be: syntax, an unknown key, a value of another kind or out of its
    /// range.
    #[error("configuration file {path}: {text}")]
    File {
        /// The file.
        path: String,
        /// The fault, with its line and key.
        text: String,
    },
}
