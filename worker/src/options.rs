//! What a worker is told before it joins a run.

use std::path::PathBuf;
use std::time::Duration;

use protocol::Patience;
use setup::{Data, Threads};

/// Options of [`train`](crate::train()).
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// Address of the coordinator, "host:port".
    pub coordinator: String,
    /// The training data, the same for every worker of a run.
    pub data: Data,
    /// Threads that compute.
    pub threads: Threads,
    /// Threads that decode images.
    pub loader_threads: usize,
    /// Instruction set; `None`: the best of the machine.
    pub isa: Option<String>,
    /// Folder for `model.safetensors`, should this worker do the last evaluation.
    pub output: Option<PathBuf>,
    /// Longest wait for a data folder that is away.
    pub data_patience: Duration,
    /// True if the launcher has looked at the images already, and found them fit for a run.
    pub looked_at: bool,
    /// Deadlines and pauses of calls to a server that is out of reach, or not ready.
    pub patience: Patience,
}
