//! The command `worker train`: connects the image workload to the loop of a replica.

use process::{Exit, logs::host};
use protocol::Connector;
use setup::isa;

use crate::actor::Place;
use crate::image_work::ImageWork;
use crate::options::TrainOptions;
use crate::replica::{self, ReplicaOptions};

/// Takes part in a run until the run ends or `shutdown` resolves.
///
/// Returns [`Exit::Done`] if the run completed or this worker left it as asked, [`Exit::Diverged`] if
/// training diverged, and [`Exit::Interrupted`] if the server was stopped.
///
/// # Errors
/// If the instruction set is unknown or the machine lacks it, if the data or the token cannot be used, if
/// the server refuses this worker or cannot be reached, or if the run failed.
pub async fn train(options: TrainOptions, shutdown: impl Future<Output = ()>) -> anyhow::Result<Exit> {
    let isa = isa(options.isa.as_deref())?;
    let work = ImageWork::new(&options, isa)?;
    let token = options.token.wait().await?;
    let replica = ReplicaOptions {
        coordinator: options.coordinator,
        name: options.name.unwrap_or_else(own_name),
        connector: Connector { token, ..options.patience.into() },
        place: Place::Thread,
    };
    replica::run(&work, &replica, shutdown).await
}

/// Returns a name of this process for the server's log: its machine and its number there.
fn own_name() -> String {
    format!("{}/{}", host().unwrap_or_else(|| "worker".into()), std::process::id())
}
