//! The leader: the server's first process, which hosts the coordinator and the first shards, takes snapshots,
//! writes metrics, and brings the run to an orderly end.

mod snapshots;

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use anyhow::Context;
use process::Exit;
use protocol::{Ending, Life, Listener, RunId, ShardOrder, run_blocking};
use settings::RunConfiguration;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    Options, Timing,
    models::Models,
    opening::Opening,
    reach,
    remotes::Remotes,
    restore::{Restore, open_shards},
    serving::Serving,
    watching,
};
use crate::{
    Coordinator, ShardHost,
    coordinator::{SavedRun, Settings},
    random,
    snapshot::{self, Home, Manifest},
    telemetry::{EventFile, Line, MetricsFile, Outputs},
};

/// Time between two ticks of the coordinator.
const TICK: Duration = Duration::from_millis(100);
/// Time between two requests for the counters of other processes.
const POLL: Duration = Duration::from_secs(1);
/// Time that workers have for their last reports once all were told that the run has ended.
const LAST_REPORTS: Duration = Duration::from_secs(1);
/// Time that workers have for their last reports in an interrupted run, in which they finish their minibatch
/// first.
const LAST_MINIBATCH: Duration = Duration::from_secs(6);
/// Time within which workers that were fenced as training diverged have joined again.
const FENCED_RETURN: Duration = Duration::from_secs(3);
/// Longest time that a process may take to tell its shards' ledgers at the end of a run.
const LAST_LEDGER: Duration = Duration::from_secs(2);

/// Runs the leader until the run ends or `shutdown` resolves.
pub(crate) async fn run(
    options: Options,
    listener: impl Listener,
    address: String,
    shutdown: impl Future<Output = ()> + Send,
) -> anyhow::Result<Exit> {
    let folder = options.snapshots.clone();
    let home = Home::open(&folder, "leader")?;
    let Some(opening) = Opening::find(&options)? else { return Ok(Exit::Done) };
    let Opening { configuration, snapshot: found, warm } = opening;
    let total = options.shards * options.processes;
    let life = next_life(&folder, found.as_ref(), options.fresh)?;
    snapshot::claim(&folder, life.run)?;
    let own_address = address.clone();
    let settings = Settings {
        configuration,
        processes: options.processes,
        shards: options.shards,
        address,
        lease_time: options.timing.lease,
        life,
    };
    tracing::info!(
        "settings of the run: {}",
        serde_json::to_string(&settings.configuration).expect("a configuration is plain data")
    );
    let pictures = options.lend.as_ref().map(|lend| lend.open(&settings.configuration)).transpose()?;
    let outputs = outputs(&options, found.as_ref(), &settings.configuration)?;
    let restore = found.as_ref().map_or(Restore::Nothing, |manifest| Restore::Exactly(manifest.id));
    let host = Arc::new(open_shards(&options, life.run, 0, total, restore, warm, 0)?);
    let kept = found.as_ref().map(|manifest| manifest.run.clone());
    let resumed = found.map(|found| (found.snapshot(), found.run));
    let coordinator = Coordinator::new(settings, host.clone(), resumed)
        .warned_by(options.warnings.clone())
        .lending(pictures);
    let coordinator = Arc::new(coordinator);
    if let Some(rule) = coordinator.rule() {
        host.begin(&rule).context("go on from the snapshot's shards (--fresh starts anew)")?;
    }
    let (access, connector) = options.door.of_leader(options.connector)?;
    let own_connector = connector.clone();
    let remotes = Arc::new(Remotes::new(connector));
    let models = options.output.clone();
    let models = models.map(|output| Models::new(output, coordinator.clone(), host.clone(), remotes.clone()));
    let leader = Leader {
        coordinator: coordinator.clone(),
        host: host.clone(),
        remotes,
        models,
        home: Arc::new(home),
        renewed: Arc::default(),
        kept: Arc::new(Mutex::new(kept)),
        timing: options.timing,
    };
    if options.processes > 1 {
        tracing::info!("waiting for {} other processes to register", options.processes - 1);
    }
    let _site = watching::of_leader(options.http, coordinator.clone(), &access).await?;
    if options.advertise.is_some() {
        tokio::spawn(reach::try_own_address(own_address, own_connector, life.run));
    }
    let serving = Serving::start(listener, access, Some(coordinator), host);
    leader.lead(serving, outputs, shutdown).await
}

