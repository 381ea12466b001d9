//! Random bytes that nobody can guess.

use std::io;

use crate::AccessError;

/// Returns `BYTES` random bytes of the operating system.
///
/// # Errors
/// [`AccessError::Random`] if the operating system has none.
pub fn random_bytes<const BYTES: usize>() -> Result<[u8; BYTES], AccessError> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| AccessError::Random(io::Error::other(error)))?;
    Ok(bytes)
}
