//! Orders of operators: what they change, and what the log tells of them.

use protocol::{Caller, Ending, Refusal, Steered, Steering, UpdateRule};

use super::state::State;
use crate::shard::check_layout;

/// Orders of operators that are in force.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// Who paused the run; `None` if it is not paused.
    paused: Option<Caller>,
    /// Number of snapshots that were ordered.
    snapshots_ordered: u64,
    /// Number of those orders that are carried out.
    snapshots_done: u64,
}

impl Orders {
    /// Returns who paused the run; `None` if it is not paused.
    pub(super) fn paused(&self) -> Option<Caller> {
        self.paused
    }

    /// Returns whether a snapshot that was ordered is not done yet.
    pub(super) fn wants_snapshot(&self) -> bool {
        self.snapshots_done < self.snapshots_ordered
    }

    /// Orders a snapshot.
    pub(super) fn snapshot(&mut self) {
        self.snapshots_ordered += 1;
    }

    /// Number of snapshots that were ordered so far; a snapshot that is begun now answers all of them.
    pub(super) fn snapshots_ordered(&self) -> u64 {
        self.snapshots_ordered
    }

    /// Records that the first `orders` orders of a snapshot are carried out.
    pub(super) fn snapshots_done(&mut self, orders: u64) {
        self.snapshots_done = self.snapshots_done.max(orders);
    }
}

impl State {
    /// Carries out an order of an operator, and tells the log.
    ///
    /// # Errors
    /// [`Refusal::NotReady`] while there is no run; [`Refusal::Invalid`] for a worker that is no member, for a
    /// factor with which updates could overflow, and once the run has ended.
    pub(super) fn steer(&mut self, order: Steering, caller: Caller) -> Result<Steered, Refusal> {
        if let Some(ending) = self.end.ending() {
            return Err(Refusal::Invalid(format!("the run is over: {ending:?}")));
        }
        let text = match order {
            Steering::Pause => self.pause(caller),
            Steering::Resume => self.resume(caller),
            Steering::Drain(worker) => self.drain(worker, caller)?,
            Steering::Snapshot => self.order_snapshot(caller)?,
            Steering::RateFactor(factor) => self.set_rate_factor(factor, caller)?,
            Steering::Stop => {
                tracing::info!("{caller} stops the run");
                self.end.end(Ending::Interrupted);
                "stopping: workers hand in what they hold, and a snapshot is written; the same command goes on"
                    .into()
            }
        };
        Ok(Steered { text })
    }

    fn pause(&mut self, caller: Caller) -> String {
        let leases = self.run.as_ref().map_or(0, |run| run.leases.outstanding());
        if self.orders.paused.is_none() {
            tracing::info!("{caller} paused the run: workers get no samples until it is resumed");
            self.orders.paused = Some(caller);
        }
        format!("paused: workers get no samples until the run is resumed; {leases} leases are still out")
    }

    fn resume(&mut self, caller: Caller) -> String {
        match self.orders.paused.take() {
            Some(_) => {
                tracing::info!("{caller} resumed the run");
                "resumed".into()
            }
            None => "the run was not paused".into(),
        }
    }

    fn drain(&mut self, worker: u32, caller: Caller) -> Result<String, Refusal> {
        let members = self.run.as_mut().map(|run| &mut run.members);
        let of = members.as_ref().map_or(0, |members| members.len());
        let Some(name) = members.and_then(|members| members.drain(worker)) else {
            return Err(Refusal::Invalid(format!(
                "worker {worker} is none of the {of} members; downpour status lists them"
            )));
        };
        tracing::info!("{caller} drains worker {worker} ({name})");
        let rest = if of == 1 { "; no worker is left then" } else { "" };
        Ok(format!("worker {worker} ({name}) is told to leave once it has done the lease in hand{rest}"))
    }

    fn order_snapshot(&mut self, caller: Caller) -> Result<String, Refusal> {
        if self.run.is_none() {
            return Err(no_run("nothing to keep"));
        }
        tracing::info!("{caller} ordered a snapshot");
        self.orders.snapshot();
        Ok("a snapshot is taken as soon as may be".into())
    }

    fn set_rate_factor(&mut self, factor: f64, caller: Caller) -> Result<String, Refusal> {
        let layout = self.layout();
        let run = self.run.as_mut().ok_or_else(|| no_run("no learning rate to change"))?;
        let rule = UpdateRule { learning_rate: run.rule.learning_rate * factor, ..run.rule.clone() };
        if let Some(layout) = layout {
            check_layout(&rule, &layout).map_err(Refusal::Invalid)?;
        }
        let before = run.set_rate_factor(factor);
        tracing::info!(
            "{caller} set the learning rate to {factor} times that of the schedule, before it was {before} times"
        );
        self.share_roster();
        Ok(format!(
            "the learning rate is {factor} times that of the schedule from now on ({before} times before)"
        ))
    }
}

/// Returns the refusal of an order that needs a run.
fn no_run(what: &str) -> Refusal {
    Refusal::NotReady(format!("no worker has joined yet, so there is {what}"))
}
