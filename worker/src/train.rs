//! `worker train`: puts data, network and the replica's loop together.

use std::path::PathBuf;
use std::time::Duration;

use process::Exit;
use protocol::Patience;
use setup::{Data, Threads, isa};

use crate::actor::Place;
use crate::image_work::ImageWork;
use crate::replica::{self, ReplicaOptions};

/// Options of [`train`].
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// Address of the coordinator, "host:port".
    pub coordinator: String,
    /// What to train on: the same for every worker of a run.
    pub data: Data,
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
        connector: options.patience.into(),
        place: Place::Thread,
    };
    replica::run(&work, &replica, shutdown).await
}

/// The machine's name for the server's log.
fn host() -> String {
    let name = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    if name.trim().is_empty() { "worker".into() } else { name.trim().into() }
}
