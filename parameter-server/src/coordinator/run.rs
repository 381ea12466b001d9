//! A run whose data is known: its members, their assignments, and their reports.

mod reports;

use std::{collections::BTreeSet, time::Duration};

use protocol::{
    Assignment, DataDescription, Ending, Evaluation, Life, MOST_LISTED, MOST_MEMBERS, Member, Refusal,
    Roster, RosterEntry, ShardStatus, TrainingLine, UpdateRule,
};
use settings::RunConfiguration;
use tokio::time::Instant;

use super::{
    account::Account,
    divergence::Votes,
    evaluations::{Evaluations, Schedule},
    leases::Leases,
    limited::LimitedPushes,
    membership::Membership,
    momentum_switch::MomentumSwitch,
    saved::SavedRun,
    standstill::Standstill,
};
use crate::{
    telemetry::{History, Line, Meter, RunPosition, Traffic},
    update_rule,
};

/// Most leases that a worker may hold. It takes two, and those stay that it has closed and not reported yet.
const MOST_LEASES: usize = 8;
/// Pause of a worker for which there is nothing to do at the moment.
const PAUSE_MILLISECONDS: u64 = 200;
/// Pause, in milliseconds, after which the only worker of a run asks for work again while a snapshot is
/// taken.
pub(super) const SNAPSHOT_PAUSE_MILLISECONDS: u64 = 20;

/// Pause, in milliseconds, after which a worker asks for work again while the run is paused.
const LONG_PAUSE_MILLISECONDS: u64 = 1000;

/// Reason why no leases are given out for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// An operator paused the run.
    Pause,
    /// A snapshot is due or being taken, for which a single worker waits.
    Snapshot,
}

/// A run whose data is known.
pub(super) struct Run {
    pub(super) data: DataDescription,
    pub(super) rule: UpdateRule,
    pub(super) members: Membership,
    pub(super) leases: Leases,
    pub(super) account: Account,
    /// Version of the roster.
    version: u64,
    pub(super) evaluations: Evaluations,
    /// Time without a gain, in epochs, after which the run ends; `None` if it goes on to its end.
    patience: Option<f64>,
    pub(super) momentum: MomentumSwitch,
    pub(super) meter: Meter,
    /// The newest line of training metrics.
    pub(super) latest: Option<TrainingLine>,
    /// The training lines of this life of the server, as a curve shows them.
    pub(super) history: History,
    /// Unreadable training images found so far, each as "path: reason".
    pub(super) unreadable: BTreeSet<String>,
    /// Votes of workers that training has diverged.
    pub(super) votes: Votes,
    /// Pushes that shards scaled down.
    pub(super) limited: LimitedPushes,
    /// Factor on the learning rate of the schedule, as an operator set it.
    rate_factor: f64,
    /// Time since which no sample is credited.
    pub(super) still: Standstill,
}

/// Divergence of training.
pub(super) enum Divergence {
    /// The run has diverged and ends.
    OfRun(Ending),
    /// One worker says so, for this reason, and the others do not.
    OfWorker(String),
}

/// Settings that a life of the server gives to a run.
#[derive(Clone, Copy)]
pub(super) struct LifeSettings {
    /// The life itself.
    pub(super) life: Life,
    /// Time for which a worker may be silent before its membership expires.
    pub(super) lease_time: Duration,
    /// First number that this life of the server gives to leases and evaluations. Each life has numbers of
    /// its own, so that nobody who reads logs of several takes one for another.
    pub(super) first_id: u64,
}

impl Run {
    /// Starts a run on `data`.
    pub(super) fn new(configuration: &RunConfiguration, data: DataDescription, life: LifeSettings) -> Run {
        let rule = update_rule::of(configuration, data.images);
        let leases = Leases::new(data.images, rule.total_samples, lease_size(configuration), life.first_id);
        Run {
            members: Membership::new(life.lease_time, life.life),
            account: Account::default(),
            version: 0,
            evaluations: evaluations(configuration, &rule, &data, &leases, life, Vec::new()),
            patience: configuration.run.patience_epochs,
            momentum: MomentumSwitch::new(configuration.optimisation.momentum_at, false),
            meter: Meter::new(rule.total_samples, 0, Instant::now()),
            latest: None,
            history: History::default(),
            unreadable: BTreeSet::new(),
            votes: Votes::default(),
            limited: LimitedPushes::default(),
            rate_factor: 1.0,
            still: Standstill::default(),
            data,
            rule,
            leases,
        }
    }

    /// Starts a run on `data` in place of this one, in which nothing was done and no worker is left. Numbers of
    /// workers and rosters go on.
    pub(super) fn again(
        self,
        configuration: &RunConfiguration,
        data: DataDescription,
        life: LifeSettings,
    ) -> Run {
        let Run { mut members, version, .. } = self;
        members.go_on_in(life.life);
        Run { members, version: version + 1, ..Run::new(configuration, data, life) }
    }

