//! Membership of workers. Each join is a new incarnation; an incarnation that stays silent for the lease time
//! is no longer a member and never becomes one again.

use std::{collections::BTreeMap, time::Duration};

use protocol::{Assignment, Life, Member, Refusal, StepMetrics, WorkerOverview};
use tokio::time::Instant;

use super::backup::Pace;
use crate::{random, telemetry::WorkerMeter};

/// Most that the number of a call may be above the greatest that its member has used before. It is above by
/// one, and by a few more where calls were given up.
const MOST_CALLS_AHEAD: u64 = 1024;

/// Workers that take part in a run at present. Each join of a worker is a membership with a number of its
/// own, its incarnation; the membership of a worker that is silent for too long ends, and the worker has to
/// join anew.
#[derive(Debug)]
pub struct Membership {
    patience: Duration,
    life: Life,
    next_worker: u32,
    /// Members by the number of their worker.
    members: BTreeMap<u32, MemberState>,
}

/// State of one member.
#[derive(Debug)]
struct MemberState {
    member: Member,
    name: String,
    /// Time of the member's last call.
    heard: Instant,
    /// Whether the member was told how the run ended.
    told: bool,
    /// Number of the member's newest request for work, and the answer.
    newest_answer: Option<(u64, Assignment)>,
    /// Number of the member's newest report.
    newest_report: u64,
    /// Reason for which the member has to join anew.
    recalled: Option<String>,
    /// Greatest number of a call of the member.
    newest_call: u64,
    /// Samples in all leases that the member was given.
    leased: u64,
    /// Samples that the member has reported to have trained on.
    trained: u64,
    /// Minibatches in a row, the newest last, whose pushes were refused.
    refused_in_row: u64,
    /// Meter of what the member has done, and how fast.
    meter: WorkerMeter,
    /// Order of an operator: true if the worker is to leave.
    drained: bool,
    pace: Pace,
}

impl Membership {
    /// Makes a membership without members. A worker that makes no call for longer than `patience` can be
    /// removed by [`expire`](Self::expire). The workers join in the life `life` of the server.
    pub fn new(patience: Duration, life: Life) -> Membership {
        Membership { patience, life, next_worker: 0, members: BTreeMap::new() }
    }

    /// Has the workers that join from now on be members in another life of the server. To be called while there are no
    /// members.
    pub fn go_on_in(&mut self, life: Life) {
        self.life = life;
    }

    /// Adds a worker that is called `name` and joins at the time `now`; returns the number given to the
    /// worker, one above that of the join before, and the random number of its join.
    pub fn join(&mut self, name: String, now: Instant) -> Member {
        let member = Member { worker: self.next_worker, incarnation: random::number(), life: self.life };
        self.next_worker += 1;
        let state = MemberState {
            member,
            name,
            heard: now,
            told: false,
            newest_answer: None,
            newest_report: 0,
            recalled: None,
            newest_call: 0,
            leased: 0,
            trained: 0,
            refused_in_row: 0,
            meter: WorkerMeter::new(now),
            drained: false,
            pace: Pace::new(now),
        };
        self.members.insert(member.worker, state);
        member
    }

    /// Records that a member made the call with the number `call` at the time `now`, which keeps its
    /// membership from expiring.
    ///
    /// # Errors
    /// [`Refusal::Fenced`] if `member` is not, or no longer, a member, or if it was recalled: the worker has
    /// to join anew. [`Refusal::Invalid`] if the number is far ahead of those before: calls with the numbers
    /// in between would pass for repetitions.
    pub fn record_call(&mut self, member: Member, call: u64, now: Instant) -> Result<(), Refusal> {
        let state = self.heard(member, call, now)?;
        match &state.recalled {
            None => Ok(()),
            Some(reason) => Err(Refusal::Fenced(reason.clone())),
        }
    }

