//! Random numbers that nobody can guess: the ids of runs, of the server's lives, and of joins.

use protocol::RunId;

/// Returns a random number from the operating system.
///
/// # Panics
/// If the operating system has no source of randomness.
pub(crate) fn number() -> u64 {
    u64::from_le_bytes(access::random_bytes().expect("the operating system gives random numbers"))
}

/// Draws the id of a new run.
pub(crate) fn run_id() -> RunId {
    RunId(u128::from(number()) << 64 | u128::from(number()))
}
