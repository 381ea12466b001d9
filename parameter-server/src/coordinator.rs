//! The coordinator: membership, the run's decisions, leases of samples, evaluations, and the end.
//!
//! All of it is one state behind one lock, changed by short calls that never wait. The clock is tokio's, so that a
//! simulation can turn it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use configuration::{RunConfiguration, Wire};
use protocol::{
    Assignment, DataDescription, Ending, Evaluation, JoinReply, JoinRequest, Member, PROTOCOL_VERSION, Plan,
    Refusal, RegisterReply, RegisterRequest, Report, RunStatus, ShardStatus, Shards, StepMetrics,
    TrainingLine,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    ShardHost,
    evaluations::Evaluations,
    leases::{Leases, Progress},
    membership::Membership,
    metrics::{EvaluationLine, Line, Meter, Place, Traffic},
    processes::Processes,
};

/// Minibatches in a row, over all workers, whose refused pushes end the run.
const MOST_REFUSED: u64 = 20;
/// Share of the training images that may be unreadable.
const MOST_UNREADABLE: f64 = 0.05;
/// Pause of a worker for which there is nothing to do now.
const PAUSE_MILLISECONDS: u64 = 200;

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
    /// The newest snapshot, and the samples used when it was begun.
    snapshot: Option<(u64, u64)>,
    ending: Option<Ending>,
}

struct Run {
    data: DataDescription,
    plan: Plan,
    leases: Leases,
    evaluations: Evaluations,
    meter: Meter,
}

