//! Which exit code an error means.

use configuration::{ConfigurationError, Exit};

/// What the shell is told about `error`: 2 for a flag or key that is wrong by itself, else 3.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    let usage = error.chain().any(|cause| cause.is::<ConfigurationError>());
    if usage { Exit::Usage } else { Exit::BadInput }
}