/// Opens the files that lines of metrics go to, for a run that goes on from the snapshot `found`, or a new one.
fn outputs(
    options: &Options,
    found: Option<&Manifest>,
    configuration: &RunConfiguration,
) -> anyhow::Result<Outputs> {
    let used = found.map(|manifest| manifest.run.progress.used);
    let metrics = options.metrics.as_ref().map(|path| {
        MetricsFile::open(path, found.is_some()).with_context(|| format!("open {}", path.display()))
    });
    let events = options.tensorboard.as_ref().map(|folder| {
        EventFile::create(folder, used, configuration)
            .with_context(|| format!("create an event file in {}", folder.display()))
    });
    Ok(Outputs { metrics: metrics.transpose()?, events: events.transpose()? })
}

/// Begins the next life of the run that goes on from the snapshot `found`, or of a new run, as it is wanted where an earlier
/// one is to be removed (`fresh`).
fn next_life(folder: &Path, found: Option<&Manifest>, fresh: bool) -> anyhow::Result<Life> {
    let before = found.map(|manifest| manifest.run.life);
    let run = match before {
        // A snapshot of an earlier release has no id.
        Some(before) if before.run != RunId::default() => before.run,
        _ => random::run_id(),
    };
    let least = before.map_or(0, |before| before.count.saturating_add(1));
    let life = Life { run, count: snapshot::next_count(folder, "lives", least)?, nonce: random::number() };
    tracing::info!("run {}, life {} of its server", life.run, life.count);
    if found.is_none() && life.count > 0 && !fresh {
        tracing::warn!(
            "the run begins again: {} has no complete snapshot; what a server before this one did there, if anything, is lost",
            folder.display()
        );
    }
    Ok(life)
}

/// Waits until the models of evaluations are written.
async fn done(writing: &mut Option<JoinHandle<()>>) -> anyhow::Result<()> {
    match writing.take() {
        Some(writing) => writing.await.context("write the models"),
        None => Ok(()),
    }
}

/// The state that the leader's tasks share.
#[derive(Clone)]
struct Leader {
    coordinator: Arc<Coordinator>,
    host: Arc<ShardHost>,
    remotes: Arc<Remotes>,
    home: Arc<Home>,
    /// The writer of the run's models, if they are written.
    models: Option<Models>,
    /// Tells that the snapshot folder was made anew and holds nothing.
    renewed: Arc<Notify>,
    /// The run as the newest complete snapshot in the folder has it.
    kept: Arc<Mutex<Option<SavedRun>>>,
    timing: Timing,
}

