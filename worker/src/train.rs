//! `worker train`: puts data, network and the replica's loop together.

use std::path::PathBuf;
use std::time::Duration;

use configuration::{Exit, RunFlags};

/// What a worker trains on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A folder of photographs.
    Folder(PathBuf),
    /// The set that the program draws itself.
    Drawn {
        /// Training images.
        images: usize,
        /// Validation images.
        validation: usize,
    },
}

impl Data {
    /// The drawn set as every process of a run uses it where no folder is named.
    pub const fn embedded() -> Data {
        Data::Drawn { images: 20_000, validation: 1_000 }
    }
}

/// Options of [`train`].
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// Address of the coordinator, "host:port".
    pub coordinator: String,
    /// What to train on: the same for every worker of a run.
    pub data: Data,
    /// What the run is expected to be; a difference is refused.
    pub flags: RunFlags,
    /// Threads that compute; `None`: all cores.
    pub threads: Option<usize>,
    /// Threads that decode images.
    pub loader_threads: usize,
    /// Instruction set; `None`: the best of the machine.
    pub isa: Option<String>,
    /// Folder for `model.safetensors`, should this worker do the last evaluation.
    pub output: Option<PathBuf>,
    /// How long an unreachable server is waited for.
    pub patience: Duration,
}

/// Takes part in a run until it ends or `shutdown` resolves.
///
/// [`Exit::Done`] when the run completed or this worker left it in good order, [`Exit::Diverged`],
/// [`Exit::Interrupted`] when the server was stopped.
///
/// # Errors
/// Data that cannot be used, a run that refuses this worker's network or data, a server that stays away.
pub async fn train(options: TrainOptions, shutdown: impl Future<Output = ()>) -> anyhow::Result<Exit> {
    let _ = (options, shutdown);
    anyhow::bail!("not written")
}
