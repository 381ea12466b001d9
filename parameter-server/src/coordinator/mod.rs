//! The coordinator: it keeps the members, leases samples to them, orders evaluations, and decides when a run
//! ends.
//!
//! All of its state is behind one lock and is changed by short calls that never wait. The clock is tokio's,
//! so that simulations can advance it.

mod admission;
mod evaluations;
pub mod leases;
mod membership;
mod momentum_switch;
mod placement;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use protocol::{
    Assignment, DataDescription, Ending, Evaluation, JoinReply, JoinRequest, LARGEST_LOSS, Member, Refusal,
    RegisterReply, RegisterRequest, Report, RunState, RunStatus, ShardStatus, Shards, Snapshot, StepMetrics,
    TrainingLine, UpdateRule,
};
use serde::{Deserialize, Serialize};
use settings::RunConfiguration;
use tokio::time::Instant;

use self::{
    evaluations::Evaluations,
    leases::{Leases, Progress, Range},
    membership::Membership,
    momentum_switch::MomentumSwitch,
    placement::{Placement, Processes},
};
use crate::{
    ShardHost,
    telemetry::{EvaluationLine, Line, Meter, RunPosition, Traffic},
    update_rule,
};

/// Number of minibatches in a row, over all workers, whose pushes must be refused for the run to end as
/// diverged.
const MOST_REFUSED: u64 = 20;
/// Largest fraction of the training images that may be unreadable.
const MOST_UNREADABLE: f64 = 0.05;
/// Largest number of training images, which workers number in 32 bits.
const MOST_IMAGES: u64 = u32::MAX as u64;
/// Pause of a worker for which there is nothing to do at the moment.
const PAUSE_MILLISECONDS: u64 = 200;
/// Pause of the only worker while a snapshot is taken.
const SNAPSHOT_PAUSE_MILLISECONDS: u64 = 20;

/// Settings of a coordinator.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The run's configuration; the number of classes comes from the first worker's data.
    pub configuration: RunConfiguration,
    /// Processes that form the server.
    pub processes: u32,
    /// Number of shards in each process.
    pub shards: u32,
    /// Address under which workers reach this process.
    pub address: String,
    /// Time for which a member may be silent.
    pub lease_time: Duration,
    /// Number of this life: the count of the leader's earlier starts. It keeps the ids that this life gives
    /// apart from those of earlier ones.
    pub life: u64,
}

/// The state of a run apart from the shards, as snapshots keep it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedRun {
    /// The complete configuration.
    pub configuration: RunConfiguration,
    /// Description of the data that the run trains on.
    pub data: DataDescription,
    /// Progress of leases and epochs.
    pub progress: Progress,
    /// Minibatches acknowledged.
    pub steps: u64,
    /// Names of the unreadable images found so far.
    pub unreadable: BTreeSet<String>,
    /// Results of the evaluations so far, the oldest first.
    pub evaluations: Vec<Evaluation>,
    /// Whether the run is complete, its last evaluation included.
    pub finished: bool,
    /// Addresses of the processes, in the order of their shards.
    pub addresses: Vec<String>,
    /// Whether momentum has moved from the shards to the workers.
    #[serde(default)]
    pub momentum_moved: bool,
}

impl SavedRun {
    /// Whether the numbers are consistent with each other, so that a run can resume from them.
    pub(crate) fn is_consistent(&self) -> bool {
        let SavedRun { configuration, data, progress, .. } = self;
        let total = update_rule::of(configuration, data.images).total_samples;
        let within = |range: &Range| range.start <= range.end && range.end <= data.images;
        data.images > 0
            && progress.leased <= total
            && progress.to_do.iter().all(within)
            && progress.is_consistent()
    }
}

/// The coordinator of a run, which lives in the server's first process.
pub struct Coordinator {
    settings: Settings,
    host: Arc<ShardHost>,
    state: Mutex<State>,
}

struct State {
    configuration: RunConfiguration,
    processes: Processes,
    members: Membership,
    /// The run, once the first worker has described the data.
    run: Option<Run>,
    /// Minibatches in a row whose pushes were refused.
    refused_in_row: u64,
    unreadable: BTreeSet<String>,
    /// Newest status of each shard, by its number.
    statuses: BTreeMap<u32, ShardStatus>,
    latest: Option<TrainingLine>,
    /// Lines of metrics that were not taken yet.
    lines: Vec<Line>,
    /// The newest complete snapshot, with the hashes of all shards' files.
    snapshot: Option<Snapshot>,
    /// Whether a snapshot is due or being taken.
    snapshot_pending: bool,
    ending: Option<Ending>,
    /// Whether members may be told that the run is complete, which a snapshot must hold first.
    completion_announced: bool,
}

