//! Work that takes long, away from the threads that serve the network.

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::{JoinError, spawn_blocking},
};

/// Runs work that takes long on a thread of its own, so that it holds up no call. On a runtime of one thread,
/// as that of a simulation, it runs in place: there everything happens in one order.
///
/// # Errors
/// Work that panicked on its thread.
///
/// # Panics
/// If it is called outside of a tokio runtime.
pub async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => Ok(work()),
        _ => spawn_blocking(work).await,
    }
}
