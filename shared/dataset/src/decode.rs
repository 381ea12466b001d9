//! From the bytes of an image file to RGB pixels.

/// Why a sample could not be read. Such a sample is skipped and named; the run goes on.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct SampleError {
    /// The file.
    pub path: String,
    /// What was expected and found.
    pub reason: String,
}
