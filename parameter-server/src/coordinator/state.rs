//! The coordinator's state: the server's processes, the run once it has begun, and the status of the shards.

mod joining;

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc};

use parameters::Layout;
use protocol::{
    Assignment, Ending, Member, Refusal, RegisterReply, RegisterRequest, Report, Roster, RunState,
    ShardStatus, Snapshot,
};
use settings::RunConfiguration;
use tokio::{sync::watch, time::Instant};

use super::{
    Settings,
    ending::RunEnd,
    membership,
    placement::{Applicant, Before, Placement, Processes},
    reminder::Reminder,
    run::{Divergence, Hold, LifeSettings, Run},
    saved::SavedRun,
    steering::Orders,
};
use crate::{
    ShardHost,
    telemetry::{Line, Traffic},
};

/// State of the coordinator.
pub(super) struct State {
    pub(super) configuration: RunConfiguration,
    /// The configuration before a worker's data completed it.
    asked: RunConfiguration,
    pub(super) life: LifeSettings,
    /// The shards of this process.
    host: Arc<ShardHost>,
    /// Number of shards of the whole server.
    shards: u32,
    /// Tells of changes of the roster.
    changes: watch::Sender<u64>,
    pub(super) processes: Processes,
    /// The run, once the first worker has described the data.
    pub(super) run: Option<Run>,
    pub(super) end: RunEnd,
    /// Newest status of each shard, by its number.
    pub(super) statuses: BTreeMap<u32, ShardStatus>,
    /// Lines of metrics that the next tick hands out for the log and the metrics file.
    pub(super) lines: Vec<Line>,
    /// The newest complete snapshot, with the hashes of all shards' files.
    pub(super) snapshot: Option<Snapshot>,
    /// Whether a snapshot is due or being taken.
    pub(super) snapshot_pending: bool,
    /// Orders of operators.
    pub(super) orders: Orders,
    /// Whether somebody writes the models of evaluations.
    pub(super) writes_models: bool,
    /// Reminder of a run that waits for workers, or for processes of the server.
    waiting: Reminder,
}

/// Returns the run, for a call of a member.
///
/// # Errors
/// [`Refusal::Fenced`] before there is a run, which then has no members.
fn known(run: &mut Option<Run>, member: Member, life: LifeSettings) -> Result<&mut Run, Refusal> {
    run.as_mut().ok_or_else(|| membership::fenced(member, life.life, life.lease_time))
}

impl State {
    /// Makes the state without a run, or with the run of a snapshot.
    pub(super) fn new(
        settings: &Settings,
        host: Arc<ShardHost>,
        resumed: Option<(Snapshot, SavedRun)>,
    ) -> State {
        let life = LifeSettings {
            life: settings.life,
            lease_time: settings.lease_time,
            first_id: first_id(settings.life.count),
        };
        let mut state = State {
            configuration: settings.configuration.clone(),
            asked: settings.configuration.clone(),
            life,
            host,
            shards: settings.processes * settings.shards,
            changes: watch::Sender::new(0),
            processes: Processes::new(
                settings.processes,
                settings.shards,
                &settings.address,
                settings.lease_time,
            ),
            run: None,
            end: RunEnd::default(),
            statuses: BTreeMap::new(),
            lines: Vec::new(),
            snapshot: None,
            snapshot_pending: false,
            orders: Orders::default(),
            writes_models: false,
            waiting: Reminder::default(),
        };
        if let Some((snapshot, saved)) = resumed {
            state.snapshot = Some(snapshot);
            if saved.finished {
                state.end = RunEnd::Announced(Ending::Completed);
            }
            state.processes.remember(&saved.addresses);
            state.run = Some(Run::resume(saved, life));
            state.share_roster();
        }
        state
    }

    /// Copies the state of the run for a snapshot; returns `None` before there is a run.
    pub(super) fn checkpoint(&self) -> Option<SavedRun> {
        let run = self.run.as_ref()?;
        Some(SavedRun {
            configuration: self.configuration.clone(),
            data: run.data.clone(),
            progress: run.leases.progress(),
            steps: run.meter.steps(),
            unreadable: run.unreadable.clone(),
            evaluations: run.evaluations.done().to_vec(),
            finished: self.end.ending() == Some(Ending::Completed),
            ramp_samples: Some(run.rule.ramp_samples),
            stair_samples: Some(run.rule.stair_samples),
            addresses: self.processes.addresses().map(str::to_string).collect(),
            momentum_moved: run.momentum.moved(),
            life: self.life.life,
            surplus: run.account.surplus(),
            rate_factor: run.rate_factor(),
        })
    }