    /// Records the last call of a member, which leaves; a member that was recalled may still make it.
    ///
    /// # Errors
    /// [`Refusal::Fenced`] if `member` is not, or no longer, a member; [`Refusal::Invalid`] as for
    /// [`record_call`](Self::record_call).
    pub fn record_last_call(&mut self, member: Member, call: u64, now: Instant) -> Result<(), Refusal> {
        self.heard(member, call, now).map(drop)
    }

    fn heard(&mut self, member: Member, call: u64, now: Instant) -> Result<&mut MemberState, Refusal> {
        let (life, patience) = (self.life, self.patience);
        let state = self.state(member).ok_or_else(|| fenced(member, life, patience))?;
        let most = state.newest_call.saturating_add(MOST_CALLS_AHEAD);
        if call > most {
            return Err(Refusal::Invalid(format!(
                "call {call} of worker {}: expected a number of at most {most}, the greatest so far was {}",
                member.worker, state.newest_call
            )));
        }
        state.newest_call = state.newest_call.max(call);
        state.heard = now;
        Ok(state)
    }

    /// Recalls all present members for a reason that their workers are told with the refusal of their next
    /// call. Each hands in what it has done, leaves, and joins anew.
    pub fn recall(&mut self, reason: &str) {
        self.members.values_mut().for_each(|state| state.recalled = Some(reason.into()));
    }

    /// Records that a member was given a lease of `samples` samples at the time `now`.
    pub fn record_lease(&mut self, member: Member, samples: u64, now: Instant) {
        if let Some(state) = self.state(member) {
            state.leased += samples;
            state.pace.leased(now);
        }
    }

    /// Records that a member made progress with a lease at the time `now`.
    pub fn record_progress(&mut self, member: Member, now: Instant) {
        if let Some(state) = self.state(member) {
            state.pace.progressed(now);
        }
    }

    /// Returns a member's progress; `None` for whoever is none.
    pub fn pace(&self, member: Member) -> Option<Pace> {
        self.members.get(&member.worker).map(|state| state.pace)
    }

    /// Time for which a member may make no call.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Checks that a member can have done what its metrics say with the leases that it was given.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] if the metrics have more samples than the leases, more minibatches than samples,
    /// or more refused minibatches than minibatches.
    pub fn check_metrics(&self, member: Member, metrics: &StepMetrics) -> Result<(), Refusal> {
        let Some(state) = self.members.get(&member.worker) else { return Ok(()) };
        let left = state.leased - state.trained;
        let &StepMetrics { steps, images, refused, .. } = metrics;
        if refused <= steps && steps <= images && images <= left {
            return Ok(());
        }
        Err(Refusal::Invalid(format!(
            "worker {}: found {images} samples in {steps} minibatches, {refused} of them refused; expected refused <= \
             minibatches <= samples <= {left}, those of its leases that it has not reported yet",
            member.worker
        )))
    }

    /// Records the metrics of a member's minibatches, which it reports at the time `now`, and returns the number
    /// of its minibatches in a row whose pushes were refused.
    pub fn record_metrics(&mut self, member: Member, metrics: &StepMetrics, now: Instant) -> u64 {
        let Some(state) = self.state(member) else { return 0 };
        state.trained += metrics.images;
        state.meter.add(metrics, now);
        // The order of the minibatches in a report is not known, so one that was applied ends the row of
        // refused ones.
        match metrics.refused < metrics.steps {
            true => state.refused_in_row = 0,
            false => state.refused_in_row += metrics.refused,
        }
        state.refused_in_row
    }

    /// Returns the state of a member; `None` for whoever is none.
    fn state(&mut self, member: Member) -> Option<&mut MemberState> {
        self.members.get_mut(&member.worker).filter(|state| state.member == member)
    }

    /// Records that an operator wants the worker with this number to leave; returns the worker's name, or
    /// `None` if there is no such member.
    pub fn drain(&mut self, worker: u32) -> Option<&str> {
        let state = self.members.get_mut(&worker)?;
        state.drained = true;
        Some(&state.name)
    }

