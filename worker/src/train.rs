//! The command `worker train`: connects the image workload to the loop of a replica.

use std::sync::Arc;

use anyhow::Context;
use process::{Exit, FlagError, logs::host};
use protocol::Connector;
use setup::isa;
use web::Site;

use crate::actor::Place;
use crate::image_work::ImageWork;
use crate::options::TrainOptions;
use crate::replica::{self, ReplicaOptions};
use crate::telemetry::Telemetry;

/// Takes part in a run until the run ends or `shutdown` resolves.
///
/// Returns [`Exit::Done`] if the run completed or this worker left it as asked, [`Exit::Diverged`] if
/// training diverged, and [`Exit::Interrupted`] if the server was stopped.
///
/// # Errors
/// If the instruction set is unknown or the machine lacks it, if the data or the token cannot be used, if
/// the address for the worker's metrics cannot be listened on, if the server
/// refuses this worker or cannot be reached, or if the run failed.
pub async fn train(options: TrainOptions, shutdown: impl Future<Output = ()>) -> anyhow::Result<Exit> {
    let isa = isa(options.isa.as_deref())?;
    let work = ImageWork::new(&options, isa)?;
    let token = options.token.wait().await?;
    let (_site, telemetry) = match &options.http {
        None => (None, None),
        Some(address) => {
            let telemetry = Arc::new(Telemetry::default());
            let site = serve(address, token.is_none(), telemetry.clone()).await?;
            (Some(site), Some(telemetry))
        }
    };
    let replica = ReplicaOptions {
        coordinator: options.coordinator,
        name: options.name.unwrap_or_else(own_name),
        connector: Connector { token, ..options.patience.into() },
        place: Place::Thread,
        telemetry,
    };
    replica::run(&work, &replica, shutdown).await
}

/// Serves the worker's numbers on `address`, which only a run in which `everybody` is let in lets other machines reach.
async fn serve(address: &str, everybody: bool, telemetry: Arc<Telemetry>) -> anyhow::Result<Site> {
    let bound =
        web::check_address(address, everybody).map_err(|text| FlagError(format!("--http: {text}")))?;
    let site = Site::serve(bound, vec![telemetry.page()]).await;
    let site = site.with_context(|| format!("cannot listen on {bound}; choose another with --http"))?;
    tracing::info!("to be looked at by Prometheus: http://{}/metrics", site.address());
    Ok(site)
}

/// Returns a name of this process for the server's log: its machine and its number there.
fn own_name() -> String {
    format!("{}/{}", host().unwrap_or_else(|| "worker".into()), std::process::id())
}
