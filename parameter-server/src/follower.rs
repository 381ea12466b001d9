//! A process that hosts shards only: registers with the leader, restores what the leader names, serves until the
//! leader says that the run is over.
//!
//! It registers again every few seconds. So a leader that was started anew finds the shards, which go back with it to the
//! snapshot that its run goes on from: whatever came behind that is done again, and a mixture of older and newer shards
//! would be nobody's parameters. And a process whose leader stays away notices.

use std::{future::pending, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use configuration::Exit;
use protocol::{
    ClientError, CoordinatorClient, Holding, Listener, PROTOCOL_VERSION, RegisterReply, RegisterRequest,
    Snapshot,
};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    WarmStart,
    server::{Options, Restore, open_shards, restored},
    serving::Serving,
    snapshot,
};

/// Shards of a server at most: what lists them all is kept in memory.
const MOST_SHARDS: u32 = 1 << 20;
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
    check(&place, options.shards)?;
    let RegisterReply { first_shard: first, total_shards: total, mut life, .. } = place;
    let _lock = snapshot::lock(&options.snapshots, &format!("shards-{first}"))?;
    let restore = match &place.restore {
        Some(_) if place.again => Restore::Newest,
        snapshot => where_the_run_goes_on(&options, first, snapshot.as_ref())?,
    };
    tracing::info!("shards {first} to {} of {total}, restored: {restore:?}", first + options.shards - 1);
    let warm = || options.flags.init_from.as_ref().map(|file| WarmStart::read(file.as_ref())).transpose();
    let at_start = if restore == Restore::Nothing { warm()? } else { None };
    let host = Arc::new(open_shards(&options, first, total, restore, at_start)?);
    let mut ended = host.ended();
    let mut serving = Serving::start(listener, None, host.clone());

    let (mut give_up, mut pause) = (None, REGISTER_EVERY);
    loop {
        tokio::select! {
            biased;
            _ = ended.wait_for(Option::is_some) => break,
            failure = serving.failed() => return Err(failure),
            () = &mut shutdown, if give_up.is_none() => {
                // The leader, which is stopped at the same time, still wants a snapshot of these shards.
                // Before it takes that, it waits for its workers.
                let patience = 2 * options.timing.farewell;
                give_up = Some(Instant::now() + patience);
                tracing::info!("stopping: waiting up to {patience:?} for the leader's last order");
            }
            () = until(give_up) => break,
            place = registrar.again(Holding { first_shard: first, life }, pause) => {
                let place = place.context("register with the leader again")?;
                check(&place, options.shards)?;
                pause = REGISTER_EVERY;
                if place.life != life {
                    let restore = where_the_run_goes_on(&options, first, place.restore.as_ref())?;
                    tracing::warn!("the leader was started anew; these shards go on with it: {restore:?}");
                    let at_start = if restore == Restore::Nothing { warm()? } else { None };
                    host.replace(restored(&options, first, total, restore, at_start)?);
                    life = place.life;
                    // Until the leader knows, nobody joins.
                    pause = Duration::ZERO;
                }
            }
        }
    }
    serving.stop().await;
    // The leader alone may have been told to stop: then this process is to come back with it.
    let interrupted = give_up.is_some() || *ended.borrow() == Some(true);
    Ok(if interrupted { Exit::Interrupted } else { Exit::Done })
}

/// Whether the leader gives this process's shards a place in its server, and names a file for each in its
/// snapshot.
fn check(place: &RegisterReply, shards: u32) -> anyhow::Result<()> {
    let &RegisterReply { first_shard: first, total_shards: total, .. } = place;
    let fits = first.checked_add(shards).is_some_and(|past| past <= total) && total <= MOST_SHARDS;
    ensure!(
        fits,
        "the leader's answer to a registration: expected a place for {shards} shards among at most {MOST_SHARDS}, found \
         one from shard {first} on among {total}; start leader and this process from one release"
    );
    if let Some(Snapshot { id, hashes }) = &place.restore {
        ensure!(
            hashes.len() == shards as usize,
            "the leader's answer to a registration: expected hashes of {shards} files of snapshot {id}, found {}; start \
             leader and this process from one release",
            hashes.len()
        );
    }
    Ok(())
}

/// Where shards begin that belong to a leader's run from the start of its life on: with the snapshot that it names, whose
/// files must be those that it knows, or at the start of the run.
fn where_the_run_goes_on(
    options: &Options,
    first: u32,
    snapshot: Option<&Snapshot>,
) -> anyhow::Result<Restore> {
    let Some(named) = snapshot else { return Ok(Restore::Nothing) };
    snapshot::check(&options.snapshots, first, named)
        .with_context(|| format!("go on from snapshot {} (--fresh at the leader starts anew)", named.id))?;
    Ok(Restore::Exactly(named.id))
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
        let request = RegisterRequest { protocol, address, shards, holds: None };
        let place = leader.register(request.clone()).await?;
        Ok((Registrar { leader, request }, place))
    }

    /// Once more, after a pause, with the shards that it holds.
    async fn again(&self, holds: Holding, pause: Duration) -> Result<RegisterReply, ClientError> {
        sleep(pause).await;
        self.leader.register(RegisterRequest { holds: Some(holds), ..self.request.clone() }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_does_not_fit_the_server_is_refused() {
        let place = |first_shard, total_shards, hashes: usize| RegisterReply {
            first_shard,
            total_shards,
            restore: Some(Snapshot { id: 5, hashes: vec!["5eed".into(); hashes] }),
            life: 1,
            again: false,
        };
        check(&place(2, 4, 2), 2).unwrap();
        check(&RegisterReply { restore: None, ..place(0, 2, 0) }, 2).unwrap();
        for (first, total) in [(3, 4), (u32::MAX, 4), (u32::MAX - 1, u32::MAX), (0, u32::MAX), (0, 0)] {
            let text = check(&place(first, total, 2), 2).unwrap_err().to_string();
            let found = format!("found one from shard {first} on among {total};");
            assert!(text.contains("expected a place for 2 shards") && text.contains(&found), "{text}");
        }
        let text = check(&place(2, 4, 1), 2).unwrap_err().to_string();
        assert!(text.contains("expected hashes of 2 files of snapshot 5, found 1;"), "{text}");
    }
}
