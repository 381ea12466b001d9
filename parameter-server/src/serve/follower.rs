//! A follower: a process that only hosts shards. It registers with the leader, restores its shards from the
//! snapshot that the leader names, and serves them until the leader says that the run is over.
//!
//! A follower registers again every few seconds. A leader that was restarted thereby finds the shards again,
//! and they return with it to the snapshot that its run resumes from: the updates made after that snapshot
//! are redone, and a mixture of older and newer shards would not be the parameters of any moment of the run.
//! Registration also tells a follower the run's update rule, and lets it notice that its leader is gone.

use std::{future::pending, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use process::Exit;
use protocol::{
    Access, ClientError, CoordinatorCalls as _, CoordinatorClient, Holding, Listener, PROTOCOL_VERSION,
    RegisterReply, RegisterRequest, Snapshot, until_ready,
};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    Options,
    restore::{Restore, open_shards, restore_point, restored_shards},
    serving::Serving,
    watching,
};
use crate::{
    ShardHost,
    shard::WarmStart,
    snapshot::{self, Home},
};

/// Largest number of shards of a server, since lists of all shards are kept in memory.
const MOST_SHARDS: u32 = 1 << 20;
/// Time between two registrations.
const REGISTER_EVERY: Duration = Duration::from_secs(2);
/// Time between two registrations while the run's update rule is not known, for which workers wait, and while this
/// process waits for its last snapshot.
const REGISTER_SOON: Duration = Duration::from_millis(100);

pub(crate) async fn run(
    options: Options,
    listener: impl Listener,
    address: String,
    coordinator: &str,
    shutdown: impl Future<Output = ()> + Send,
) -> anyhow::Result<Exit> {
    let mut shutdown = std::pin::pin!(shutdown);
    let connecting = Registrar::connect(&options, address, coordinator);
    let (registrar, access, reply) = tokio::select! {
        registered = connecting => registered.context("register with the leader")?,
        () = &mut shutdown => return Ok(Exit::Interrupted),
    };
    check(&reply, options.shards)?;
    let RegisterReply { first_shard: first, total_shards: total, mut life, .. } = reply;
    let home = Home::open(&options.snapshots, &format!("shards-{first}"))?;
    snapshot::claim(&options.snapshots, life.run)?;
    let restore = match &reply.restore {
        Some(_) if reply.again => Restore::Newest,
        snapshot => restore_point(&options, first, snapshot.as_ref())?,
    };
    tracing::info!("shards {first} to {} of {total}, restored: {restore:?}", first + options.shards - 1);
    let warm = || options.flags.init_from.as_ref().map(|file| WarmStart::read(file.as_ref())).transpose();
    let at_start = if restore == Restore::Nothing { warm()? } else { None };
    let host = Arc::new(open_shards(&options, life.run, first, total, restore, at_start, reply.generation)?);
    host.live(life);
    let mut pause = begin(&host, &reply)?;
    let mut ended = host.ended();
    let _site = watching::of_follower(options.http, host.clone()).await?;
    let mut serving = Serving::start(listener, access, None, host.clone());

    let mut give_up = None;
    let mut last = LastSnapshot::Unwanted;
    loop {
        tokio::select! {
            biased;
            _ = ended.wait_for(Option::is_some) => break,
            failure = serving.failed() => return Err(failure),
            () = &mut shutdown, if give_up.is_none() => {
                // A leader that is stopped at the same time orders a snapshot of these shards after it has waited for
                // its workers; one that goes on is asked for one.
                let patience = 2 * options.timing.farewell;
                give_up = Some(Instant::now() + patience);
                (last, pause) = (LastSnapshot::Wanted, Duration::ZERO);
                tracing::info!("stopping: waiting up to {patience:?} for a last snapshot");
            }
            () = until(give_up) => break,
            reply = registrar.register_again(Holding { first_shard: first, life }, last.is_wanted(), pause) => {
                let reply = match reply {
                    // One that is gone orders nothing any more.
                    Err(error) if give_up.is_some() => {
                        tracing::warn!("no last snapshot: {error}");
                        break;
                    }
                    reply => reply.context("register with the leader again")?,
                };
                check(&reply, options.shards)?;
                last = last.after(&reply);
                if last == LastSnapshot::Done {
                    break;
                }
                let of_another_life = reply.life != life;
                if of_another_life {
                    // Nobody pushes to these shards any more while they go back.
                    host.live(reply.life);
                    snapshot::claim(&options.snapshots, reply.life.run)?;
                    let restore = restore_point(&options, first, reply.restore.as_ref())?;
                    let what = match reply.life.run == life.run {
                        false => "has another run",
                        true if reply.life.count == life.count => "begins the run again with other data",
                        true => "was started anew",
                    };
                    tracing::warn!("the leader {what}; these shards go on with it: {restore:?}");
                    let at_start = if restore == Restore::Nothing { warm()? } else { None };
                    let (run, after) = (reply.life.run, reply.generation);
                    host.replace(restored_shards(&options, run, first, total, restore, at_start, after)?);
                    life = reply.life;
                }
                if let Err(error) = home.keep(life.run) {
                    tracing::warn!("snapshots of these shards cannot be kept: {error}");
                }
                pause = begin(&host, &reply)?;
                if last == LastSnapshot::Ordered {
                    pause = REGISTER_SOON;
                }
                if of_another_life {
                    // The leader lets no worker join before it knows that the shards went back.
                    pause = Duration::ZERO;
                }
            }
        }
    }
    serving.stop().await;
    // If only the leader was told to stop, this process ends as interrupted too, so that it is started again
    // with it.
    let interrupted = give_up.is_some() || *ended.borrow() == Some(true);
    tracing::info!("{}", if interrupted { "stopped; the same command goes on" } else { "finished" });
    Ok(if interrupted { Exit::Interrupted } else { Exit::Done })
}