    /// Returns whether an operator wants a member to leave.
    pub fn is_drained(&self, member: Member) -> bool {
        self.members.get(&member.worker).is_some_and(|state| state.drained)
    }

    /// Returns what is known, at the time `now`, of each member: its incarnation (random number of its join)
    /// and its overview, without shares and leases.
    pub fn overviews(&self, now: Instant) -> impl Iterator<Item = (u64, WorkerOverview)> {
        self.members.values().map(move |state| {
            let overview = WorkerOverview {
                worker: state.member.worker,
                name: state.name.clone(),
                silent_seconds: now.duration_since(state.heard).as_secs_f64(),
                drained: state.drained,
                ..state.meter.overview()
            };
            (state.member.incarnation, overview)
        })
    }

    /// Number that the next worker to join gets.
    pub fn next_worker(&self) -> u32 {
        self.next_worker
    }

    /// Lists the members.
    pub fn members(&self) -> impl Iterator<Item = Member> {
        self.members.values().map(|state| state.member)
    }

    /// Returns the name of a member's worker, and the time since its last call; `None` for whoever is none.
    pub fn name_and_silence(&self, member: Member, now: Instant) -> Option<(&str, Duration)> {
        let state = self.members.get(&member.worker).filter(|state| state.member == member)?;
        Some((&state.name, now.duration_since(state.heard)))
    }

    /// Returns the answer that was kept for the member's request for work number `call`, in case that request
    /// is sent again; `None` for a new request. A request older than the newest one gets the newest answer:
    /// it was delayed in transit, and its sender no longer waits for its answer.
    pub fn earlier_answer(&self, member: Member, call: u64) -> Option<Assignment> {
        let (answered, assignment) = self.members.get(&member.worker)?.newest_answer.as_ref()?;
        (call <= *answered).then(|| assignment.clone())
    }

    /// Keeps `assignment`, the answer to the member's request for work number `call`, in case that request is
    /// sent again.
    pub fn keep_answer(&mut self, member: Member, call: u64, assignment: Assignment) {
        if let Some(state) = self.state(member) {
            state.newest_answer = Some((call, assignment));
        }
    }

    /// Returns whether the member's report number `call` is new: neither that report nor a later one was
    /// recorded before.
    pub fn is_new_report(&self, member: Member, call: u64) -> bool {
        self.members.get(&member.worker).is_some_and(|state| call > state.newest_report)
    }

    /// Records that the member's report number `call` has arrived.
    pub fn record_report(&mut self, member: Member, call: u64) {
        if let Some(state) = self.state(member) {
            state.newest_report = call;
        }
    }

    /// Records that a member was told how the run ended.
    pub fn mark_told(&mut self, member: Member) {
        if let Some(state) = self.state(member) {
            state.told = true;
        }
    }

    /// Returns whether every member was told how the run ended; true if there are no members.
    pub fn all_told(&self) -> bool {
        self.members.values().all(|state| state.told)
    }

    /// Removes a member and returns the name of its worker; `None` if it was no member.
    pub fn leave(&mut self, member: Member) -> Option<String> {
        self.state(member)?;
        self.members.remove(&member.worker).map(|state| state.name)
    }

