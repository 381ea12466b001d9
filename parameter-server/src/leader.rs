//! The server's first process: coordinator and shards, snapshots, metrics, and the end of the run in good order.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use configuration::{Exit, NEWEST_DATA_RULES};
use protocol::{Ending, Listener, Refusal, ShardOrder, Shards, apart};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use crate::{
    Coordinator, ShardHost, WarmStart,
    coordinator::Settings,
    metrics::{Line, MetricsFile},
    remotes::Remotes,
    resume,
    server::{Options, Restore, Timing, open_shards},
    serving::Serving,
    snapshot::{self, Manifest},
};

const TICK: Duration = Duration::from_millis(100);
/// Time between two looks at the counters of other processes.
const POLL: Duration = Duration::from_secs(1);
/// After all workers know of the end, the time that they have to hand in what they were at.
const LAST_REPORTS: Duration = Duration::from_secs(1);
/// The same when the run is broken off: the minibatch in hand is finished first.
const LAST_MINIBATCH: Duration = Duration::from_secs(6);
/// How long a snapshot waits for the leases of a lone worker, and how often it looks.
const LONGEST_SETTLING: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(10);
/// How often the last snapshot is tried.
const LAST_SNAPSHOTS: usize = 6;

pub(crate) async fn run(
    options: Options,
    listener: impl Listener,
    address: String,
    shutdown: impl Future<Output = ()> + Send,
) -> anyhow::Result<Exit> {
    let folder = options.snapshots.clone();
    let _lock = snapshot::lock(&folder, "leader")?;
    if options.fresh {
        snapshot::clear(&folder).context("remove the snapshots of an earlier run")?;
    }
    let found = snapshot::newest(&folder)?;
    let mut configuration = match &found {
        Some(manifest) => {
            resume::configuration(&options.flags, &options.default_recipe, &manifest.run.configuration)
                .with_context(|| format!("resume from snapshot {} in {}", manifest.id, folder.display()))?
        }
        None => {
            let mut configuration = options.flags.resolve(&options.default_recipe)?;
            configuration.run.data_rules.get_or_insert(NEWEST_DATA_RULES);
            configuration
        }
    };
    if let Some(manifest) = found.as_ref().filter(|manifest| manifest.finished()) {
        tell_result(manifest, &folder);
        if snapshot::is_over(&folder, manifest.id) {
            return Ok(Exit::Done);
        }
        tracing::info!("it was stopped before everybody was told");
    }
    let warm = match &configuration.run.init_from {
        // What a run that goes on started from is in its snapshot.
        Some(file) if found.is_none() => Some(WarmStart::read(file.as_ref())?),
        _ => None,
    };
    if let Some(warm) = &warm {
        let found = warm.sha256();
        let expected = configuration.run.init_sha256.get_or_insert_with(|| found.into());
        ensure!(
            expected == found,
            "configuration key run.init_sha256: expected {expected}, found {found} of the file run.init_from; give that \
             file, or leave the key out"
        );
    }
    let total = options.shards * options.processes;
    if let Some(manifest) = &found {
        let written = manifest.shards.len();
        if written != total as usize {
            bail!(
                "snapshot {} in {} was written by {written} shards, this server has {total}: \
                 give --shards and --servers that make {written}, or --fresh to start anew",
                manifest.id,
                folder.display()
            );
        }
        let samples = manifest.run.progress.used;
        tracing::info!(
            "resuming from snapshot {} in {} after {samples} samples",
            manifest.id,
            folder.display()
        );
    }
    let settings = Settings {
        configuration,
        processes: options.processes,
        shards: options.shards,
        address,
        lease_time: options.timing.lease,
        life: snapshot::raise(&folder, "lives", 0)?,
    };
    tracing::info!(
        "{}",
        serde_json::to_string(&settings.configuration).expect("a configuration is plain data")
    );
    let metrics = options
        .metrics
        .as_ref()
        .map(|path| {
            MetricsFile::open(path, found.is_some()).with_context(|| format!("open {}", path.display()))
        })
        .transpose()?;
    let restore = found.as_ref().map_or(Restore::Nothing, |manifest| Restore::Exactly(manifest.id));
    let host = Arc::new(open_shards(&options, 0, total, restore, warm)?);
    let coordinator =
        Arc::new(Coordinator::new(settings, host.clone(), found.map(|found| (found.snapshot(), found.run))));
    let leader = Leader {
        coordinator: coordinator.clone(),
        host: host.clone(),
        remotes: Arc::new(Remotes::new(options.way)),
        folder: folder.into(),
        timing: options.timing,
    };
    if options.processes > 1 {
        tracing::info!("waiting for {} other processes to register", options.processes - 1);
    }
    let serving = Serving::start(listener, Some(coordinator), host);
    leader.lead(serving, metrics, shutdown).await
}

