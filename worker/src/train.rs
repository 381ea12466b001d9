//! `worker train`: puts data, network and the replica's loop together.

use process::Exit;
use setup::isa;

use crate::actor::Place;
use crate::image_work::ImageWork;
use crate::options::TrainOptions;
use crate::replica::{self, ReplicaOptions};

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

/// Returns the machine's name for the server's log.
fn host() -> String {
    let name = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    if name.trim().is_empty() { "worker".into() } else { name.trim().into() }
}