impl Leader {
    /// Serves the run to its end and returns the exit code that says how it ended.
    async fn lead(
        self,
        mut serving: Serving,
        mut outputs: Outputs,
        shutdown: impl Future<Output = ()> + Send,
    ) -> anyhow::Result<Exit> {
        let (stop, stopped) = watch::channel(false);
        let snapshots = tokio::spawn(self.clone().take_snapshots(stopped.clone()));
        let models = self.models.clone();
        let mut writing = models.map(|models| tokio::spawn(models.write_scored(stopped.clone())));
        let polling = tokio::spawn(self.clone().poll(stopped));

        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut shutdown = std::pin::pin!(shutdown);
        let mut stopping = false;
        // A resumed run may have ended already, if its leader was killed before it could tell the workers.
        // Workers that still look for the leader come back within the farewell time.
        let already_ended = self.coordinator.ending().is_some();
        let ending = loop {
            tokio::select! {
                biased;
                failure = serving.failed() => return Err(failure),
                () = &mut shutdown, if !stopping => {
                    tracing::info!("stopping: no more leases, waiting for the workers' minibatches in hand");
                    stopping = true;
                    self.coordinator.interrupt();
                }
                _ = ticks.tick() => self.tick(&mut outputs),
            }
            if let Some(ending) = self.coordinator.ending() {
                break ending;
            }
        };
        let _ = stop.send(true);
        snapshots.await.context("take snapshots")?;
        polling.await.context("poll the shards")?;
        // Workers leave once they are told that the run is complete. A snapshot must hold the completion
        // before: if the leader were killed without one, work would have to be done again and no worker would
        // be left to do it.
        if ending == Ending::Completed && !already_ended {
            // A run that is complete has its model.
            done(&mut writing).await?;
            self.last_snapshot().await;
            self.coordinator.announce_completion();
        }
        self.wait_for_workers_to_leave(&ending, already_ended, &mut outputs).await;
        self.coordinator.dismiss();
        self.close_account(&mut outputs).await;
        // A run that has diverged keeps its last good snapshot as the newest.
        if ending == Ending::Interrupted {
            self.snapshot().await;
        }
        done(&mut writing).await?;
        if let Some(models) = self.models.as_ref().filter(|_| ending == Ending::Interrupted) {
            // An evaluation may have come in with the last report of a worker.
            models.write_left().await;
            models.write_present().await;
        }
        let others = self.coordinator.others();
        let finish = ShardOrder::Finish { interrupted: ending == Ending::Interrupted };
        let (life, _) = self.coordinator.roster();
        if let Err(error) = self.remotes.order(&others, life, &finish).await {
            tracing::warn!("a shard process was not told of the end: {error}");
        }
        serving.stop().await;
        Ok(self.conclude(ending, life))
    }

    /// Says how the run ended, and returns the exit code that says so too.
    fn conclude(&self, ending: Ending, life: Life) -> Exit {
        let status = protocol::Coordinator::status(&*self.coordinator);
        let samples = status.samples;
        match ending {
            Ending::Completed => {
                // A process that took the folder over keeps it.
                let kept = self.home.keep(life.run);
                if let Err(error) = kept.and_then(|_| snapshot::record_run_over(self.home.folder())) {
                    tracing::warn!(
                        "the snapshots do not say that the run is over and all were told: {error}"
                    );
                }
                let result = status.evaluations.last();
                let result = result.map_or_else(String::new, |result| format!(": {}", result.average));
                tracing::info!("finished after {samples} samples{result}");
                Exit::Done
            }
            Ending::Interrupted => {
                match self.kept().as_ref().map(|run| run.progress.used) {
                    Some(kept) if kept >= samples => {
                        tracing::info!(
                            "stopped after {samples} samples; the same command goes on from there"
                        );
                    }
                    Some(kept) => tracing::warn!(
                        "stopped after {samples} samples, of which the newest snapshot has {kept}: the same command goes \
                         on from that one, and the others are lost"
                    ),
                    None if samples == 0 => {
                        tracing::info!("stopped before the first sample; the same command begins again");
                    }
                    None => tracing::warn!(
                        "stopped after {samples} samples, which are lost, since there is no snapshot: the same command \
                         begins again"
                    ),
                }
                Exit::Interrupted
            }
            Ending::Diverged(text) => {
                tracing::error!("{text}");
                Exit::Diverged
            }
            Ending::Failed(text) => {
                tracing::error!("{text}");
                Exit::BadInput
            }
        }
    }

    /// Ticks the coordinator and writes its lines.
    fn tick(&self, outputs: &mut Outputs) {
        self.coordinator.tick().iter().for_each(|line| outputs.write(line));
    }