/// A run whose data is known.
struct Run {
    data: DataDescription,
    rule: UpdateRule,
    leases: Leases,
    evaluations: Evaluations,
    meter: Meter,
    momentum: MomentumSwitch,
}

impl Coordinator {
    /// Starts a run, or resumes it from a snapshot, given with the hashes of all shards' files.
    pub fn new(
        settings: Settings,
        host: Arc<ShardHost>,
        resumed: Option<(Snapshot, SavedRun)>,
    ) -> Coordinator {
        let first = first_id(settings.life);
        let mut state = State {
            configuration: settings.configuration.clone(),
            processes: Processes::new(settings.processes, settings.shards, &settings.address),
            members: Membership::new(settings.lease_time, first),
            run: None,
            refused_in_row: 0,
            unreadable: BTreeSet::new(),
            statuses: BTreeMap::new(),
            latest: None,
            lines: Vec::new(),
            snapshot: None,
            snapshot_pending: false,
            ending: None,
            completion_announced: false,
        };
        if let Some((snapshot, saved)) = resumed {
            state.snapshot = Some(snapshot);
            state.ending = saved.finished.then_some(Ending::Completed);
            state.completion_announced = saved.finished;
            state.processes.remember(&saved.addresses);
            state.unreadable = saved.unreadable;
            state.configuration = saved.configuration;
            state.run = Some(Run::new(
                &state.configuration,
                saved.data,
                first,
                saved.evaluations,
                Some((&saved.progress, saved.steps)),
                saved.momentum_moved,
            ));
        }
        Coordinator { settings, host, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no call panicked with the state in hand")
    }

    /// Does what depends on time, and is to be called a few times a second: it removes silent members, reads
    /// the counters of this process's shards, and returns the lines of metrics that became due.
    pub fn tick(&self) -> Vec<Line> {
        let statuses = self.host.status();
        let mut state = self.state();
        state.observe(statuses);
        state.expire(self.settings.lease_time);
        state.add_training_line(false);
        std::mem::take(&mut state.lines)
    }

    /// Records the statuses of another process's shards.
    pub fn observe(&self, statuses: Vec<ShardStatus>) {
        self.state().observe(statuses);
    }

    /// Stops the run so that it can be resumed: no leases are given any more, and workers are told to finish.
    /// A run that has already ended stays as it ended.
    pub fn interrupt(&self) {
        self.state().ending.get_or_insert(Ending::Interrupted);
    }

    /// Allows members to be told that the run is complete. This must be called only once a snapshot holds the
    /// completion, so that no restart can make the run incomplete again.
    pub fn announce_completion(&self) {
        self.state().completion_announced = true;
    }

    /// The end of the run, or none while the run lasts.
    pub fn ending(&self) -> Option<Ending> {
        self.state().ending.clone()
    }

    /// Whether every member was told how the run ended.
    pub fn all_told(&self) -> bool {
        self.state().members.all_told()
    }

    /// Whether there are no members (any more).
    pub fn all_left(&self) -> bool {
        self.state().members.is_empty()
    }

    /// The run's update rule, once the first worker has described the data.
    pub fn rule(&self) -> Option<UpdateRule> {
        self.state().run.as_ref().map(|run| run.rule.clone())
    }

    /// Whether all processes of the server have registered.
    pub fn complete(&self) -> bool {
        self.state().processes.complete()
    }

    /// Addresses of the server's other processes that have registered.
    pub fn others(&self) -> Vec<String> {
        self.state().processes.addresses().skip(1).map(str::to_string).collect()
    }

    /// Copies the state of the run for a snapshot that begins now; returns none before the data is known.
    pub fn checkpoint(&self) -> Option<SavedRun> {
        let state = self.state();
        let run = state.run.as_ref()?;
        Some(SavedRun {
            configuration: state.configuration.clone(),
            data: run.data.clone(),
            progress: run.leases.progress(),
            steps: run.meter.steps(),
            unreadable: state.unreadable.clone(),
            evaluations: run.evaluations.done().to_vec(),
            finished: state.ending == Some(Ending::Completed),
            addresses: state.processes.addresses().map(str::to_string).collect(),
            momentum_moved: run.momentum.moved(),
        })
    }

    /// Prepares a snapshot and returns whether it may be taken now. A single worker gets no more leases, and
    /// once it has completed those that it holds, no push is under way. The snapshot then shows one moment of
    /// the run, from which the run resumes bit for bit. Several workers are not waited for.
    pub fn prepare_snapshot(&self) -> bool {
        let mut state = self.state();
        state.snapshot_pending = true;
        state.members.len() > 1 || state.run.as_ref().is_none_or(|run| run.leases.outstanding() == 0)
    }

    /// Gives leases again after a snapshot was taken or given up.
    pub fn resume_leases(&self) {
        self.state().snapshot_pending = false;
    }

    /// Records that a snapshot is complete, with the hashes of all shards' files.
    pub fn record_snapshot(&self, snapshot: Snapshot) {
        self.state().snapshot = Some(snapshot);
    }
}

/// Returns the first id of leases, incarnations and evaluations in the life `life` of the server. Each life
/// has ids of its own, since shards and workers may remember those of an earlier one.
fn first_id(life: u64) -> u64 {
    (life << 32) + 1
}

impl Run {
    fn new(
        configuration: &RunConfiguration,
        data: DataDescription,
        first_id: u64,
        evaluations: Vec<Evaluation>,
        progress: Option<(&Progress, u64)>,
        momentum_moved: bool,
    ) -> Run {
        let rule = update_rule::of(configuration, data.images);
        let (images, total) = (data.images, rule.total_samples);
        let size = configuration.run.lease_batches * configuration.run.batch as u64;
        let (leases, steps) = match progress {
            Some((progress, steps)) => (Leases::resume(images, total, size, first_id, progress), steps),
            None => (Leases::new(images, total, size, first_id), 0),
        };
        let every = (configuration.run.evaluate_epochs * images as f64).round() as u64;
        let evaluations = Evaluations::new(every, total, leases.consumed(), first_id, evaluations);
        let momentum = MomentumSwitch::new(configuration.optimisation.momentum_at, momentum_moved);
        let meter = Meter::new(total, steps, Instant::now());
        Run { data, leases, evaluations, meter, momentum, rule }
    }
}

impl State {
    /// The run, which exists once a worker has joined.
    ///
    /// # Panics
    /// If no worker has joined yet.
    fn run(&mut self) -> &mut Run {
        self.run.as_mut().expect("members have joined, so the data is known")
    }

