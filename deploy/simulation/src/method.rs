//! How the workers' gradients become updates.

use serde::Serialize;

/// A way to train with many workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Every worker pushes when it is done and waits for nobody.
    Asynchronous,
    /// All workers' gradients are averaged into one update, for which all wait.
    Synchronous,
}
