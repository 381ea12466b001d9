//! A process that hosts shards only: registers with the leader, restores what the leader names, serves until the
//! leader says that the run is over.
//!
//! It registers again every few seconds. So a leader that was started anew finds the shards that went on without it,
//! and a process whose leader stays away notices.

use std::{future::pending, sync::Arc, time::Duration};

use anyhow::Context;
use configuration::Exit;
use protocol::{ClientError, CoordinatorClient, Listener, PROTOCOL_VERSION, RegisterReply, RegisterRequest};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    WarmStart,
    server::{Options, Restore, open_shards, restored},
    serving::Serving,
    snapshot,
};

/// Time between two registrations.
const REGISTER_EVERY: Duration = Duration::from_secs(2);

pub(crate) async fn run(
    options: Options,
    listener: impl Listener,
    address: String,
    coordinator: &str,
    shutdown: impl Future<Output = ()> + Send,
) -> anyhow::Result<Exit> {
    let mut shutdown = std::pin::pin!(shutdown);
    let connecting = Registrar::connect(&options, address, coordinator);
    let (registrar, place) = tokio::select! {
        registered = connecting => registered.context("register with the leader")?,
        () = &mut shutdown => return Ok(Exit::Interrupted),
    };
    let RegisterReply { first_shard: first, total_shards: total, mut life, .. } = place;
    let _lock = snapshot::lock(&options.snapshots, &format!("shards-{first}"))?;
    let restore = match place.restore {
        None => Restore::Nothing,
        Some(_) if place.again => Restore::Newest,
        Some(id) => Restore::Exactly(id),
    };
    tracing::info!("shards {first} to {} of {total}, restored: {restore:?}", first + options.shards - 1);
    let warm = || options.flags.init_from.as_ref().map(|file| WarmStart::read(file.as_ref())).transpose();
    let at_start = if restore == Restore::Nothing { warm()? } else { None };
    let host = Arc::new(open_shards(&options, first, total, restore, at_start)?);
    let mut finished = host.finished();
    let mut serving = Serving::start(listener, None, host.clone());

    let mut give_up = None;
    loop {
        tokio::select! {
            biased;
            _ = finished.wait_for(|finished| *finished) => break,
            failure = serving.failed() => return Err(failure),
            () = &mut shutdown, if give_up.is_none() => {
                // The leader, which is stopped at the same time, still wants a snapshot of these shards.
                // Before it takes that, it waits for its workers.
                let patience = 2 * options.timing.farewell;
                give_up = Some(Instant::now() + patience);
                tracing::info!("stopping: waiting up to {patience:?} for the leader's last order");
            }
            () = until(give_up) => break,
            place = registrar.again(first) => {
                let place = place.context("register with the leader again")?;
                if place.life != life && place.restore.is_none() {
                    tracing::warn!("the leader begins the run anew, and so do these shards");
                    host.replace(restored(&options, first, total, Restore::Nothing, warm()?)?);
                }
                life = place.life;
            }
        }
    }
    serving.stop().await;
    Ok(if give_up.is_some() { Exit::Interrupted } else { Exit::Done })
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Registers this process.
struct Registrar {
    leader: CoordinatorClient,
    request: RegisterRequest,
}

impl Registrar {
    /// For the first time.
    async fn connect(
        options: &Options,
        address: String,
        coordinator: &str,
    ) -> Result<(Registrar, RegisterReply), ClientError> {
        let leader = CoordinatorClient::connect(coordinator, options.way.clone()).await?;
        let (protocol, shards) = (PROTOCOL_VERSION, options.shards);
        let request = RegisterRequest { protocol, address, shards, first_shard: None };
        let place = leader.register(request.clone()).await?;
        Ok((Registrar { leader, request }, place))
    }

    /// Once more, in a while, with the shards that it holds.
    async fn again(&self, first_shard: u32) -> Result<RegisterReply, ClientError> {
        sleep(REGISTER_EVERY).await;
        self.leader.register(RegisterRequest { first_shard: Some(first_shard), ..self.request.clone() }).await
    }
}