    /// Records the statuses of one process's shards. A shard whose sample count fell was restored from a
    /// file.
    fn observe(&mut self, statuses: Vec<ShardStatus>) {
        let lost = statuses.iter().filter_map(|status| {
            let before = self.statuses.get(&status.shard)?.samples;
            Some((before.checked_sub(status.samples)?, status.shard))
        });
        let lost = lost.max().filter(|(samples, _)| *samples > 0);
        if let (Some((samples, shard)), Some(run)) = (lost, &mut self.run) {
            tracing::warn!(
                "shard {shard} came back without the newest {samples} samples: their updates are lost"
            );
            run.leases.record_lost(samples);
        }
        self.statuses.extend(statuses.into_iter().map(|status| (status.shard, status)));
        self.compare_layouts();
    }

    /// Ends the run if shards have adopted different networks, as workers of different builds may bring them.
    fn compare_layouts(&mut self) {
        let mut layouts =
            self.statuses.values().filter_map(|status| Some((status.shard, status.layout.as_ref()?)));
        let Some((first, expected)) = layouts.next() else { return };
        if let Some((shard, found)) = layouts.find(|(_, layout)| *layout != expected) {
            self.end(Ending::Failed(format!(
                "shard {shard} holds a network with the fingerprint {found}, expected {expected} as in shard {first}; start \
                 all workers from one release, and the run with --fresh"
            )));
        }
    }

    /// Prepares for the loss of updates in shards whose process was restarted: they had applied everything
    /// used until now, even if their last status was older.
    fn expect_loss(&mut self, shards: RangeInclusive<u32>) {
        let had = self.run.as_ref().map_or(0, |run| run.leases.used().saturating_sub(run.leases.lost()));
        for shard in shards {
            let status =
                self.statuses.entry(shard).or_insert(ShardStatus { shard, ..ShardStatus::default() });
            status.samples = status.samples.max(had);
        }
    }

