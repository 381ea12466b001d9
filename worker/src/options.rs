//! The options of a worker.

use std::time::Duration;

use process::TokenFlags;
use protocol::Patience;
use setup::{Data, Threads};

/// Default of [`TrainOptions::picture_cache`].
pub const PICTURE_CACHE: usize = 512 << 20;

/// Options of [`train`](crate::train()), which runs one worker.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// Address of the coordinator, the server process that admits workers to the run and gives them work:
    /// "host:port".
    pub coordinator: String,
    /// Name of this worker in the server's log; `None` means that of the machine and the number of the process.
    pub name: Option<String>,
    /// The images to train and to evaluate on; they must be the same for every worker of a run. `None` means those
    /// that the server lends, or the synthetic set if it lends none.
    pub data: Option<Data>,
    /// Most bytes of lent images that the worker keeps in its memory.
    pub picture_cache: usize,
    /// Number of threads that compute, and the CPUs on which they run.
    pub threads: Threads,
    /// Number of threads that decode images.
    pub loader_threads: usize,
    /// Name of the instruction set that computes, such as `avx2`; `None` means the best of the machine.
    pub isa: Option<String>,
    /// Longest time to wait for a data folder that has become unavailable, as a network disk can; then the
    /// worker leaves the run with an error.
    pub data_patience: Duration,
    /// Whether the process that started this worker has already inspected the images and found them suitable
    /// for a run, so that the worker does not inspect them again.
    pub looked_at: bool,
    /// Flags that name the token by which the server lets this worker in.
    pub token: TokenFlags,
    /// Deadlines of calls to the server, pauses between attempts, and the time after which to give up on a
    /// server that cannot be reached or is not ready.
    pub patience: Patience,
    /// Address, such as "127.0.0.1:9101", on which to serve the worker's metrics by HTTP; `None` means on none.
    pub http: Option<String>,
}