    /// Waits until all workers were told how the run ended and have left, or until the time for it is up. If
    /// the run had `already_ended` before this process started, workers may still come back, and the whole
    /// time is waited; those that were fenced as training diverged come back soon.
    async fn wait_for_workers_to_leave(&self, ending: &Ending, already_ended: bool, outputs: &mut Outputs) {
        let begun = Instant::now();
        let farewell = self.timing.farewell;
        // An interrupted run takes its snapshot after this wait, and somebody waits for that, so it is kept
        // short: a worker that died a moment ago is still a member and will never be told.
        let (grace, longest) = match ending {
            Ending::Interrupted => (LAST_MINIBATCH, farewell.min(LAST_MINIBATCH)),
            _ => (LAST_REPORTS, farewell),
        };
        let diverged = matches!(ending, Ending::Diverged(_));
        let least = match already_ended {
            true => longest,
            false if diverged && self.coordinator.others_return() => FENCED_RETURN.min(longest),
            false => Duration::ZERO,
        };
        let mut told_at = None;
        loop {
            self.tick(outputs);
            if told_at.is_none() && self.coordinator.all_told() {
                told_at = Some(Instant::now());
            }
            let grace_over = told_at.is_some_and(|at| at.elapsed() >= grace);
            if begun.elapsed() >= least && (self.coordinator.all_left() || grace_over) {
                return;
            }
            if begun.elapsed() >= longest {
                tracing::warn!("not every worker left or could be told of the end within {longest:?}");
                return;
            }
            sleep(TICK).await;
        }
    }

    /// Tells the other processes the roster whenever it has changed, and from time to time, until `stopped`;
    /// their answers have their shards' counters.
    async fn poll(self, mut stopped: watch::Receiver<bool>) {
        let mut changes = self.coordinator.roster_changes();
        loop {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return,
                Ok(()) = changes.changed() => {}
                () = sleep(POLL) => {}
            }
            self.keep_home().await;
            for address in self.coordinator.others() {
                tokio::select! {
                    biased;
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                    () = self.share_roster(&address) => {}
                }
            }
        }
    }

    /// Checks that the snapshot folder is still this process's; one that was made anew gets a snapshot soon.
    async fn keep_home(&self) {
        // A failure is said by the snapshots, which fail as well.
        if let Ok(true) = self.try_to_keep_home().await {
            self.renewed.notify_one();
        }
    }

    /// Checks, on a thread that may wait for a disk, that the snapshot folder is still this process's.
    async fn try_to_keep_home(&self) -> anyhow::Result<bool> {
        let (home, (life, _)) = (self.home.clone(), self.coordinator.roster());
        let renewed =
            run_blocking(move || home.keep(life.run)).await.context("look after the snapshot folder")??;
        if renewed {
            *self.kept() = None;
        }
        Ok(renewed)
    }

    fn kept(&self) -> MutexGuard<'_, Option<SavedRun>> {
        self.kept.lock().expect("no panic with the kept run in hand")
    }

    /// Tells the process at `address` the roster and takes in what its shards say.
    async fn share_roster(&self, address: &str) {
        let (life, roster) = self.coordinator.roster();
        let order = ShardOrder::Roster(roster.clone());
        // The client logs a process that cannot be reached; the counters then stay as they were.
        if let Ok(statuses) = self.remotes.order(&[address.into()], life, &order).await {
            self.coordinator.audit(&roster, &statuses);
            self.coordinator.observe(statuses);
        }
    }

    /// Compares the account of the run with what the shards hold, once the workers have left.
    async fn close_account(&self, outputs: &mut Outputs) {
        for address in self.coordinator.others() {
            if timeout(LAST_LEDGER, self.share_roster(&address)).await.is_err() {
                tracing::warn!("the account stays open: {address} does not say what its shards hold");
            }
        }
        if let Some(balance) = self.coordinator.balance() {
            outputs.write(&Line::Account(balance));
        }
    }
}