    /// Removes members that were silent for too long and takes their leases and evaluations back.
    fn expire(&mut self, lease_time: Duration) {
        for (member, name) in self.members.expire(Instant::now()) {
            let run = self.run();
            let leases = run.leases.take_back(member.incarnation, true);
            run.evaluations.take_back(member.incarnation);
            tracing::warn!(
                "worker {} ({name}) was not heard of for {} s and is out; {leases} leases go to others",
                member.worker,
                lease_time.as_secs()
            );
        }
    }

    /// Adds a line of training metrics if one is due, or for the end of the run (`last`).
    fn add_training_line(&mut self, last: bool) {
        let traffic = Traffic::of(self.statuses.values());
        let Some(run) = &mut self.run else { return };
        let position = RunPosition {
            epoch: run.leases.epoch(),
            samples: run.leases.used(),
            leases: run.leases.outstanding() as u32,
            workers: self.members.len() as u32,
        };
        if let Some(line) = run.meter.line(Instant::now(), position, traffic, last) {
            self.latest = Some(line.clone());
            self.lines.push(Line::Train(line));
        }
    }

    /// Ends the run, unless it has already ended.
    fn end(&mut self, ending: Ending) {
        if self.ending.is_none() {
            self.ending = Some(ending);
        }
    }

    /// Starts the run with the first worker's data, or compares the data with the run's.
    fn admit_data(&mut self, data: DataDescription, first_id: u64, host: &ShardHost) -> Result<(), Refusal> {
        if let Some(run) = &self.run {
            return admission::data(&run.data, &data);
        }
        let classes = data.classes.len();
        if data.images == 0 {
            return Err(Refusal::Mismatch("the data has no training images, expected at least 1".into()));
        }
        if let Some(expected) = self.configuration.network.classes.filter(|expected| *expected != classes) {
            return Err(Refusal::Mismatch(format!(
                "configuration key network.classes is {expected}, the data has {classes} classes; \
                 leave --classes out or give other data"
            )));
        }
        if data.images > MOST_IMAGES {
            return Err(Refusal::Mismatch(format!(
                "the data has {} training images, expected at most {MOST_IMAGES}",
                data.images
            )));
        }
        let mut configuration = self.configuration.clone();
        configuration.network.classes = Some(classes);
        configuration
            .validate()
            .map_err(|error| Refusal::Mismatch(format!("the data's classes: {error}")))?;
        self.configuration = configuration;
        let run = Run::new(&self.configuration, data, first_id, Vec::new(), None, false);
        host.begin(&run.rule)?;
        let (total, images) = (run.rule.total_samples, run.data.images);
        tracing::info!("the run: {classes} classes, {images} training images, {total} samples in all");
        self.run = Some(run);
        Ok(())
    }

    /// The end of the run, if members may be told of it.
    fn announced_ending(&self) -> Option<Ending> {
        self.ending.clone().filter(|ending| self.completion_announced || *ending != Ending::Completed)
    }

    /// Chooses what a member is to do next.
    fn assign(&mut self, member: Member) -> Assignment {
        if let Some(ending) = self.announced_ending() {
            self.members.mark_told(member);
            return Assignment::Finished(ending);
        }
        let ended = self.ending.is_some();
        let held_back = self.snapshot_pending && self.members.len() == 1;
        let run = self.run();
        if let Some(order) =
            run.evaluations.order(member.incarnation, run.leases.consumed(), run.leases.used())
        {
            return Assignment::Evaluate(order);
        }
        if held_back {
            let reason = "a snapshot".into();
            return Assignment::Wait { milliseconds: SNAPSHOT_PAUSE_MILLISECONDS, reason };
        }
        if let Some(lease) = run.leases.lease(member.incarnation, run.momentum.form()) {
            return Assignment::Train(lease);
        }
        let reason = match run.leases.outstanding() {
            0 if ended => "the last snapshot".into(),
            0 => "the last evaluation".into(),
            out => format!("{out} leases that are still out"),
        };
        Assignment::Wait { milliseconds: PAUSE_MILLISECONDS, reason }
    }

