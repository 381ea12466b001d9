//! The coordinator: it keeps the members, leases samples to them, orders evaluations, and decides when a run
//! ends.
//!
//! All of its state is behind one lock and is changed by short calls that never wait. The clock is tokio's,
//! so that simulations can advance it.

mod account;
mod admission;
mod backup;
mod divergence;
mod ending;
mod evaluations;
pub mod leases;
mod limited;
mod membership;
mod mistakes;
mod momentum_switch;
mod overview;
mod placement;
mod reminder;
mod run;
mod saved;
mod standstill;
mod state;
mod steering;

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use process::logs::{self, Warnings};
use protocol::{
    Assignment, Caller, Ending, JoinReply, JoinRequest, Life, Member, Overview, Pictures, Refusal,
    RegisterReply, RegisterRequest, Report, Roster, RunStatus, ShardStatus, Shards, Snapshot, Steered,
    Steering, UpdateRule, Warning,
};
use settings::RunConfiguration;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use self::state::State;
pub use self::{evaluations::ScoredModel, mistakes::Mistakes, overview::Curves, saved::SavedRun};
use crate::{
    ShardHost,
    telemetry::{Balance, Line},
};

/// Settings of a coordinator.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The run's configuration; the number of classes comes from the first worker's data.
    pub configuration: RunConfiguration,
    /// Number of processes that form the server.
    pub processes: u32,
    /// Number of shards in each process.
    pub shards: u32,
    /// Address at which workers reach this process, "host:port".
    pub address: String,
    /// Time for which a worker may make no call before it is out of the run and its leases (ranges of images
    /// to train on) go to others.
    pub lease_time: Duration,
    /// This life of the server: the run's id, how often the server was started before for it, and a random
    /// number. Members, shards and snapshots name it; what is of another is refused. A run that begins again
    /// with other data gets another random number.
    pub life: Life,
}

/// Coordinator of a run, in the server's first process: it admits workers, leases ranges of images to them,
/// orders evaluations, and decides when the run ends.
pub struct Coordinator {
    settings: Settings,
    host: Arc<ShardHost>,
    state: Mutex<State>,
    /// The newest warnings in the log of this process.
    warnings: Warnings,
    /// Tells that an operator ordered a snapshot.
    snapshot_ordered: Notify,
    /// The photographs that are lent to workers which have none.
    pictures: Option<Arc<dyn Pictures>>,
}

impl Coordinator {
    /// Makes the coordinator of a new run, or of one that is `resumed` from a snapshot: the snapshot's number
    /// with the hashes of all shards' files, and the saved state of the run. `host` holds the shards of this
    /// process.
    pub fn new(
        settings: Settings,
        host: Arc<ShardHost>,
        resumed: Option<(Snapshot, SavedRun)>,
    ) -> Coordinator {
        host.live(settings.life);
        if let Some((snapshot, _)) = &resumed {
            host.completed(snapshot.id);
        }
        let state = State::new(&settings, host.clone(), resumed);
        let (warnings, snapshot_ordered) = Default::default();
        Coordinator { settings, host, state: Mutex::new(state), warnings, snapshot_ordered, pictures: None }
    }

    /// Sets where the newest warnings in the log of this process are found, which the overview of the run
    /// shows.
    pub fn warned_by(self, warnings: Warnings) -> Coordinator {
        Coordinator { warnings, ..self }
    }

    /// Sets the photographs that are lent to workers which have none.
    pub fn lending(self, pictures: Option<Arc<dyn Pictures>>) -> Coordinator {
        Coordinator { pictures, ..self }
    }