/// The snapshot that a process which is to stop asks for, so that nothing is lost of what its shards have learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastSnapshot {
    Unwanted,
    Wanted,
    Ordered,
    Done,
}

impl LastSnapshot {
    fn is_wanted(self) -> bool {
        self == LastSnapshot::Wanted
    }

    /// Returns what becomes of it by a reply of the leader. One that has nothing to keep orders none.
    fn after(self, reply: &RegisterReply) -> LastSnapshot {
        match (self, reply.snapshot_ordered) {
            (LastSnapshot::Unwanted, _) => LastSnapshot::Unwanted,
            (_, true) => LastSnapshot::Ordered,
            (_, false) => LastSnapshot::Done,
        }
    }
}

/// Gives the roster to the shards, and the run's update rule if the leader knows it, and tells them which
/// snapshot is complete; returns the time until the next registration.
fn begin(host: &ShardHost, reply: &RegisterReply) -> anyhow::Result<Duration> {
    host.admit(&reply.roster);
    if let Some(snapshot) = &reply.restore {
        host.completed(snapshot.id);
    }
    let Some(rule) = &reply.rule else { return Ok(REGISTER_SOON) };
    host.begin(rule).context("take over the run's update rule from the leader")?;
    Ok(REGISTER_EVERY)
}

/// Checks that the leader's reply numbers this process's shards within its server and names one file of its
/// snapshot for each of them.
fn check(reply: &RegisterReply, shards: u32) -> anyhow::Result<()> {
    let &RegisterReply { first_shard: first, total_shards: total, .. } = reply;
    let fits = first.checked_add(shards).is_some_and(|past| past <= total) && total <= MOST_SHARDS;
    ensure!(
        fits,
        "the leader's answer to a registration: expected a place for {shards} shards among at most {MOST_SHARDS}, found \
         one from shard {first} on among {total}; start leader and this process from one release"
    );
    if let Some(Snapshot { id, hashes }) = &reply.restore {
        ensure!(
            hashes.len() == shards as usize,
            "the leader's answer to a registration: expected hashes of {shards} files of snapshot {id}, found {}; start \
             leader and this process from one release",
            hashes.len()
        );
    }
    Ok(())
}

/// Waits for a deadline, or forever if there is none.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// The registration of this process with the leader.
struct Registrar {
    leader: CoordinatorClient,
    request: RegisterRequest,
}

impl Registrar {
    /// Connects to the leader, asks it who may call this process, and registers for the first time.
    async fn connect(
        options: &Options,
        address: String,
        coordinator: &str,
    ) -> anyhow::Result<(Registrar, Access, RegisterReply)> {
        let connector = options.door.to_leader(options.connector.clone()).await?;
        let leader = CoordinatorClient::connect(coordinator, connector).await?;
        let access = options.door.of_follower(&leader).await?;
        let (protocol, shards) = (PROTOCOL_VERSION, options.shards);
        let files = snapshot::held(&options.snapshots)?;
        let request = RegisterRequest { protocol, address, shards, holds: None, files, stopping: false };
        let patience = options.connector.patience.give_up_after;
        let reply = until_ready(patience, || leader.register(request.clone())).await?;
        Ok((Registrar { leader, request }, access, reply))
    }

    /// Registers again after a pause, naming the shards that this process holds, and whether it is `stopping` and wants a
    /// snapshot.
    async fn register_again(
        &self,
        holds: Holding,
        stopping: bool,
        pause: Duration,
    ) -> Result<RegisterReply, ClientError> {
        sleep(pause).await;
        self.leader.register(RegisterRequest { holds: Some(holds), stopping, ..self.request.clone() }).await
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Life, Roster};

    use super::*;

    #[test]
    fn a_reply_that_does_not_fit_the_server_is_refused() {
        let reply = |first_shard, total_shards, hashes: usize| RegisterReply {
            first_shard,
            total_shards,
            restore: Some(Snapshot { id: 5, hashes: vec!["5eed".into(); hashes] }),
            life: Life::default(),
            again: false,
            rule: None,
            roster: Roster::default(),
            generation: 0,
            snapshot_ordered: false,
        };
        check(&reply(2, 4, 2), 2).unwrap();
        check(&RegisterReply { restore: None, ..reply(0, 2, 0) }, 2).unwrap();
        for (first, total) in [(3, 4), (u32::MAX, 4), (u32::MAX - 1, u32::MAX), (0, u32::MAX), (0, 0)] {
            let text = check(&reply(first, total, 2), 2).unwrap_err().to_string();
            let found = format!("found one from shard {first} on among {total};");
            assert!(text.contains("expected a place for 2 shards") && text.contains(&found), "{text}");
        }
        let text = check(&reply(2, 4, 1), 2).unwrap_err().to_string();
        assert!(text.contains("expected hashes of 2 files of snapshot 5, found 1;"), "{text}");
    }
}