fn tell_result(manifest: &Manifest, folder: &Path) {
    let samples = manifest.run.progress.used;
    let result = manifest.evaluation().map_or_else(String::new, |evaluation| {
        let scores = evaluation.average;
        format!(": top-1 {:.2} %, loss {:.4}", 100.0 * scores.top1, scores.loss)
    });
    tracing::info!(
        "the run in {} is finished after {samples} samples{result}; --fresh starts anew",
        folder.display()
    );
}

/// What the leader's tasks share.
#[derive(Clone)]
struct Leader {
    coordinator: Arc<Coordinator>,
    host: Arc<ShardHost>,
    remotes: Arc<Remotes>,
    folder: Arc<Path>,
    timing: Timing,
}

impl Leader {
    async fn lead(
        self,
        mut serving: Serving,
        mut metrics: Option<MetricsFile>,
        shutdown: impl Future<Output = ()> + Send,
    ) -> anyhow::Result<Exit> {
        let (stop, stopped) = watch::channel(false);
        let snapshots = tokio::spawn(self.clone().take_snapshots(stopped.clone()));
        let polling = tokio::spawn(self.clone().poll(stopped));

        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut shutdown = std::pin::pin!(shutdown);
        let mut stopping = false;
        // Some may wait for a leader that was killed before it could tell them; they come within the farewell.
        let absent = self.coordinator.ending().is_some();
        let ending = loop {
            tokio::select! {
                biased;
                failure = serving.failed() => return Err(failure),
                () = &mut shutdown, if !stopping => {
                    tracing::info!("stopping: no more leases, waiting for the workers' minibatches in hand");
                    stopping = true;
                    self.coordinator.interrupt();
                }
                _ = ticks.tick() => self.put_out(&mut metrics),
            }
            if let Some(ending) = self.coordinator.ending() {
                break ending;
            }
        };
        let _ = stop.send(true);
        snapshots.await.context("take snapshots")?;
        polling.await.context("poll the shards")?;
        // A worker that knows of the completion goes, so that nobody were left to do again what a leader forgot that is
        // killed now.
        if ending == Ending::Completed && !absent {
            self.last_snapshot().await;
            self.coordinator.announce();
        }
        self.take_leave(&ending, absent, &mut metrics).await;
        // After divergence the last good snapshot is the one to go on from.
        if ending == Ending::Interrupted {
            self.snapshot().await;
        }
        let others = self.coordinator.others();
        let finish = ShardOrder::Finish { interrupted: ending == Ending::Interrupted };
        if let Err(error) = self.remotes.order(&others, &finish).await {
            tracing::warn!("a shard process was not told of the end: {error}");
        }
        serving.stop().await;
        Ok(match ending {
            Ending::Completed => {
                snapshot::set_over(&self.folder)?;
                Exit::Done
            }
            Ending::Interrupted => Exit::Interrupted,
            Ending::Diverged(text) => {
                tracing::error!("{text}");
                Exit::Diverged
            }
            Ending::Failed(text) => {
                tracing::error!("{text}");
                Exit::BadInput
            }
        })
    }

    /// Lets the coordinator notice the time, and puts its lines where they belong.
    fn put_out(&self, metrics: &mut Option<MetricsFile>) {
        for line in self.coordinator.tick() {
            Line::log(&line);
            if let Some(file) = metrics
                && let Err(error) = file.write(&line)
            {
                tracing::warn!(
                    "cannot append to the metrics file: {error}; the line above is in this log only"
                );
            }
        }
    }

    /// Waits until the workers know of the end and have left, within bounds; if they are `absent`, they are given all the
    /// time that there is.
    async fn take_leave(&self, ending: &Ending, absent: bool, metrics: &mut Option<MetricsFile>) {
        let begun = Instant::now();
        let farewell = self.timing.farewell;
        // Whoever interrupts waits for the snapshot behind this; a worker that died lately is a member for a while
        // and will never be told.
        let (grace, longest) = match ending {
            Ending::Interrupted => (LAST_MINIBATCH, farewell.min(LAST_MINIBATCH)),
            _ => (LAST_REPORTS, farewell),
        };
        let least = if absent { longest } else { Duration::ZERO };
        let mut told_at = None;
        loop {
            self.put_out(metrics);
            let (told, gone) = self.coordinator.farewell();
            if told && told_at.is_none() {
                told_at = Some(Instant::now());
            }
            let handed_in = told_at.is_some_and(|at| at.elapsed() >= grace);
            if begun.elapsed() >= least && (gone || handed_in) {
                return;
            }
            if begun.elapsed() >= longest {
                tracing::warn!("not every worker left or could be told of the end within {longest:?}");
                return;
            }
            sleep(TICK).await;
        }
    }

