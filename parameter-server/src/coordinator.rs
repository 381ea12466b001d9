//! The coordinator: membership, the run's decisions, leases of samples, evaluations, and the end.
//!
//! All of it is one state behind one lock, changed by short calls that never wait. The clock is tokio's, so that a
//! simulation can turn it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use configuration::{RunConfiguration, Wire};
use protocol::{
    Assignment, DataDescription, Ending, Evaluation, JoinReply, JoinRequest, LARGEST_LOSS, Member, Plan,
    Refusal, RegisterReply, RegisterRequest, Report, RunStatus, ShardStatus, Shards, Snapshot, StepMetrics,
    TrainingLine,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    ShardHost, admission,
    evaluations::Evaluations,
    leases::{Leases, Progress, Range},
    membership::Membership,
    metrics::{EvaluationLine, Line, Meter, Place, Traffic},
    plan::plan,
    processes::Processes,
};

/// Minibatches in a row, over all workers, whose refused pushes end the run.
const MOST_REFUSED: u64 = 20;
/// Share of the training images that may be unreadable.
const MOST_UNREADABLE: f64 = 0.05;
/// Training images of a data set at most: workers number them in 32 bits.
const MOST_IMAGES: u64 = u32::MAX as u64;
/// Pause of a worker for which there is nothing to do now.
const PAUSE_MILLISECONDS: u64 = 200;
/// Pause of a lone worker that a snapshot keeps from working.
const SNAPSHOT_PAUSE_MILLISECONDS: u64 = 20;

/// What a coordinator is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The run's configuration; the first worker's data completes it.
    pub configuration: RunConfiguration,
    /// Processes that form the server.
    pub processes: u32,
    /// Shards of each process.
    pub shards: u32,
    /// Where workers reach this process.
    pub address: String,
    /// How long a member may be silent.
    pub lease_time: Duration,
    /// How often the run was started before: makes the numbers of this life unlike those of earlier ones.
    pub life: u64,
}

/// What a snapshot keeps of the run beside the shards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpointed {
    /// The configuration, complete.
    pub configuration: RunConfiguration,
    /// The data that the run trains on.
    pub data: DataDescription,
    /// Epochs, leases, counts.
    pub progress: Progress,
    /// Minibatches acknowledged.
    pub steps: u64,
    /// Names of the unreadable images met so far.
    pub unreadable: BTreeSet<String>,
    /// Results so far.
    pub evaluations: Vec<Evaluation>,
    /// Whether the run is complete, its last evaluation included.
    pub finished: bool,
    /// Addresses of the processes, in the order of their shards.
    pub addresses: Vec<String>,
}

impl Checkpointed {
    /// Whether the numbers fit each other, so that a run can go on with them.
    pub(crate) fn is_consistent(&self) -> bool {
        let Checkpointed { configuration, data, progress, .. } = self;
        let total = plan(configuration, data.images).total_samples;
        let within = |range: &Range| range.start <= range.end && range.end <= data.images;
        data.images > 0
            && progress.leased <= total
            && progress.to_do.iter().all(within)
            && progress.is_consistent()
    }
}

/// One per run, in the server's first process.
pub struct Coordinator {
    settings: Settings,
    host: Arc<ShardHost>,
    state: Mutex<State>,
}

struct State {
    configuration: RunConfiguration,
    processes: Processes,
    members: Membership,
    /// None until a worker brought the data.
    run: Option<Run>,
    refused_in_row: u64,
    unreadable: BTreeSet<String>,
    statuses: BTreeMap<u32, ShardStatus>,
    latest: Option<TrainingLine>,
    /// Lines that nobody took yet.
    lines: Vec<Line>,
    /// The newest snapshot; its hashes are those of all shards.
    snapshot: Option<Snapshot>,
    /// Whether a snapshot is due or being taken.
    settling: bool,
    ending: Option<Ending>,
    /// Whether members may be told of the completion: once it is in a snapshot.
    announced: bool,
}

struct Run {
    data: DataDescription,
    plan: Plan,
    leases: Leases,
    evaluations: Evaluations,
    meter: Meter,
}

