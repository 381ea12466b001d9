//! `worker train`: puts data, network and the replica's loop together.

use std::path::PathBuf;
use std::time::Duration;

use kernels::Isa;
use process::{Exit, RunFlags};
use protocol::Patience;

use crate::actor::Place;
use crate::data::Data;
use crate::googlenet::ImageWork;
use crate::replica::{self, ReplicaOptions};
use crate::threads::Threads;

/// Options of [`train`].
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// Address of the coordinator, "host:port".
    pub coordinator: String,
    /// What to train on: the same for every worker of a run.
    pub data: Data,
    /// What the run is expected to be; a difference is refused.
    pub flags: RunFlags,
    /// Threads that compute.
    pub threads: Threads,
    /// Threads that decode images.
    pub loader_threads: usize,
    /// Instruction set; `None`: the best of the machine.
    pub isa: Option<String>,
    /// Folder for `model.safetensors`, should this worker do the last evaluation.
    pub output: Option<PathBuf>,
    /// How long a data folder that is away is waited for.
    pub data_patience: Duration,
    /// Whether somebody has looked at the pictures already, and found them fit.
    pub looked_at: bool,
    /// How long a server that is out of reach, or not ready, is waited for.
    pub patience: Patience,
}

/// Takes part in a run until it ends or `shutdown` resolves.
///
/// [`Exit::Done`] when the run completed or this worker left it in good order, [`Exit::Diverged`],
/// [`Exit::Interrupted`] when the server was stopped.
///
/// # Errors
/// Data that cannot be used, a run that refuses this worker's network or data, a server that stays away.
pub async fn train(options: TrainOptions, shutdown: impl Future<Output = ()>) -> anyhow::Result<Exit> {
    let isa = isa(options.isa.as_deref())?;
    let work = ImageWork::new(&options, isa)?;
    let replica = ReplicaOptions {
        coordinator: options.coordinator,
        name: format!("{}/{}", host(), std::process::id()),
        way: options.patience.into(),
        place: Place::Thread,
    };
    replica::run(&work, &replica, shutdown).await
}

/// The instruction set of that name, or the best one.
pub(crate) fn isa(name: Option<&str>) -> anyhow::Result<Isa> {
    Ok(name.map_or_else(|| Ok(Isa::detect()), Isa::by_name)?)
}

/// The machine's name for the server's log.
fn host() -> String {
    let name = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    if name.trim().is_empty() { "worker".into() } else { name.trim().into() }
}
