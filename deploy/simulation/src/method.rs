//! The methods by which the workers' gradients become updates.

use serde::Serialize;

/// A method of training with many workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Every worker pushes its gradient as soon as it is computed and does not wait for the others.
    Asynchronous,
    /// The gradients of all workers are averaged into one update, for which all workers wait.
    Synchronous,
}