impl Coordinator {
    /// Starts a run, or goes on with what a snapshot holds, whose hashes are those of all shards' files.
    pub fn new(
        settings: Settings,
        host: Arc<ShardHost>,
        resumed: Option<(Snapshot, Checkpointed)>,
    ) -> Coordinator {
        let first = numbers(settings.life);
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
            settling: false,
            ending: None,
            announced: false,
        };
        if let Some((snapshot, saved)) = resumed {
            state.snapshot = Some(snapshot);
            state.ending = saved.finished.then_some(Ending::Completed);
            state.announced = saved.finished;
            state.processes.remember(&saved.addresses);
            state.unreadable = saved.unreadable;
            state.configuration = saved.configuration;
            state.run = Some(Run::new(
                &state.configuration,
                saved.data,
                first,
                saved.evaluations,
                Some((&saved.progress, saved.steps)),
            ));
        }
        Coordinator { settings, host, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no call panicked with the state in hand")
    }

    /// To be called a few times a second: puts silent members out, takes the shards' counters in, and returns the
    /// lines of metrics that became due.
    pub fn tick(&self) -> Vec<Line> {
        let statuses = self.host.status();
        let mut state = self.state();
        state.observe(statuses);
        state.expire(self.settings.lease_time);
        state.draw_line(false);
        std::mem::take(&mut state.lines)
    }

    /// Takes in the counters of shards of other processes.
    pub fn observe(&self, statuses: Vec<ShardStatus>) {
        self.state().observe(statuses);
    }

    /// Stops the run so that it can be resumed: no more leases, workers are told. A run that ended stays as it ended.
    pub fn interrupt(&self) {
        self.state().ending.get_or_insert(Ending::Interrupted);
    }

    /// Lets members know that the run is complete: from now on no restart can make it incomplete again.
    pub fn announce(&self) {
        self.state().announced = true;
    }

    /// How the run ended, if it did.
    pub fn ending(&self) -> Option<Ending> {
        self.state().ending.clone()
    }

    /// Whether no member is left that does not know of the end, and whether none is left at all.
    pub fn farewell(&self) -> (bool, bool) {
        let state = self.state();
        (state.members.all_told(), state.members.is_empty())
    }

    /// Whether all processes of the server are there.
    pub fn complete(&self) -> bool {
        self.state().processes.complete()
    }

    /// Addresses of the server's other processes that are there.
    pub fn others(&self) -> Vec<String> {
        self.state().processes.addresses().skip(1).map(str::to_string).collect()
    }

    /// What a snapshot begun now must keep; none before the data is known.
    pub fn checkpoint(&self) -> Option<Checkpointed> {
        let state = self.state();
        let run = state.run.as_ref()?;
        Some(Checkpointed {
            configuration: state.configuration.clone(),
            data: run.data.clone(),
            progress: run.leases.progress(),
            steps: run.meter.steps(),
            unreadable: state.unreadable.clone(),
            evaluations: run.evaluations.done().to_vec(),
            finished: state.ending == Some(Ending::Completed),
            addresses: state.processes.addresses().map(str::to_string).collect(),
        })
    }

    /// Prepares a snapshot; whether it may be taken now. A lone worker gets no more leases, and once it has handed in
    /// those that it has, no push is under way: what is kept then is one moment of the run, from which it goes on bit by
    /// bit. Several workers are not waited for.
    pub fn settle(&self) -> bool {
        let mut state = self.state();
        state.settling = true;
        state.members.len() > 1 || state.run.as_ref().is_none_or(|run| run.leases.out() == 0)
    }

    /// The snapshot is taken or given up: the leases go on.
    pub fn go_on(&self) {
        self.state().settling = false;
    }

    /// Notes that a snapshot is complete, with the hashes of all shards' files.
    pub fn snapshot_taken(&self, snapshot: Snapshot) {
        self.state().snapshot = Some(snapshot);
    }
}

/// The first number of leases, incarnations and evaluations in the run's life `life`: each life has its own, since
/// shards and workers may remember those of another.
fn numbers(life: u64) -> u64 {
    (life << 32) + 1
}

impl Run {
    fn new(
        configuration: &RunConfiguration,
        data: DataDescription,
        first_number: u64,
        evaluations: Vec<Evaluation>,
        progress: Option<(&Progress, u64)>,
    ) -> Run {
        let plan = plan(configuration, data.images);
        let (images, total) = (data.images, plan.total_samples);
        let size = configuration.run.lease_batches * configuration.run.batch as u64;
        let (leases, steps) = match progress {
            Some((progress, steps)) => (Leases::resume(images, total, size, first_number, progress), steps),
            None => (Leases::new(images, total, size, first_number), 0),
        };
        let every = (configuration.run.evaluate_epochs * images as f64).round() as u64;
        let evaluations = Evaluations::new(every, total, leases.consumed(), first_number, evaluations);
        Run { data, leases, evaluations, meter: Meter::new(total, steps, Instant::now()), plan }
    }
}