impl Coordinator {
    /// Starts a run, or goes on with what snapshot `id` holds.
    pub fn new(
        settings: Settings,
        host: Arc<ShardHost>,
        resumed: Option<(u64, Checkpointed)>,
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
            ending: None,
        };
        if let Some((id, saved)) = resumed {
            state.snapshot = Some((id, saved.progress.used));
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

    /// How the run ended, if it did.
    pub fn ending(&self) -> Option<Ending> {
        self.state().ending.clone()
    }

    /// Whether no member is left that does not know of the end, and whether none is left at all.
    pub fn farewell(&self) -> (bool, bool) {
        let state = self.state();
        (state.members.all_told(), state.members.is_empty())
    }

    /// Addresses of the server's other processes.
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

    /// Notes that snapshot `id` is complete; `used` samples are in it.
    pub fn snapshot_taken(&self, id: u64, used: u64) {
        self.state().snapshot = Some((id, used));
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

/// What every shard must know, from the configuration and the number of training images.
pub fn plan(configuration: &RunConfiguration, images: u64) -> Plan {
    let optimisation = &configuration.optimisation;
    let total_samples = configuration.total_samples(images);
    Plan {
        seed: configuration.run.seed,
        learning_rate: optimisation.learning_rate,
        stair_factor: optimisation.stair_factor,
        stair_samples: ((optimisation.stair_epochs * images as f64).round() as u64).max(1),
        ramp_samples: (optimisation.ramp * total_samples as f64).round() as u64,
        momentum: optimisation.momentum,
        weight_decay: optimisation.weight_decay,
        average_decay: optimisation.average_decay,
        total_samples,
    }
}

impl State {
    /// The run, which exists once somebody could join.
    fn run(&mut self) -> &mut Run {
        self.run.as_mut().expect("members have joined, so the data is known")
    }

    fn observe(&mut self, statuses: Vec<ShardStatus>) {
        self.statuses.extend(statuses.into_iter().map(|status| (status.shard, status)));
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
            return compare(&run.data, &data);
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
        self.configuration.network.classes = Some(classes);
        let run = Run::new(&self.configuration, data, first_number, Vec::new(), None);
        let (total, images) = (run.plan.total_samples, run.data.images);
        tracing::info!("the run: {classes} classes, {images} training images, {total} samples in all");
        self.run = Some(run);
        Ok(())
    }

    fn note_refused(&mut self, metrics: &StepMetrics) {
        // A report with usable minibatches among the refused ones breaks the row, wherever in it they were.
        if metrics.refused < metrics.steps {
            self.refused_in_row = 0;
        } else {
            self.refused_in_row += metrics.refused;
        }
        let reason = if metrics.diverged {
            "a loss is not finite".to_string()
        } else if self.refused_in_row >= MOST_REFUSED {
            format!("the pushes of {} minibatches in a row were refused as not finite", self.refused_in_row)
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
        check_protocol("worker", request.protocol)?;
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

    fn assign(&self, member: Member) -> Result<Assignment, Refusal> {
        let mut state = self.state();
        state.members.hear(member, Instant::now())?;
        if let Some(ending) = state.ending.clone() {
            state.members.tell(member);
            return Ok(Assignment::Finished(ending));
        }
        let run = state.run();
        if let Some(order) =
            run.evaluations.order(member.incarnation, run.leases.consumed(), run.leases.used())
        {
            return Ok(Assignment::Evaluate(order));
        }
        if let Some(lease) = run.leases.lease(member.incarnation) {
            return Ok(Assignment::Train(lease));
        }
        let reason = match run.leases.out() {
            0 => "the last evaluation".into(),
            out => format!("{out} leases that are still out"),
        };
        Ok(Assignment::Wait { milliseconds: PAUSE_MILLISECONDS, reason })
    }

    fn report(&self, report: Report) -> Result<Option<Ending>, Refusal> {
        let Report { member, progress, metrics, evaluation, leaving } = report;
        let mut state = self.state();
        state.members.hear(member, Instant::now())?;
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
        if state.ending.is_some() {
            state.members.tell(member);
        }
        Ok(state.ending.clone())
    }

    fn register(&self, request: RegisterRequest) -> Result<RegisterReply, Refusal> {
        check_protocol("shard process", request.protocol)?;
        let mut state = self.state();
        let (first_shard, again) = state.processes.register(&request.address, request.shards)?;
        let last = first_shard + request.shards - 1;
        tracing::info!("shards {first_shard} to {last} are at {}", request.address);
        let snapshot = state.snapshot;
        if again && let Some(run) = &mut state.run {
            let lost = run.leases.used() - snapshot.map_or(0, |(_, used)| used);
            run.leases.lose(lost);
            tracing::warn!(
                "the process at {} came back and goes on from snapshot {:?}: shards {first_shard} to {last} \
                 forget up to {lost} samples",
                request.address,
                snapshot.map(|(id, _)| id)
            );
        }
        Ok(RegisterReply {
            first_shard,
            total_shards: self.settings.processes * self.settings.shards,
            restore: snapshot.map(|(id, _)| id),
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
            shards: state.processes.shards(),
        }
    }
}

fn check_protocol(who: &str, found: u32) -> Result<(), Refusal> {
    if found == PROTOCOL_VERSION {
        return Ok(());
    }
    Err(Refusal::Mismatch(format!(
        "protocol version: expected {PROTOCOL_VERSION}, found {found}; start the {who} from the server's release"
    )))
}

/// The first way in which a worker's data differs from the run's.
fn compare(run: &DataDescription, found: &DataDescription) -> Result<(), Refusal> {
    let differs = |what: &str, expected: String, found: String| {
        Err(Refusal::Mismatch(format!(
            "the data is not the run's: {what}: expected {expected}, found {found}; give every worker the same data"
        )))
    };
    if run.images != found.images {
        return differs("training images", run.images.to_string(), found.images.to_string());
    }
    if run.validation != found.validation {
        return differs("validation images", run.validation.to_string(), found.validation.to_string());
    }
    if run.classes.len() != found.classes.len() {
        return differs("classes", run.classes.len().to_string(), found.classes.len().to_string());
    }
    let names = run.classes.iter().zip(&found.classes);
    if let Some((label, (expected, found))) =
        names.enumerate().find(|(_, (expected, found))| expected != found)
    {
        return differs(&format!("class {label}"), expected.clone(), found.clone());
    }
    if run.hash != found.hash {
        return differs("hash of the file names", run.hash.clone(), found.hash.clone());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use protocol::{Coordinator as _, EvaluationOrder, Lease, LeaseProgress, Scores};
    use tokio::time::advance;

    use super::*;
    use crate::testing::{data, join};

    /// A run of 300 positions over 100 images in leases of 40, evaluated after each epoch.
    fn coordinator(processes: u32) -> Coordinator {
        let mut configuration = configuration::recipe("quick").unwrap();
        configuration.run.batch = 10;
        configuration.run.lease_batches = 4;
        configuration.run.epochs = 3.0;
        configuration.run.evaluate_epochs = 1.0;
        let settings = Settings {
            configuration,
            processes,
            shards: 2,
            address: "a:1".into(),
            lease_time: Duration::from_secs(30),
            life: 0,
        };
        Coordinator::new(settings, Arc::new(ShardHost::new(0, Vec::new(), "nowhere".into())), None)
    }

    fn report(member: Member) -> Report {
        Report {
            member,
            progress: Vec::new(),
            metrics: StepMetrics::default(),
            evaluation: None,
            leaving: false,
        }
    }

    fn whole(member: Member, lease: &Lease) -> Report {
        let positions = lease.end - lease.start;
        let progress = LeaseProgress {
            lease: lease.id,
            used: positions,
            consumed: positions,
            closed: true,
            skipped: Vec::new(),
        };
        Report { progress: vec![progress], ..report(member) }
    }

    fn scores(member: Member, order: &EvaluationOrder) -> Report {
        let evaluation = Evaluation {
            id: order.id,
            samples: order.samples,
            images: 100,
            average: Scores { top1: 0.5, ..Scores::default() },
            last_iterate: Scores::default(),
        };
        Report { evaluation: Some(evaluation), ..report(member) }
    }

    fn trained(coordinator: &Coordinator, member: Member) -> Lease {
        match coordinator.assign(member).unwrap() {
            Assignment::Train(lease) => lease,
            other => panic!("expected a lease, found {other:?}"),
        }
    }

    fn ordered(coordinator: &Coordinator, member: Member) -> EvaluationOrder {
        match coordinator.assign(member).unwrap() {
            Assignment::Evaluate(order) => order,
            other => panic!("expected an evaluation, found {other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_worker_trains_evaluates_and_is_told_the_end() {
        let coordinator = coordinator(1);
        assert_eq!(coordinator.status().detail, "workers to join");
        let member = coordinator.join(join(100)).unwrap().member;
        let mut evaluated = Vec::new();
        loop {
            match coordinator.assign(member).unwrap() {
                Assignment::Train(lease) => {
                    assert_eq!(coordinator.report(whole(member, &lease)).unwrap(), None);
                }
                Assignment::Evaluate(order) => {
                    evaluated.push((order.samples, order.last));
                    let ending = coordinator.report(scores(member, &order)).unwrap();
                    assert_eq!(ending, order.last.then_some(Ending::Completed));
                }
                Assignment::Finished(ending) => {
                    assert_eq!(ending, Ending::Completed);
                    break;
                }
                Assignment::Wait { .. } => panic!("nobody else is there to wait for"),
            }
        }
        assert_eq!(evaluated, [(100, false), (200, false), (300, true)]);
        assert_eq!(coordinator.farewell(), (true, false));
        coordinator.report(Report { leaving: true, ..report(member) }).unwrap();
        assert_eq!(coordinator.farewell(), (true, true));
        let status = coordinator.status();
        assert_eq!((status.state.as_str(), status.samples, status.evaluations.len()), ("finished", 300, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_worker_is_fenced_and_its_work_given_again() {
        let coordinator = coordinator(1);
        let (lost, other) =
            (coordinator.join(join(100)).unwrap().member, coordinator.join(join(100)).unwrap().member);
        for _ in 0..3 {
            let lease = trained(&coordinator, other);
            coordinator.report(whole(other, &lease)).unwrap();
        }
        let order = ordered(&coordinator, lost);
        let lease = trained(&coordinator, lost);
        advance(Duration::from_secs(20)).await;
        coordinator.report(report(other)).unwrap();
        advance(Duration::from_secs(11)).await;
        coordinator.tick();
        assert!(matches!(coordinator.assign(lost), Err(Refusal::Fenced(_))));
        assert!(matches!(coordinator.report(whole(lost, &lease)), Err(Refusal::Fenced(_))));
        assert_eq!(ordered(&coordinator, other), order);
        let again = trained(&coordinator, other);
        assert_eq!((again.epoch, again.start, again.end), (lease.epoch, lease.start, lease.end));
        assert_eq!((coordinator.status().workers, coordinator.status().samples), (1, 100));
    }

    #[tokio::test(start_paused = true)]
    async fn joins_that_do_not_fit_are_refused_by_name() {
        let coordinator = coordinator(2);
        let refused = |request| coordinator.join(request).unwrap_err();
        assert_eq!(
            refused(join(100)),
            Refusal::NotReady("waiting for 1 of 2 server processes to register".into())
        );
        let register = RegisterRequest { protocol: PROTOCOL_VERSION, address: "b:1".into(), shards: 2 };
        let reply = RegisterReply { first_shard: 2, total_shards: 4, restore: None };
        assert_eq!(coordinator.register(register), Ok(reply));

        let text = |request| match refused(request) {
            Refusal::Mismatch(text) => text,
            other => panic!("expected a mismatch, found {other:?}"),
        };
        assert_eq!(text(join(0)), "the data has no training images, expected at least 1");
        let other_release = JoinRequest { protocol: PROTOCOL_VERSION + 1, ..join(100) };
        let expected = format!(
            "protocol version: expected {PROTOCOL_VERSION}, found {}; start the worker from the server's release",
            PROTOCOL_VERSION + 1
        );
        assert_eq!(text(other_release), expected);

        assert_eq!(coordinator.join(join(100)).unwrap().configuration.network.classes, Some(10));
        let mut renamed = data(100);
        renamed.classes[3] = "tulips".into();
        let cases = [
            (data(99), "training images: expected 100, found 99"),
            (DataDescription { validation: 7, ..data(100) }, "validation images: expected 100, found 7"),
            (DataDescription { classes: vec!["a".into()], ..data(100) }, "classes: expected 10, found 1"),
            (renamed, "class 3: expected class 3, found tulips"),
            (
                DataDescription { hash: "beef".into(), ..data(100) },
                "hash of the file names: expected 5eed, found beef",
            ),
        ];
        for (data, difference) in cases {
            let expected =
                format!("the data is not the run's: {difference}; give every worker the same data");
            assert_eq!(text(JoinRequest { data, ..join(100) }), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn classes_that_the_configuration_names_must_be_the_datas() {
        let mut coordinator = coordinator(1);
        coordinator.state.get_mut().unwrap().configuration.network.classes = Some(5);
        let text = "configuration key network.classes is 5, the data has 10 classes; \
                    leave --classes out or give other data";
        assert_eq!(coordinator.join(join(100)).unwrap_err(), Refusal::Mismatch(text.into()));
    }

    #[tokio::test(start_paused = true)]
    async fn divergence_ends_the_run_and_names_a_rate() {
        let metrics =
            |steps, refused, diverged| StepMetrics { steps, refused, diverged, ..StepMetrics::default() };
        let diverged = |reports: &[StepMetrics]| {
            let coordinator = coordinator(1);
            let member = coordinator.join(join(100)).unwrap().member;
            let send = |metrics: &StepMetrics| {
                coordinator.report(Report { metrics: metrics.clone(), ..report(member) }).unwrap()
            };
            reports.iter().map(send).last().flatten()
        };
        let expected = |reason: &str| {
            Some(Ending::Diverged(format!(
                "training diverged after 0 samples at learning rate 0.02: {reason}; try --learning-rate 0.01 --fresh"
            )))
        };
        assert_eq!(diverged(&[metrics(5, 0, true)]), expected("a loss is not finite"));
        let row = [metrics(19, 19, false), metrics(1, 1, false)];
        let text = "the pushes of 20 minibatches in a row were refused as not finite";
        assert_eq!(diverged(&row), expected(text));
        assert_eq!(diverged(&[metrics(19, 19, false), metrics(1, 0, false), metrics(19, 19, false)]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_unreadable_images_end_the_run() {
        let coordinator = coordinator(1);
        let member = coordinator.join(join(100)).unwrap().member;
        let lease = trained(&coordinator, member);
        let skip = |count: u64| {
            let skipped = (0..count).map(|i| format!("rose/{i}.jpg: zero bytes")).collect();
            let progress =
                LeaseProgress { lease: lease.id, used: 0, consumed: count, closed: false, skipped };
            coordinator.report(Report { progress: vec![progress], ..report(member) }).unwrap()
        };
        assert_eq!(skip(5), None);
        assert_eq!(skip(5), None);
        let text = "6 of 100 training images are unreadable, expected at most 5 %; one of them: \
                    rose/0.jpg: zero bytes; repair or remove them, then start again with --fresh";
        assert_eq!(skip(6), Some(Ending::Failed(text.into())));
        assert_eq!(coordinator.status().state, "failed");
    }

    #[tokio::test(start_paused = true)]
    async fn an_interrupted_run_takes_what_is_handed_in_and_gives_nothing_out() {
        let coordinator = coordinator(1);
        let member = coordinator.join(join(100)).unwrap().member;
        let lease = trained(&coordinator, member);
        coordinator.interrupt();
        assert_eq!(coordinator.report(whole(member, &lease)), Ok(Some(Ending::Interrupted)));
        assert_eq!(coordinator.assign(member), Ok(Assignment::Finished(Ending::Interrupted)));
        assert_eq!(coordinator.checkpoint().unwrap().progress.used, 40);
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_life_goes_on_with_numbers_of_its_own() {
        let first = coordinator(1);
        let member = first.join(join(100)).unwrap().member;
        let (done, open) = (trained(&first, member), trained(&first, member));
        first.report(whole(member, &done)).unwrap();
        let settings = Settings { life: 1, ..first.settings.clone() };
        let host = Arc::new(ShardHost::new(0, Vec::new(), "nowhere".into()));
        let second = Coordinator::new(settings, host, Some((3, first.checkpoint().unwrap())));
        assert_eq!((second.status().samples, second.status().total_samples), (40, 300));
        assert!(matches!(second.join(join(99)), Err(Refusal::Mismatch(_))));
        let joined = second.join(join(100)).unwrap().member;
        assert!(joined.incarnation > u64::from(u32::MAX));
        let again = trained(&second, joined);
        assert_eq!((again.start, again.end), (open.start, open.end));
        assert_ne!(again.id, open.id);
        assert!(matches!(second.assign(member), Err(Refusal::Fenced(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_process_that_comes_back_goes_on_from_the_newest_snapshot() {
        let coordinator = coordinator(2);
        let register = || {
            let request = RegisterRequest { protocol: PROTOCOL_VERSION, address: "b:1".into(), shards: 2 };
            coordinator.register(request).unwrap()
        };
        assert_eq!(register().restore, None);
        let member = coordinator.join(join(100)).unwrap().member;
        for _ in 0..2 {
            let lease = trained(&coordinator, member);
            coordinator.report(whole(member, &lease)).unwrap();
        }
        coordinator.snapshot_taken(7, 40);
        assert_eq!((register().restore, register().first_shard), (Some(7), 2));
        let accounts = coordinator.checkpoint().unwrap().progress.accounts;
        assert_eq!(accounts.iter().map(|account| account.lost).sum::<u64>(), 80);
    }
}