    /// Resumes a run from a snapshot.
    pub(super) fn resume(saved: SavedRun, life: LifeSettings) -> Run {
        let (ramp_samples, stair_samples) = (saved.ramp_samples(), saved.stair_samples());
        let configuration = &saved.configuration;
        let mut run = Run::new(configuration, saved.data, life);
        (run.rule.ramp_samples, run.rule.stair_samples) = (ramp_samples, stair_samples);
        let (images, total) = (run.data.images, run.rule.total_samples);
        let size = lease_size(configuration);
        run.leases = Leases::resume(images, total, size, life.first_id, &saved.progress);
        run.evaluations =
            evaluations(configuration, &run.rule, &run.data, &run.leases, life, saved.evaluations);
        run.momentum = MomentumSwitch::new(configuration.optimisation.momentum_at, saved.momentum_moved);
        run.account = Account::new(saved.progress.used, saved.surplus);
        run.meter = Meter::new(total, saved.steps, Instant::now());
        run.unreadable = saved.unreadable;
        run.rate_factor = saved.rate_factor;
        run.end_if_lost_patience();
        run
    }

    /// Makes a worker called `name` a member.
    ///
    /// # Errors
    /// [`Refusal::NotReady`] while there are too many members, or too many that have left and of whose pushes
    /// the shards have not told yet.
    pub(super) fn join(&mut self, name: String) -> Result<Member, Refusal> {
        let (members, listed) = (self.members.len(), self.account.workers());
        if members >= MOST_MEMBERS || listed >= MOST_LISTED {
            return Err(Refusal::NotReady(format!(
                "the run has {members} workers and {} that have just left, expected fewer than {MOST_MEMBERS} and \
                 {MOST_LISTED} in all; waiting for some to leave",
                listed - members
            )));
        }
        let member = self.members.join(name, Instant::now());
        self.account.join(entry(member));
        self.version += 1;
        Ok(member)
    }

    /// Returns the roster for the shards: the members, those who have left and are not settled yet, and the
    /// evaluations whose averages are needed.
    pub(super) fn roster(&self) -> Roster {
        Roster {
            version: self.version,
            next_worker: self.members.next_worker(),
            members: self.members.members().map(entry).collect(),
            departed: self.account.departed(),
            next_evaluation: self.evaluations.next_id(),
            evaluations: self.evaluations.frozen_ids().collect(),
            rate_factor: self.rate_factor,
        }
    }

    /// Factor on the learning rate of the schedule, as an operator set it; 1 if none did.
    pub(super) fn rate_factor(&self) -> f64 {
        self.rate_factor
    }

    /// Sets the factor on the learning rate of the schedule; returns the factor before.
    pub(super) fn set_rate_factor(&mut self, factor: f64) -> f64 {
        self.version += 1;
        std::mem::replace(&mut self.rate_factor, factor)
    }

    /// Number of epochs of the whole run; the last one may not be whole.
    pub(super) fn epochs(&self) -> u64 {
        self.leases.total().div_ceil(self.data.images.max(1))
    }

    /// Compares the ledgers that shards, of `shards` in all, gave in answer to a roster with the account.
    pub(super) fn audit(&mut self, roster: &Roster, statuses: &[ShardStatus], shards: u32) {
        for status in statuses {
            let Some(ledger) = &status.ledger else { continue };
            // The account forgets workers that have left.
            let worker = |incarnation| self.account.worker(incarnation);
            self.limited.observe(status.shard, &ledger.limited, worker);
            let repeated = self.account.observe(status.shard, shards, roster, ledger);
            self.leases.record_repeated(repeated);
        }
    }

    /// Removes members that were silent for too long and takes their leases and evaluations back; returns
    /// whether there were any.
    pub(super) fn expire(&mut self, lease_time: Duration) -> bool {
        let expired = self.members.expire(Instant::now());
        let any = !expired.is_empty();
        for (member, name) in expired {
            let leases = self.leases.take_back(member.incarnation);
            self.evaluations.take_back(member.incarnation);
            self.account.depart(member.incarnation);
            self.version += 1;
            tracing::warn!(
                "worker {} ({name}) was not heard of for {} s and is out; {leases} leases go to others",
                member.worker,
                lease_time.as_secs()
            );
        }
        any
    }

    /// Removes a member that leaves for this reason, and says so.
    pub(super) fn leave(&mut self, member: Member, reason: &str) {
        if let Some((name, leases)) = self.remove(member) {
            let left = self.members.len();
            tracing::info!(
                "worker {} ({name}) left: {reason}; {leases} leases given back, {left} workers",
                member.worker
            );
        }
    }