    /// Counts refused minibatches and ends the run if it has diverged.
    fn record_refused(&mut self, metrics: &StepMetrics) {
        // The order of the minibatches in a report is not known, so one that was applied ends the row of
        // refused ones.
        if metrics.refused < metrics.steps {
            self.refused_in_row = 0;
        } else {
            self.refused_in_row = self.refused_in_row.saturating_add(metrics.refused);
        }
        let reason = if metrics.diverged {
            format!("a loss is not finite, or above {LARGEST_LOSS:e}")
        } else if self.refused_in_row >= MOST_REFUSED {
            format!(
                "the pushes of {} minibatches in a row were refused as not finite or far too large",
                self.refused_in_row
            )
        } else {
            return;
        };
        let (samples, rate) = (self.run().leases.used(), self.configuration.optimisation.learning_rate);
        self.end(Ending::Diverged(format!(
            "training diverged after {samples} samples at learning rate {rate}: {reason}; \
             try --learning-rate {} --fresh",
            rate / 2.0
        )));
    }

    /// Records unreadable images and ends the run if there are too many.
    fn record_unreadable(&mut self, skipped: Vec<String>) {
        let images = self.run().data.images;
        for image in skipped {
            if self.unreadable.insert(image.clone()) {
                tracing::warn!("skipped an unreadable image: {image}");
            }
        }
        let count = self.unreadable.len();
        if count as f64 > MOST_UNREADABLE * images as f64
            && let Some(example) = self.unreadable.first()
        {
            let text = format!(
                "{count} of {images} training images are unreadable, expected at most 5 %; one of them: {example}; \
                 repair or remove them, then start again with --fresh"
            );
            self.end(Ending::Failed(text));
        }
    }

    /// Records the result of an evaluation; the last one completes the run.
    fn record_evaluation(&mut self, member: Member, evaluation: Evaluation) {
        if !self.run().evaluations.record(member.incarnation, evaluation.clone()) {
            return;
        }
        let last = self.run().evaluations.last().is_some();
        if last {
            self.add_training_line(true);
        }
        self.lines.push(Line::Evaluation(EvaluationLine::new(&evaluation, self.latest.as_ref())));
        if last {
            self.end(Ending::Completed);
        }
    }

    /// Removes a member that leaves, and takes its leases and evaluations back.
    fn leave(&mut self, member: Member) {
        let leases = self.run().leases.take_back(member.incarnation, false);
        self.run().evaluations.take_back(member.incarnation);
        if let Some(name) = self.members.leave(member) {
            let left = self.members.len();
            tracing::info!(
                "worker {} ({name}) left, {leases} leases given back; {left} workers",
                member.worker
            );
        }
    }

    /// Returns the run's state, and a detail of it for people.
    fn describe(&self) -> (RunState, String) {
        match (&self.ending, &self.run) {
            (Some(Ending::Completed), _) if !self.completion_announced => {
                (RunState::Evaluating, "the last snapshot".into())
            }
            (Some(Ending::Completed), _) => (RunState::Finished, String::new()),
            (Some(Ending::Diverged(text)), _) => (RunState::Diverged, text.clone()),
            (Some(Ending::Failed(text)), _) => (RunState::Failed, text.clone()),
            (Some(Ending::Interrupted), _) => (RunState::Interrupted, String::new()),
            (None, _) if !self.processes.complete() => (RunState::Waiting, self.processes.missing()),
            (None, Some(run)) if run.leases.done() => (RunState::Evaluating, "the last evaluation".into()),
            (None, _) if self.members.is_empty() => (RunState::Waiting, "workers to join".into()),
            (None, _) => (RunState::Training, String::new()),
        }
    }
}

impl protocol::Coordinator for Coordinator {
    fn join(&self, request: JoinRequest) -> Result<JoinReply, Refusal> {
        admission::protocol_version("worker", request.protocol)?;
        let mut state = self.state();
        if !state.processes.complete() {
            return Err(Refusal::NotReady(format!("waiting for {}", state.processes.missing())));
        }
        state.admit_data(request.data, first_id(self.settings.life), &self.host)?;
        let member = state.members.join(request.name.clone(), Instant::now());
        tracing::info!("worker {} joined ({}); {} workers", member.worker, request.name, state.members.len());
        Ok(JoinReply { member, configuration: state.configuration.clone(), shards: state.processes.shards() })
    }