    /// Makes the worker of `request` a member, if it fits the run.
    fn admit(&self, request: JoinRequest) -> Result<JoinReply, Refusal> {
        admission::protocol_version("worker", request.protocol)?;
        let mut state = self.state();
        let member = state.join(request.name, request.data)?;
        Ok(JoinReply { member, configuration: state.configuration.clone(), shards: state.processes.shards() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no call panicked with the state in hand")
    }

    /// Does the periodic work and returns the lines of metrics that became due: it removes workers that were
    /// silent for too long and reads the counters of this process's shards. To be called several times a
    /// second.
    pub fn tick(&self) -> Vec<Line> {
        let statuses = self.host.status();
        let mut state = self.state();
        state.observe(statuses);
        state.tick()
    }

    /// Returns the members whose pushes shards are to take, and the life of the server in which they are
    /// members.
    pub fn roster(&self) -> (Life, Roster) {
        let state = self.state();
        (state.life.life, state.roster())
    }

    /// Returns a receiver that tells whenever the roster has changed.
    pub fn roster_changes(&self) -> watch::Receiver<u64> {
        self.state().roster_changes()
    }

    /// Compares the account of the run with the ledgers of shards of another process of the server, which
    /// they gave with their statuses in answer to `roster`. The log says if it does not add up.
    pub fn audit(&self, roster: &Roster, statuses: &[ShardStatus]) {
        self.state().audit(roster, statuses);
    }

    /// Ends all memberships, after which the shards take no more pushes. To be called once the run has ended
    /// and its workers had their time to leave: what was applied of each is final from then on.
    pub fn dismiss(&self) {
        self.state().dismiss();
    }

    /// Returns the balance of the run's account, once all workers have left and every shard has told what it
    /// applied of them; `None` before.
    pub fn balance(&self) -> Option<Balance> {
        self.state().run.as_ref()?.account.closed()
    }

    /// Records the newest statuses (counters) of the shards of another process of the server.
    pub fn observe(&self, statuses: Vec<ShardStatus>) {
        self.state().observe(statuses);
    }

    /// Stops the run so that it can be resumed: no leases (ranges of images to train on) are given any more,
    /// and workers are told to finish. This has no effect on a run that has already ended.
    pub fn interrupt(&self) {
        self.state().end.end(Ending::Interrupted);
    }

    /// Allows workers to be told that the run is complete. This must be called only once a snapshot records
    /// that it is complete, so that no restart can make the run incomplete again.
    pub fn announce_completion(&self) {
        self.state().end.announce();
    }

    /// Returns how the run ended, or `None` while it goes on.
    pub fn ending(&self) -> Option<Ending> {
        self.state().end.ending()
    }

    /// Returns whether every worker in the run was told how the run ended; true if there are no workers.
    pub fn all_told(&self) -> bool {
        self.state().run.as_ref().is_none_or(|run| run.members.all_told())
    }

    /// Returns whether no worker is in the run: none has joined, or all have left or were silent for too
    /// long.
    pub fn all_left(&self) -> bool {
        self.state().run.as_ref().is_none_or(|run| run.members.is_empty())
    }

    /// Returns whether workers were fenced since their training diverged, before that of the run was found to
    /// have: they join again, to learn of it.
    pub fn others_return(&self) -> bool {
        self.state().run.as_ref().is_some_and(|run| run.votes.any_before())
    }

    /// Returns the run's update rule (how shards turn gradients into updates); in a new run, `None` until the
    /// first worker has joined and described its data.
    pub fn rule(&self) -> Option<UpdateRule> {
        self.state().run.as_ref().map(|run| run.rule.clone())
    }

    /// Returns whether all processes of the server have registered with this coordinator; no worker may join
    /// before.
    pub fn complete(&self) -> bool {
        self.state().processes.complete()
    }

    /// Addresses, each "host:port", of the registered processes of the server other than this one.
    pub fn others(&self) -> Vec<String> {
        self.state().processes.addresses().skip(1).map(str::to_string).collect()
    }

    /// Begins to keep the average of each evaluation until its model is written: [`unwritten`](Self::unwritten)
    /// tells of it, and [`model_written`](Self::model_written) is to be called once it is.
    pub fn write_models(&self) {
        self.state().writes_models = true;
    }

    /// Returns the next model to write, the average that an evaluation scored, if there is one. The shards keep
    /// that average frozen by the evaluation's number.
    pub fn unwritten(&self) -> Option<ScoredModel> {
        self.state().run.as_ref()?.evaluations.unwritten()
    }

    /// Records that the model of the evaluation with the number `id` is written, or that it was given up.
    pub fn model_written(&self, id: u64) {
        self.state().model_written(id);
    }

    /// Copies the state of the run, apart from that of the shards, for a snapshot that begins now; in a new
    /// run, returns `None` until the first worker has joined and described its data.
    pub fn checkpoint(&self) -> Option<SavedRun> {
        self.state().checkpoint()
    }

    /// Prepares a snapshot and returns whether it may be taken now. A single worker gets no more leases
    /// (ranges of images to train on) until [`resume_leases`](Self::resume_leases), and once it has completed
    /// those that it holds, no push is under way. The snapshot then shows one moment of the run, from which
    /// the run resumes bit for bit. With several workers the snapshot does not wait for leases.
    pub fn prepare_snapshot(&self) -> bool {
        let mut state = self.state();
        state.snapshot_pending = true;
        state.workers() > 1 || state.run.as_ref().is_none_or(|run| run.leases.outstanding() == 0)
    }

    /// Resolves once an operator, or a shard process that is to stop, orders a snapshot, also if that was since the
    /// last call.
    pub async fn snapshot_ordered(&self) {
        self.snapshot_ordered.notified().await;
    }

    /// Number of snapshots that were ordered so far; a snapshot that is begun now answers all of
    /// them.
    pub fn snapshots_ordered(&self) -> u64 {
        self.state().orders.snapshots_ordered()
    }

    /// Lets a single worker get leases (ranges of images to train on) again, after a snapshot was taken or
    /// given up, which answers the first `ordered` snapshots that were ordered.
    pub fn resume_leases(&self, ordered: u64) {
        let mut state = self.state();
        state.snapshot_pending = false;
        state.orders.snapshots_done(ordered);
    }

    /// Returns the curves of the run, for a page that shows it; empty until the first worker has joined.
    pub fn curves(&self) -> Curves {
        self.state().run.as_ref().map(Curves::of).unwrap_or_default()
    }

    /// Returns the worst mistakes of the newest evaluation in this life of the server, for a page that shows them.
    pub fn mistakes(&self) -> Mistakes {
        let state = self.state();
        state.run.as_ref().map(|run| run.evaluations.mistakes(&run.data.classes)).unwrap_or_default()
    }

    /// Number of the newest complete snapshot that this process took or went on from; 0 if there is none.
    pub fn newest_snapshot(&self) -> u64 {
        self.state().snapshot.as_ref().map_or(0, |snapshot| snapshot.id)
    }

    /// Records `snapshot`, with the hashes of all shards' files, as the newest complete one, which processes
    /// that register later are told to restore.
    pub fn record_snapshot(&self, snapshot: Snapshot) {
        self.host.completed(snapshot.id);
        self.state().snapshot = Some(snapshot);
    }
}

impl protocol::Coordinator for Coordinator {
    fn join(&self, request: JoinRequest) -> Result<JoinReply, Refusal> {
        let name = request.name.clone();
        self.admit(request).inspect_err(|refusal| {
            // Who only has to wait asks again and again.
            if !matches!(refusal, Refusal::NotReady(_)) {
                tracing::warn!("{name} was refused as a worker: {refusal}");
            }
        })
    }

    fn assign(&self, member: Member, call: u64) -> Result<Assignment, Refusal> {
        self.state().assign(member, call)
    }

    fn report(&self, report: Report, call: u64) -> Result<Option<Ending>, Refusal> {
        // The last line of a run needs the present counters: a short run may end before the first tick has
        // read any.
        let statuses = if report.evaluation.is_some() { self.host.status() } else { Vec::new() };
        let mut state = self.state();
        state.observe(statuses);
        state.report(report, call)
    }

    fn register(&self, request: RegisterRequest) -> Result<RegisterReply, Refusal> {
        admission::protocol_version("shard process", request.protocol)?;
        let stopping = request.stopping;
        let reply = self.state().register(request, &self.settings)?;
        if stopping {
            self.snapshot_ordered.notify_one();
        }
        Ok(reply)
    }

    fn status(&self) -> RunStatus {
        let layout = self.host.layout();
        let state = self.state();
        let (run_state, detail) = state.describe();
        let run = state.run.as_ref();
        RunStatus {
            state: run_state,
            detail,
            samples: run.map_or(0, |run| run.leases.used()),
            total_samples: run.map_or(0, |run| run.leases.total()),
            epoch: run.map_or(0, |run| run.leases.epoch()),
            workers: state.workers() as u32,
            leases: run.map_or(0, |run| run.leases.outstanding()) as u32,
            latest: run.and_then(|run| run.latest.clone()),
            evaluations: run.map(|run| run.evaluations.done().to_vec()).unwrap_or_default(),
            layout,
            configuration: state.configuration.clone(),
            classes: run.map(|run| run.data.classes.clone()).unwrap_or_default(),
            unreadable: run.map_or(0, |run| run.unreadable.len()) as u64,
            data_hash: run.map(|run| run.data.hash.clone()).unwrap_or_default(),
            shards: state.processes.shards(),
            life: state.life.life,
        }
    }

    fn overview(&self) -> Overview {
        let overview = self.state().overview(Instant::now());
        let warnings = self.warnings.newest().into_iter();
        let warnings = warnings.map(|logs::Warning { time, text }| Warning { time, text }).collect();
        Overview { warnings, ..overview }
    }

    fn steer(&self, order: Steering, caller: Caller) -> Result<Steered, Refusal> {
        let steered = self.state().steer(order, caller)?;
        if order == Steering::Snapshot {
            self.snapshot_ordered.notify_one();
        }
        Ok(steered)
    }

    fn pictures(&self) -> Option<Arc<dyn Pictures>> {
        self.pictures.clone()
    }
}

#[cfg(test)]
mod tests;
