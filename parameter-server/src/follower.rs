//! A process that hosts shards only: registers with the leader, restores what the leader names, serves until the
//! leader says that the run is over.

use std::{future::pending, sync::Arc, time::Duration};

use anyhow::Context;
use configuration::Exit;
use protocol::{CoordinatorClient, PROTOCOL_VERSION, Patience, RegisterRequest};
use tokio::net::TcpListener;

use crate::{
    server::{Options, open_shards},
    serving::Serving,
    snapshot,
};

pub(crate) async fn run(
    options: Options,
    listener: TcpListener,
    address: String,
    coordinator: &str,
    shutdown: impl Future<Output = ()> + Send,
) -> anyhow::Result<Exit> {
    let mut shutdown = std::pin::pin!(shutdown);
    let registration = async {
        let leader = CoordinatorClient::connect(coordinator, Patience::default()).await?;
        let request = RegisterRequest { protocol: PROTOCOL_VERSION, address, shards: options.shards };
        leader.register(request).await
    };
    let place = tokio::select! {
        place = registration => place.context("register with the leader")?,
        () = &mut shutdown => return Ok(Exit::Interrupted),
    };
    let _lock = snapshot::lock(&options.snapshots, &format!("shards-{}", place.first_shard))?;
    let (first, total, restore) = (place.first_shard, place.total_shards, place.restore);
    tracing::info!(
        "shards {first} to {} of {total}, restored from snapshot {restore:?}",
        first + options.shards - 1
    );
    let host = Arc::new(open_shards(&options, first, total, restore)?);
    let mut finished = host.finished();
    let mut serving = Serving::start(listener, None, host);

    let mut interrupted = false;
    let mut patience: Duration = Duration::MAX;
    loop {
        tokio::select! {
            _ = finished.wait_for(|finished| *finished) => break,
            failure = serving.failed() => return Err(failure),
            () = &mut shutdown, if !interrupted => {
                // The leader, which is stopped at the same time, still wants a snapshot of these shards.
                // Before it takes that, it waits for its workers.
                (interrupted, patience) = (true, 2 * options.timing.farewell);
                tracing::info!("stopping: waiting up to {patience:?} for the leader's last order");
            }
            () = sleep_or_never(patience) => break,
        }
    }
    serving.stop().await;
    Ok(if interrupted { Exit::Interrupted } else { Exit::Done })
}

async fn sleep_or_never(duration: Duration) {
    match duration {
        Duration::MAX => pending().await,
        duration => tokio::time::sleep(duration).await,
    }
}