    /// Removes the members that, at the time `now`, have made no call for longer than the time that
    /// [`new`](Self::new) was given; returns them with the names of their workers.
    pub fn expire(&mut self, now: Instant) -> Vec<(Member, String)> {
        let mut expired = Vec::new();
        self.members.retain(|_, state| {
            let late = now.duration_since(state.heard) > self.patience;
            if late {
                expired.push((state.member, std::mem::take(&mut state.name)));
            }
            !late
        });
        expired
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

/// Returns the refusal of a worker that is not, or no longer, a member in the life `life` of the server;
/// `patience` is the time for which members may be silent.
pub fn fenced(member: Member, life: Life, patience: Duration) -> Refusal {
    let worker = member.worker;
    Refusal::Fenced(match life.difference(&member.life) {
        Some(difference) => format!("worker {worker} {difference}; join anew"),
        None => format!(
            "worker {worker} is not a member any more: it left, or was not heard of for {} s; join anew",
            patience.as_secs()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recalled_member_hands_in_its_work_and_joins_anew() {
        let now = Instant::now();
        let mut membership = Membership::new(Duration::from_secs(30), Life::default());
        let member = membership.join("a".into(), now);
        membership.recall("shards have moved; join anew");
        let refusal = Refusal::Fenced("shards have moved; join anew".into());
        assert_eq!(membership.record_call(member, 1, now), Err(refusal));
        assert_eq!(membership.record_last_call(member, 2, now), Ok(()));
        membership.leave(member);
        assert!(membership.record_last_call(member, 3, now).is_err());
        let again = membership.join("a".into(), now);
        assert_eq!(membership.record_call(again, 1, now), Ok(()));
    }

    #[test]
    fn a_silent_member_is_fenced_and_joins_as_another() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut membership = Membership::new(Duration::from_secs(30), Life::default());
        let (first, second) = (membership.join("a".into(), at(0)), membership.join("b".into(), at(0)));
        membership.record_call(second, 1, at(20)).unwrap();
        assert_eq!(membership.expire(at(30)), []);
        assert_eq!(membership.expire(at(31)), [(first, "a".into())]);
        let refusal = membership.record_call(first, 1, at(32)).unwrap_err();
        let text = "worker 0 is not a member any more: it left, or was not heard of for 30 s; join anew";
        assert_eq!(refusal, Refusal::Fenced(text.into()));
        let again = membership.join("a".into(), at(33));
        assert_eq!((again.worker, membership.len()), (2, 2));
        // A worker's number is no secret; the number of its join is.
        let guessed = Member { incarnation: again.incarnation ^ 1, ..again };
        assert!(membership.record_call(guessed, 1, at(34)).is_err() && membership.leave(guessed).is_none());
        let life = Life { count: 1, ..Life::default() };
        let text = membership.record_call(Member { life, ..again }, 1, at(34)).unwrap_err().to_string();
        assert!(text.contains("worker 2 belongs to life 1 of the server, here is life 0"), "{text}");
    }

    #[test]
    fn a_calls_number_is_not_far_ahead() {
        let now = Instant::now();
        let mut membership = Membership::new(Duration::from_secs(30), Life::default());
        let member = membership.join("a".into(), now);
        for (call, fits) in
            [(5, true), (1030, false), (u64::MAX, false), (1029, true), (2, true), (2053, true)]
        {
            assert_eq!(membership.record_call(member, call, now).is_ok(), fits, "{call}");
        }
        let text = "call 9999 of worker 0: expected a number of at most 3077, the greatest so far was 2053";
        assert_eq!(membership.record_call(member, 9999, now), Err(Refusal::Invalid(text.into())));
    }

    #[test]
    fn metrics_are_of_samples_that_were_leased() {
        let mut membership = Membership::new(Duration::from_secs(30), Life::default());
        let member = membership.join("a".into(), Instant::now());
        let metrics =
            |steps, images, refused| StepMetrics { steps, images, refused, ..StepMetrics::default() };
        assert!(membership.check_metrics(member, &metrics(0, 0, 0)).is_ok());
        assert!(membership.check_metrics(member, &metrics(1, 1, 0)).is_err());
        membership.record_lease(member, 40, Instant::now());
        assert!(membership.check_metrics(member, &metrics(4, 40, 4)).is_ok());
        membership.record_metrics(member, &metrics(1, 10, 0), Instant::now());
        for (steps, images, refused) in [(4, 31, 0), (31, 30, 0), (3, 30, 4)] {
            let text = format!(
                "worker 0: found {images} samples in {steps} minibatches, {refused} of them refused; expected refused <= \
                 minibatches <= samples <= 30, those of its leases that it has not reported yet"
            );
            let refused = membership.check_metrics(member, &metrics(steps, images, refused));
            assert_eq!(refused, Err(Refusal::Invalid(text)));
        }
    }
}
