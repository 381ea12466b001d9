//! Long-running work, kept off the threads that serve the network.

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::{JoinError, spawn_blocking},
};

/// Runs long-running work on a thread of its own, so that it delays no call. On a single-threaded runtime,
/// such as that of a simulation, the work runs in place, which keeps the order of events deterministic.
///
/// # Errors
/// If the work panics on its thread.
///
/// # Panics
/// If the function is called outside of a tokio runtime.
pub async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => Ok(work()),
        _ => spawn_blocking(work).await,
    }
}
