//! Where work that takes long is done.

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::{JoinError, spawn_blocking},
};

/// Does what takes long away from the threads that serve the network. On a runtime of one thread, as a
/// simulation's is, it is done in place: there everything is to happen in one order.
///
/// # Errors
/// The work panicked elsewhere.
pub async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => Ok(work()),
        _ => spawn_blocking(work).await,
    }
}