impl State {
    /// The run, which exists once somebody could join.
    fn run(&mut self) -> &mut Run {
        self.run.as_mut().expect("members have joined, so the data is known")
    }

    /// Takes in what the shards of one process say. A shard whose samples fell came back from a file.
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
            run.leases.lose(samples);
        }
        self.statuses.extend(statuses.into_iter().map(|status| (status.shard, status)));
    }

    /// The shards of a process that came back had whatever was used until now, even if they did not live to say so.
    fn expect_loss(&mut self, shards: RangeInclusive<u32>) {
        let had = self.run.as_ref().map_or(0, |run| run.leases.used().saturating_sub(run.leases.lost()));
        for shard in shards {
            let status =
                self.statuses.entry(shard).or_insert(ShardStatus { shard, ..ShardStatus::default() });
            status.samples = status.samples.max(had);
        }
    }

    fn expire(&mut self, lease_time: Duration) {
        for (member, name) in self.members.expire(Instant::now()) {
            let run = self.run.as_mut().expect("members have joined, so the data is known");
            let leases = run.leases.take_back(member.incarnation, true);
            run.evaluations.take_back(member.incarnation);
            tracing::warn!(
                "worker {} ({name}) was not heard of for {} s and is out; {leases} leases go to others",
                member.worker,
                lease_time.as_secs()
            );
        }
    }

    fn draw_line(&mut self, last: bool) {
        let bytes = if self.configuration.run.wire == Wire::Bf16 { 2 } else { 4 };
        let traffic = Traffic::of(self.statuses.values(), bytes);
        let Some(run) = &mut self.run else { return };
        let place = Place {
            epoch: run.leases.epoch(),
            samples: run.leases.used(),
            leases: run.leases.out() as u32,
            workers: self.members.len() as u32,
        };
        if let Some(line) = run.meter.line(Instant::now(), place, traffic, last) {
            self.latest = Some(line.clone());
            self.lines.push(Line::Train(line));
        }
    }

    fn end(&mut self, ending: Ending) {
        if self.ending.is_none() {
            self.ending = Some(ending);
        }
    }

    /// Takes over the first worker's data, or compares.
    fn data(&mut self, data: DataDescription, first_number: u64) -> Result<(), Refusal> {
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
        let run = Run::new(&self.configuration, data, first_number, Vec::new(), None);
        let (total, images) = (run.plan.total_samples, run.data.images);
        tracing::info!("the run: {classes} classes, {images} training images, {total} samples in all");
        self.run = Some(run);
        Ok(())
    }

    /// How the run ended, as far as members may know.
    fn known_ending(&self) -> Option<Ending> {
        self.ending.clone().filter(|ending| self.announced || *ending != Ending::Completed)
    }

    /// What a member is to do next.
    fn assign(&mut self, member: Member) -> Assignment {
        if let Some(ending) = self.known_ending() {
            self.members.tell(member);
            return Assignment::Finished(ending);
        }
        let ended = self.ending.is_some();
        let held_back = self.settling && self.members.len() == 1;
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
        if let Some(lease) = run.leases.lease(member.incarnation) {
            return Assignment::Train(lease);
        }
        let reason = match run.leases.out() {
            0 if ended => "the last snapshot".into(),
            0 => "the last evaluation".into(),
            out => format!("{out} leases that are still out"),
        };
        Assignment::Wait { milliseconds: PAUSE_MILLISECONDS, reason }
    }

    fn note_refused(&mut self, metrics: &StepMetrics) {
        // A report with usable minibatches among the refused ones breaks the row, wherever in it they were.
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

    fn note_unreadable(&mut self, skipped: Vec<String>) {
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

    fn note_evaluation(&mut self, member: Member, evaluation: Evaluation) {
        if !self.run().evaluations.record(member.incarnation, evaluation.clone()) {
            return;
        }
        let last = self.run().evaluations.last().is_some();
        if last {
            self.draw_line(true);
        }
        self.lines.push(Line::Evaluation(EvaluationLine::new(&evaluation, self.latest.as_ref())));
        if last {
            self.end(Ending::Completed);
        }
    }

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

    /// Name of the state and what there is to say of it.
    fn describe(&self) -> (&'static str, String) {
        match (&self.ending, &self.run) {
            (Some(Ending::Completed), _) if !self.announced => ("evaluating", "the last snapshot".into()),
            (Some(Ending::Completed), _) => ("finished", String::new()),
            (Some(Ending::Diverged(text)), _) => ("diverged", text.clone()),
            (Some(Ending::Failed(text)), _) => ("failed", text.clone()),
            (Some(Ending::Interrupted), _) => ("interrupted", String::new()),
            (None, _) if !self.processes.complete() => ("waiting", self.processes.missing()),
            (None, Some(run)) if run.leases.done() => ("evaluating", "the last evaluation".into()),
            (None, _) if self.members.is_empty() => ("waiting", "workers to join".into()),
            (None, _) => ("training", String::new()),
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
        state.data(request.data, numbers(self.settings.life))?;
        let member = state.members.join(request.name.clone(), Instant::now());
        tracing::info!("worker {} joined ({}); {} workers", member.worker, request.name, state.members.len());
        Ok(JoinReply {
            member,
            configuration: state.configuration.clone(),
            plan: state.run().plan.clone(),
            shards: state.processes.shards(),
        })
    }

    fn assign(&self, member: Member, call: u64) -> Result<Assignment, Refusal> {
        let mut state = self.state();
        state.members.hear(member, Instant::now())?;
        if let Some(assignment) = state.members.assigned(member, call) {
            return Ok(assignment);
        }
        let assignment = state.assign(member);
        state.members.assign(member, call, assignment.clone());
        Ok(assignment)
    }

    fn report(&self, report: Report, call: u64) -> Result<Option<Ending>, Refusal> {
        let Report { member, progress, metrics, evaluation, leaving } = report;
        // The last line of a run tells the counters of now, not those of the last tick: a short run may have had none.
        let statuses = if evaluation.is_some() { self.host.status() } else { Vec::new() };
        let mut state = self.state();
        state.observe(statuses);
        match state.members.hear(member, Instant::now()) {
            // The repetition of a last report, or the last one of somebody who is out already: gone is gone.
            Err(_) if leaving => return Ok(state.known_ending()),
            heard => heard?,
        }
        if !state.members.reports(member, call) {
            return Ok(state.known_ending());
        }
        let run = state.run();
        for progress in &progress {
            run.leases
                .report(member.incarnation, progress)
                .map_err(|error| Refusal::Invalid(format!("worker {}: {error}", member.worker)))?;
        }
        run.meter.add(&metrics);
        for account in run.leases.complete() {
            tracing::info!(
                epoch = account.epoch,
                images = account.images,
                distinct = account.distinct,
                repeated = account.repeated,
                skipped = account.skipped,
                lost = account.lost,
                "epoch is complete"
            );
        }
        state.note_unreadable(progress.into_iter().flat_map(|progress| progress.skipped).collect());
        state.note_refused(&metrics);
        if let Some(evaluation) = evaluation {
            state.note_evaluation(member, evaluation);
        }
        if leaving {
            state.leave(member);
        }
        let ending = state.known_ending();
        if ending.is_some() {
            state.members.tell(member);
        }
        Ok(ending)
    }

    fn register(&self, request: RegisterRequest) -> Result<RegisterReply, Refusal> {
        admission::protocol_version("shard process", request.protocol)?;
        let mut state = self.state();
        let RegisterRequest { address, shards, holds, .. } = request;
        let held = holds.map(|holding| holding.first_shard);
        let of_another_life = holds.is_some_and(|holding| holding.life != self.settings.life);
        let (first_shard, again) = if of_another_life {
            // They have what came behind the snapshot that this life began with, and go back to it: then they are there.
            state.processes.place(&address, shards, held)?
        } else {
            state.processes.register(&address, shards, held)?
        };
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
            // It only shows that it is there.
            (true, Some(_)) => {}
        }
        Ok(RegisterReply {
            first_shard,
            total_shards: self.settings.processes * self.settings.shards,
            restore: state.snapshot.as_ref().map(|snapshot| snapshot.of(first_shard, shards)),
            life: self.settings.life,
            again,
        })
    }

    fn status(&self) -> RunStatus {
        let layout = self.host.layout();
        let state = self.state();
        let (name, detail) = state.describe();
        let run = state.run.as_ref();
        RunStatus {
            state: name.into(),
            detail,
            samples: run.map_or(0, |run| run.leases.used()),
            total_samples: run.map_or(0, |run| run.leases.total()),
            epoch: run.map_or(0, |run| run.leases.epoch()),
            workers: state.members.len() as u32,
            leases: run.map_or(0, |run| run.leases.out()) as u32,
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