    async fn take_snapshots(self, mut stopped: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return,
                () = self.due() => {}
            }
            self.snapshot().await;
            self.coordinator.go_on();
        }
    }

    /// Waits until it is time for a snapshot, and for its moment.
    async fn due(&self) {
        sleep(self.timing.snapshots).await;
        let begun = Instant::now();
        while !self.coordinator.settle() {
            if begun.elapsed() >= LONGEST_SETTLING {
                tracing::warn!(
                    "the only worker did not hand in its leases within {LONGEST_SETTLING:?}: the snapshot is taken while \
                     it works on them, and a run that goes on from there does them again"
                );
                return;
            }
            sleep(LOOK).await;
        }
    }

    async fn poll(self, mut stopped: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return,
                () = sleep(POLL) => {}
            }
            for address in self.coordinator.others() {
                tokio::select! {
                    biased;
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                    // An unreachable process is named by the client's log; its counters stay as they were.
                    statuses = self.remotes.status(&address) => {
                        statuses.into_iter().for_each(|statuses| self.coordinator.observe(statuses));
                    }
                }
            }
        }
    }

    /// The snapshot of the end, for which a shard process that is just away is waited for.
    async fn last_snapshot(&self) {
        for _ in 0..LAST_SNAPSHOTS {
            if self.snapshot().await {
                return;
            }
            sleep(POLL).await;
        }
        tracing::warn!("the end of the run is in no snapshot; started again, it would go on from the newest");
    }

    /// Takes a snapshot; a failure is logged and costs nothing but the snapshot. Whether there is one now.
    async fn snapshot(&self) -> bool {
        let id = match snapshot::next_id(&self.folder) {
            Ok(id) => id,
            Err(error) => {
                tracing::warn!("a snapshot could not be taken, the one before stays valid: {error}");
                return false;
            }
        };
        let begun = Instant::now();
        match self.try_snapshot(id).await {
            Ok(Some(samples)) => {
                tracing::info!(
                    "snapshot {id} after {samples} samples took {:.1} s",
                    begun.elapsed().as_secs_f64()
                );
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::warn!("snapshot {id} could not be taken, the one before stays valid: {error:#}");
                if let Err(error) = snapshot::remove(&self.folder, id) {
                    tracing::warn!("what there is of snapshot {id} could not be removed: {error}");
                }
                false
            }
        }
    }

    /// The samples in the new snapshot; none while there is nothing to keep.
    async fn try_snapshot(&self, id: u64) -> anyhow::Result<Option<u64>> {
        if !self.coordinator.complete() {
            return Ok(None);
        }
        // Progress first: what it counts as used is then in every shard's file.
        let Some(run) = self.coordinator.checkpoint() else { return Ok(None) };
        let Some(layout) = self.host.layout() else { return Ok(None) };
        let used = run.progress.used;
        let order = ShardOrder::Snapshot { id };
        let host = self.host.clone();
        let own = apart({
            let order = order.clone();
            move || host.order(order)
        });
        let others = self.coordinator.others();
        let (own, others) = tokio::join!(own, self.remotes.order(&others, &order));
        let mut statuses = match own.context("write the shards")? {
            // A worker is just bringing the layout to one shard after the other.
            Err(Refusal::NotReady(_)) => return Ok(None),
            result => result?,
        };
        match others {
            Err(error) if matches!(error.refusal(), Some(Refusal::NotReady(_))) => return Ok(None),
            result => statuses.extend(result?),
        }
        let folder = self.folder.clone();
        let taken = apart(move || {
            let manifest = Manifest::new(&folder, id, layout.fingerprint(), statuses, run)?;
            manifest.write(&folder)?;
            snapshot::prune(&folder, id);
            anyhow::Ok(manifest.snapshot())
        })
        .await
        .context("write the manifest")??;
        self.coordinator.snapshot_taken(taken);
        Ok(Some(used))
    }
}
