//! The choice of when the workers' gradients become updates.

use serde::Serialize;

/// The choice of when the gradients of many workers become updates of the parameters: each by itself as it
/// arrives, or all of them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Each gradient becomes an update of its own when it reaches the server. No worker waits for another, so
    /// that gradients are stale: others have updated the parameters since the worker fetched them.
    Asynchronous,
    /// One gradient of every worker is averaged into one update, for which all of them wait, as if one machine
    /// computed a minibatch as large as all of theirs.
    Synchronous,
}
