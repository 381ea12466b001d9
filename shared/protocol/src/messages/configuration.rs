//! A run's configuration on the wire: JSON of the structure of its file.

use settings::RunConfiguration;

use crate::fields::FieldError;

/// Returns a configuration as text.
pub(super) fn write(configuration: &RunConfiguration) -> String {
    serde_json::to_string(configuration).expect("a configuration has only strings for keys")
}

/// Reads a configuration, whose values are checked as those of a file are, since its sizes decide how much
/// memory is allocated.
pub(super) fn read(text: &str, message: &'static str) -> Result<RunConfiguration, FieldError> {
    let configuration: RunConfiguration = serde_json::from_str(text)
        .map_err(|error| FieldError::new(message, "configuration", "a run configuration as JSON", error))?;
    configuration
        .validate()
        .map_err(|error| FieldError::new(message, "configuration", "values in their ranges", error))?;
    Ok(configuration)
}