    /// Removes a member whose training diverged, as `reason` says, while that of others did not, and takes
    /// its leases and evaluations back; returns the refusal by which it joins anew.
    pub(super) fn fence(&mut self, member: Member, reason: &str) -> Refusal {
        let worker = member.worker;
        if let Some((name, leases)) = self.remove(member) {
            tracing::warn!(
                "worker {worker} ({name}) is out, since its training diverged: {reason}; the others train on, and {leases} \
                 leases go to them"
            );
        }
        Refusal::Fenced(format!("the training of worker {worker} diverged: {reason}; join anew"))
    }

    /// Removes a member and takes its leases and evaluations back; returns its name and the number of leases.
    pub(super) fn remove(&mut self, member: Member) -> Option<(String, usize)> {
        let name = self.members.leave(member)?;
        let leases = self.leases.take_back(member.incarnation);
        self.evaluations.take_back(member.incarnation);
        self.account.depart(member.incarnation);
        self.version += 1;
        Some((name, leases))
    }

    /// Chooses what a member is to do next, while the end of the run has not been announced. `ended` says
    /// whether the run has ended, `hold` why no leases may be given out, if so.
    pub(super) fn assign(&mut self, member: Member, ended: bool, hold: Option<Hold>) -> Assignment {
        if self.members.is_drained(member) {
            return Assignment::Leave { reason: "an operator wants it to leave".into() };
        }
        let (consumed, used) = (self.leases.consumed(), self.leases.used());
        if let Some(order) = self.evaluations.order(member.incarnation, self.members.len(), consumed, used) {
            self.version += 1;
            return Assignment::Evaluate(order);
        }
        match hold {
            Some(Hold::Pause) => {
                let reason = "an operator to resume the run".into();
                return Assignment::Wait { milliseconds: LONG_PAUSE_MILLISECONDS, reason };
            }
            Some(Hold::Snapshot) if self.members.len() == 1 => {
                let reason = "a snapshot".into();
                return Assignment::Wait { milliseconds: SNAPSHOT_PAUSE_MILLISECONDS, reason };
            }
            Some(Hold::Snapshot) | None => {}
        }
        if self.leases.held(member.incarnation) >= MOST_LEASES {
            let reason = format!("reports on the {MOST_LEASES} leases that this worker holds");
            return Assignment::Wait { milliseconds: PAUSE_MILLISECONDS, reason };
        }
        let form = self.momentum.form();
        let mut lease = self.leases.lease(member.incarnation, form);
        if lease.is_none() && self.leases.held(member.incarnation) == 0 && self.back_up(member) {
            lease = self.leases.lease(member.incarnation, form);
        }
        if let Some(mut lease) = lease {
            lease.takes_velocity = self.momentum.gives_velocity_to(member.incarnation);
            self.members.record_lease(member, lease.end - lease.start, Instant::now());
            return Assignment::Train(lease);
        }
        let reason = match self.leases.outstanding() {
            0 if ended => "the last snapshot".into(),
            0 => "the last evaluation".into(),
            out => format!("{out} leases that are still out"),
        };
        Assignment::Wait { milliseconds: PAUSE_MILLISECONDS, reason }
    }

    /// Makes a line of training metrics if one is due, or for the end of the run (`last`).
    pub(super) fn training_line(&mut self, traffic: Traffic, last: bool) -> Option<Line> {
        let position = RunPosition {
            epoch: self.leases.epoch(),
            epochs: self.epochs(),
            samples: self.leases.used(),
            leases: self.leases.outstanding() as u32,
            workers: self.members.len() as u32,
        };
        let line = self.meter.line(Instant::now(), position, traffic, last)?;
        self.history.add(&line);
        self.latest = Some(line.clone());
        Some(Line::Train(line))
    }
}

/// A member as the roster lists it.
fn entry(Member { worker, incarnation, .. }: Member) -> RosterEntry {
    RosterEntry { worker, incarnation }
}

/// Positions of one lease.
fn lease_size(configuration: &RunConfiguration) -> u64 {
    configuration.run.lease_batches * configuration.run.batch as u64
}

/// Schedules the evaluations of a run that has consumed the positions that `leases` counts, and has the
/// results `done`.
fn evaluations(
    configuration: &RunConfiguration,
    rule: &UpdateRule,
    data: &DataDescription,
    leases: &Leases,
    life: LifeSettings,
    done: Vec<Evaluation>,
) -> Evaluations {
    let settings::Run { evaluate_last_iterate, batch, .. } = configuration.run;
    let schedule = Schedule {
        every: configuration.evaluate_every(data.images),
        total: rule.total_samples,
        validation: data.validation,
        batch: batch as u64,
        last_iterate: evaluate_last_iterate,
    };
    let first_id = done.iter().map(|done| done.id + 1).fold(life.first_id, u64::max);
    Evaluations::new(schedule, leases.consumed(), first_id, done)
}