    /// Returns the network's layout, once a worker has brought it.
    pub(super) fn layout(&self) -> Option<Layout> {
        self.host.layout()
    }

    /// Number of shards of the whole server.
    pub(super) fn total_shards(&self) -> u32 {
        self.shards
    }

    /// Number of workers that are members.
    pub(super) fn workers(&self) -> usize {
        self.run.as_ref().map_or(0, |run| run.members.len())
    }

    /// Records the statuses of the shards in one process of the server. A shard whose sample count fell was
    /// restored from a file, so its newest updates count as lost.
    pub(super) fn observe(&mut self, statuses: Vec<ShardStatus>) {
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

    /// Ends the run if shards have adopted the layouts of different networks, which workers of different
    /// builds may send.
    fn compare_layouts(&mut self) {
        let mut layouts =
            self.statuses.values().filter_map(|status| Some((status.shard, status.layout.as_ref()?)));
        let Some((first, expected)) = layouts.next() else { return };
        if let Some((shard, found)) = layouts.find(|(_, layout)| *layout != expected) {
            self.end.end(Ending::Failed(format!(
                "shard {shard} holds a network with the fingerprint {found}, expected {expected} as in shard {first}; start \
                 all workers from one release, and the run with --fresh"
            )));
        }
    }

    /// Prepares for the loss of updates in shards whose process was restarted: they had applied everything
    /// used until now, even if their last status was older. The averages that they had frozen are lost too.
    fn expect_loss(&mut self, shards: RangeInclusive<u32>) {
        let had = self.run.as_ref().map_or(0, |run| run.leases.used().saturating_sub(run.leases.lost()));
        for shard in shards {
            let status =
                self.statuses.entry(shard).or_insert(ShardStatus { shard, ..ShardStatus::default() });
            status.samples = status.samples.max(had);
        }
        if let Some(run) = &mut self.run {
            run.void_evaluations();
        }
    }

    /// Sums the shards' counters.
    fn traffic(&self) -> Traffic {
        Traffic::of(self.statuses.values())
    }

    /// Removes members that were silent for too long, and returns the lines of metrics that became due.
    pub(super) fn tick(&mut self) -> Vec<Line> {
        let traffic = self.traffic();
        if self.run.as_mut().is_some_and(|run| run.expire(self.life.lease_time)) {
            self.share_roster();
        }
        let now = Instant::now();
        if let Some(run) = &mut self.run {
            let paused = self.orders.paused().is_some();
            if self.end.ending().is_none()
                && let Some(text) = run.standstill(now, &traffic, &self.processes.late(now), paused)
            {
                tracing::warn!("{text}");
            }
            self.lines.extend(run.training_line(traffic, false));
            run.limited.warn(now);
        }
        let (state, detail) = self.describe();
        if let Some(time) = self.waiting.look(now, state == RunState::Waiting) {
            tracing::warn!("the run waits for {detail}, for {} s now", time.as_secs());
        }
        if !self.lines.is_empty() {
            self.share_roster();
        }
        std::mem::take(&mut self.lines)
    }

    /// Returns the roster for the shards; without members before there is a run.
    pub(super) fn roster(&self) -> Roster {
        self.run.as_ref().map(Run::roster).unwrap_or_default()
    }

    /// Returns a receiver that tells of changes of the roster.
    pub(super) fn roster_changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Gives the roster to the shards of this process, compares their ledgers with the account, and lets
    /// those know who tell it to the other processes.
    pub(super) fn share_roster(&mut self) {
        let Some(run) = &mut self.run else { return };
        let roster = run.roster();
        run.audit(&roster, &self.host.admit(&roster), self.shards);
        let version = roster.version;
        self.changes.send_if_modified(|newest| std::mem::replace(newest, version) != version);
    }

    /// Compares the ledgers of shards that were given `roster` with the account.
    pub(super) fn audit(&mut self, roster: &Roster, statuses: &[ShardStatus]) {
        if let Some(run) = &mut self.run {
            run.audit(roster, statuses, self.shards);
        }
    }

    /// Returns what a member is to do next.
    pub(super) fn assign(&mut self, member: Member, call: u64) -> Result<Assignment, Refusal> {
        let run = known(&mut self.run, member, self.life)?;
        run.members.record_call(member, call, Instant::now())?;
        if let Some(assignment) = run.members.earlier_answer(member, call) {
            return Ok(assignment);
        }
        let assignment = match self.end.announced() {
            Some(ending) => {
                run.members.mark_told(member);
                Assignment::Finished(ending)
            }
            None => {
                let snapshot = self.snapshot_pending.then_some(Hold::Snapshot);
                let hold = self.orders.paused().map(|_| Hold::Pause).or(snapshot);
                run.assign(member, self.end.ending().is_some(), hold)
            }
        };
        run.members.keep_answer(member, call, assignment.clone());
        if let Assignment::Evaluate(_) = assignment {
            // The worker fetches the average from the shards next.
            self.share_roster();
        }
        Ok(assignment)
    }

    /// Records a member's report; returns how the run ended, if its end has been announced.
    pub(super) fn report(&mut self, report: Report, call: u64) -> Result<Option<Ending>, Refusal> {
        let (member, leaving) = (report.member, report.leaving.is_some());
        let traffic = self.traffic();
        let run = known(&mut self.run, member, self.life);
        let heard = |run: &mut Run| match leaving {
            true => run.members.record_last_call(member, call, Instant::now()),
            false => run.members.record_call(member, call, Instant::now()),
        };
        let run = match run.and_then(|run| heard(run).map(|()| run)) {
            Ok(run) => run,
            // A worker that has left stays left: ignore its last report if it is repeated, or comes after the
            // worker expired.
            Err(Refusal::Fenced(_)) if leaving => return Ok(self.end.announced()),
            Err(refusal) => return Err(refusal),
        };
        if !run.members.is_new_report(member, call) {
            return Ok(self.end.announced());
        }
        run.check(&report)?;
        run.members.record_report(member, call);
        let Report { progress, metrics, evaluation, leaving: reason, sends_largest, .. } = report;
        let skipped = run.record_progress(member, &progress)?;
        let refused_in_row = run.members.record_metrics(member, &metrics, Instant::now());
        run.record_metrics(member, &metrics);
        if sends_largest {
            run.momentum.sends_largest(member.incarnation, run.leases.used() > 0);
        }
        let rate = self.configuration.optimisation.learning_rate;
        let (diverged, fenced) = match run.record_divergence(member, &metrics, refused_in_row, rate) {
            Some(Divergence::OfRun(ending)) => (Some(ending), None),
            Some(Divergence::OfWorker(reason)) => (None, Some(reason)),
            None => (None, None),
        };
        let evaluated = evaluation.is_some();
        let endings = [
            run.record_unreadable(skipped),
            diverged,
            evaluation
                .and_then(|evaluation| run.record_evaluation(member, evaluation, traffic, &mut self.lines)),
        ];
        if !self.writes_models
            && let Some(model) = run.evaluations.unwritten()
        {
            run.evaluations.written(model.evaluation.id);
        }
        endings.into_iter().flatten().for_each(|ending| self.end.end(ending));
        let ending = self.end.announced();
        if ending.is_some() {
            run.members.mark_told(member);
        }
        let fenced = fenced.filter(|_| ending.is_none() && !leaving);
        let refusal = fenced.map(|reason| run.fence(member, &reason));
        if let Some(reason) = &reason {
            run.leave(member, reason);
        }
        if leaving || evaluated || refusal.is_some() {
            self.share_roster();
        }
        refusal.map_or(Ok(ending), Err)
    }

    /// Records that the model of the evaluation with the number `id` is written, or given up.
    pub(super) fn model_written(&mut self, id: u64) {
        if let Some(run) = &mut self.run {
            run.model_written(id);
        }
        self.share_roster();
    }

    /// Ends all memberships.
    pub(super) fn dismiss(&mut self) {
        let Some(run) = &mut self.run else { return };
        let members: Vec<Member> = run.members.members().collect();
        members.into_iter().for_each(|member| drop(run.remove(member)));
        self.share_roster();
    }

    /// Registers a process in the server of `settings`. A process whose shards come from another life only
    /// learns its place, and registers once it has restored the snapshot that this life resumes from.
    pub(super) fn register(
        &mut self,
        request: RegisterRequest,
        settings: &Settings,
    ) -> Result<RegisterReply, Refusal> {
        let RegisterRequest { address, shards, holds, files, stopping, .. } = request;
        let of_this_life = holds.is_none_or(|holding| holding.life == self.life.life);
        let files = files.as_ref().filter(|files| files.run == self.life.life.run);
        let applicant = Applicant {
            address: &address,
            shards,
            holds: holds.map(|holding| holding.first_shard),
            of_this_life,
            files: files.map_or(&[], |files| &files.shards),
        };
        let placement = if of_this_life {
            self.processes.register(applicant, Instant::now())?
        } else {
            // These shards hold updates made after the snapshot that this life began with. The process is
            // told to go back to that snapshot, and counts as registered only when it calls again.
            self.processes.find(applicant, Instant::now())?
        };
        let Placement { first_shard, before } = placement;
        let last = first_shard + shards - 1;
        let again = before != Before::Nobody;
        match (before, holds) {
            (_, Some(_)) if !of_this_life => {
                tracing::info!(
                    "shards {first_shard} to {last}, at {address}, go back to where this run goes on"
                );
            }
            (Before::Nobody, None) => tracing::info!("shards {first_shard} to {last} are at {address}"),
            (Before::Nobody, Some(_)) => {
                tracing::info!("shards {first_shard} to {last} are at {address} as before");
            }
            (Before::SameAddress, None) => {
                tracing::warn!(
                    "the process at {address} came back: shards {first_shard} to {last} go on from its newest snapshot"
                );
                self.expect_loss(first_shard..=last);
            }
            // The process only shows that it is still there.
            (Before::SameAddress, Some(_)) => {}
            (Before::Address(old), _) => {
                tracing::warn!(
                    "shards {first_shard} to {last} are at {address} now, where they go on from the newest snapshot; \
                     {old} has been silent for {} s",
                    settings.lease_time.as_secs()
                );
                self.expect_loss(first_shard..=last);
                // Workers learn addresses when they join.
                if let Some(run) = &mut self.run {
                    let reason = format!(
                        "shards {first_shard} to {last} have moved from {old} to {address}; join anew"
                    );
                    run.members.recall(&reason);
                }
            }
        }
        if stopping && self.run.is_some() {
            tracing::warn!(
                "the process of shards {first_shard} to {last} is being stopped: a snapshot is taken first"
            );
            self.orders.snapshot();
        }
        Ok(RegisterReply {
            first_shard,
            total_shards: settings.processes * settings.shards,
            restore: self.snapshot.as_ref().map(|snapshot| snapshot.of(first_shard, shards)),
            life: self.life.life,
            again,
            rule: self.run.as_ref().map(|run| run.rule.clone()),
            roster: self.roster(),
            generation: self.run.as_ref().map_or(0, |run| run.account.generation(first_shard..=last)),
            // A run that has ended has its last snapshot still to come, with which it dismisses its processes.
            snapshot_ordered: self.orders.wants_snapshot() || self.end.ending().is_some(),
        })
    }

    /// Returns the state of the run and its details for people.
    pub(super) fn describe(&self) -> (RunState, String) {
        match (&self.end, &self.run) {
            (RunEnd::Unannounced, _) => (RunState::Evaluating, "the last snapshot".into()),
            (RunEnd::Announced(Ending::Completed), _) => (RunState::Finished, String::new()),
            (RunEnd::Announced(Ending::Diverged(text)), _) => (RunState::Diverged, text.clone()),
            (RunEnd::Announced(Ending::Failed(text)), _) => (RunState::Failed, text.clone()),
            (RunEnd::Announced(Ending::Interrupted), _) => (RunState::Interrupted, String::new()),
            (RunEnd::NotYet, _) if !self.processes.complete() => {
                (RunState::Waiting, self.processes.missing())
            }
            (RunEnd::NotYet, Some(run)) if run.leases.done() => {
                (RunState::Evaluating, "the last evaluation".into())
            }
            (RunEnd::NotYet, _) => match self.orders.paused() {
                Some(caller) => (RunState::Paused, format!("by {caller}")),
                None if self.workers() == 0 => (RunState::Waiting, "workers to join".into()),
                None => (RunState::Training, String::new()),
            },
        }
    }
}

/// Returns the first id of leases, incarnations and evaluations in the life `life` of the server.
fn first_id(life: u64) -> u64 {
    (life << 32) + 1
}