    fn assign(&self, member: Member, call: u64) -> Result<Assignment, Refusal> {
        let mut state = self.state();
        state.members.record_call(member, Instant::now())?;
        if let Some(assignment) = state.members.earlier_answer(member, call) {
            return Ok(assignment);
        }
        let assignment = state.assign(member);
        state.members.keep_answer(member, call, assignment.clone());
        Ok(assignment)
    }

    fn report(&self, report: Report, call: u64) -> Result<Option<Ending>, Refusal> {
        let Report { member, progress, metrics, evaluation, leaving } = report;
        // The last line of a run needs the present counters: a short run may end before the first tick has
        // read any.
        let statuses = if evaluation.is_some() { self.host.status() } else { Vec::new() };
        let mut state = self.state();
        state.observe(statuses);
        match state.members.record_call(member, Instant::now()) {
            // A worker that has left stays left: ignore its last report if it is repeated, or comes after the
            // worker expired.
            Err(_) if leaving => return Ok(state.announced_ending()),
            recorded => recorded?,
        }
        if !state.members.record_report(member, call) {
            return Ok(state.announced_ending());
        }
        let run = state.run();
        for progress in &progress {
            run.leases
                .report(member.incarnation, progress)
                .map_err(|error| Refusal::Invalid(format!("worker {}: {error}", member.worker)))?;
        }
        run.meter.add(&metrics);
        if metrics.steps > metrics.refused {
            run.momentum.record(member.incarnation);
        }
        for ledger in run.leases.take_complete() {
            tracing::info!(
                epoch = ledger.epoch,
                images = ledger.images,
                distinct = ledger.distinct,
                repeated = ledger.repeated,
                skipped = ledger.skipped,
                lost = ledger.lost,
                "epoch is complete"
            );
        }
        state.record_unreadable(progress.into_iter().flat_map(|progress| progress.skipped).collect());
        state.record_refused(&metrics);
        if let Some(evaluation) = evaluation {
            state.record_evaluation(member, evaluation);
        }
        if leaving {
            state.leave(member);
        }
        let ending = state.announced_ending();
        if ending.is_some() {
            state.members.mark_told(member);
        }
        Ok(ending)
    }

    fn register(&self, request: RegisterRequest) -> Result<RegisterReply, Refusal> {
        admission::protocol_version("shard process", request.protocol)?;
        let mut state = self.state();
        let RegisterRequest { address, shards, holds, .. } = request;
        let held = holds.map(|holding| holding.first_shard);
        let of_another_life = holds.is_some_and(|holding| holding.life != self.settings.life);
        let placement = if of_another_life {
            // These shards hold updates made after the snapshot that this life began with. The process is
            // told to go back to that snapshot, and counts as registered only when it calls again.
            state.processes.find(&address, shards, held)?
        } else {
            state.processes.register(&address, shards, held)?
        };
        let Placement { first_shard, registered_before: again } = placement;
        let last = first_shard + shards - 1;
        match (again, holds) {
            (false, None) => tracing::info!("shards {first_shard} to {last} are at {address}"),
            (false, Some(_)) if of_another_life => {
                tracing::info!(
                    "shards {first_shard} to {last}, at {address}, go back to where this run goes on"
                );
            }
            (false, Some(_)) => tracing::info!("shards {first_shard} to {last} are at {address} as before"),
            (true, None) => {
                tracing::warn!(
                    "the process at {address} came back: shards {first_shard} to {last} go on from its newest snapshot"
                );
                state.expect_loss(first_shard..=last);
            }
            // The process only shows that it is still there.
            (true, Some(_)) => {}
        }
        Ok(RegisterReply {
            first_shard,
            total_shards: self.settings.processes * self.settings.shards,
            restore: state.snapshot.as_ref().map(|snapshot| snapshot.of(first_shard, shards)),
            life: self.settings.life,
            again,
            rule: state.run.as_ref().map(|run| run.rule.clone()),
        })
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
            workers: state.members.len() as u32,
            leases: run.map_or(0, |run| run.leases.outstanding()) as u32,
            latest: state.latest.clone(),
            evaluations: run.map(|run| run.evaluations.done().to_vec()).unwrap_or_default(),
            layout,
            configuration: state.configuration.clone(),
            classes: run.map(|run| run.data.classes.clone()).unwrap_or_default(),
            unreadable: state.unreadable.len() as u64,
            data_hash: run.map(|run| run.data.hash.clone()).unwrap_or_default(),
            shards: state.processes.shards(),
        }
    }
}

#[cfg(test)]
mod tests;
