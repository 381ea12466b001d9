//! Membership of workers. Each join is a new incarnation; an incarnation that stays silent for the lease time
//! is no longer a member and never becomes one again.

use std::{collections::BTreeMap, time::Duration};

use protocol::{Assignment, Life, Member, Refusal};
use tokio::time::Instant;

use crate::random;

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
}

impl Membership {
    /// Makes a membership without members. A worker that makes no call for longer than `patience` can be
    /// removed by [`expire`](Self::expire). The workers join in the life `life` of the server.
    pub fn new(patience: Duration, life: Life) -> Membership {
        Membership { patience, life, next_worker: 0, members: BTreeMap::new() }
    }

    /// Adds a worker that is called `name` and joins at the time `now`; returns the number given to the
    /// worker, one above that of the join before, and the random number of its join.
    pub fn join(&mut self, name: String, now: Instant) -> Member {
        let member = Member { worker: self.next_worker, incarnation: random::number(), life: self.life };
        self.next_worker += 1;
        self.members.insert(
            member.worker,
            MemberState {
                member,
                name,
                heard: now,
                told: false,
                newest_answer: None,
                newest_report: 0,
                recalled: None,
            },
        );
        member
    }

    /// Records that a member called the coordinator at the time `now`, which keeps its membership from
    /// expiring.
    ///
    /// # Errors
    /// [`Refusal::Fenced`] if `member` is not, or no longer, a member, or if it was recalled: the worker has
    /// to join anew.
    pub fn record_call(&mut self, member: Member, now: Instant) -> Result<(), Refusal> {
        let state = self.heard(member, now)?;
        match &state.recalled {
            None => Ok(()),
            Some(reason) => Err(Refusal::Fenced(reason.clone())),
        }
    }

    /// Records the last call of a member, which leaves; a member that was recalled may still make it.
    ///
    /// # Errors
    /// [`Refusal::Fenced`] if `member` is not, or no longer, a member.
    pub fn record_last_call(&mut self, member: Member, now: Instant) -> Result<(), Refusal> {
        self.heard(member, now).map(drop)
    }

    fn heard(&mut self, member: Member, now: Instant) -> Result<&mut MemberState, Refusal> {
        let (life, patience) = (self.life, self.patience);
        let state = self.state(member).ok_or_else(|| fenced(member, life, patience))?;
        state.heard = now;
        Ok(state)
    }

    /// Recalls all present members for a reason that their workers are told with the refusal of their next
    /// call. Each hands in what it has done, leaves, and joins anew.
    pub fn recall(&mut self, reason: &str) {
        self.members.values_mut().for_each(|state| state.recalled = Some(reason.into()));
    }

    /// Returns the state of a member; `None` for whoever is none.
    fn state(&mut self, member: Member) -> Option<&mut MemberState> {
        self.members.get_mut(&member.worker).filter(|state| state.member == member)
    }

    /// Number that the next worker to join gets.
    pub fn next_worker(&self) -> u32 {
        self.next_worker
    }

    /// Lists the members.
    pub fn members(&self) -> impl Iterator<Item = Member> {
        self.members.values().map(|state| state.member)
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

    /// Records that the member's report number `call` has arrived. Returns true if it is new; false if that
    /// report or a later one arrived before, or if `member` is no member.
    pub fn record_report(&mut self, member: Member, call: u64) -> bool {
        let state = self.state(member).filter(|state| call > state.newest_report);
        state.is_some_and(|state| {
            state.newest_report = call;
            true
        })
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
        assert_eq!(membership.record_call(member, now), Err(refusal));
        assert_eq!(membership.record_last_call(member, now), Ok(()));
        membership.leave(member);
        assert!(membership.record_last_call(member, now).is_err());
        let again = membership.join("a".into(), now);
        assert_eq!(membership.record_call(again, now), Ok(()));
    }

    #[test]
    fn a_silent_member_is_fenced_and_joins_as_another() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut membership = Membership::new(Duration::from_secs(30), Life::default());
        let (first, second) = (membership.join("a".into(), at(0)), membership.join("b".into(), at(0)));
        membership.record_call(second, at(20)).unwrap();
        assert_eq!(membership.expire(at(30)), []);
        assert_eq!(membership.expire(at(31)), [(first, "a".into())]);
        let refusal = membership.record_call(first, at(32)).unwrap_err();
        let text = "worker 0 is not a member any more: it left, or was not heard of for 30 s; join anew";
        assert_eq!(refusal, Refusal::Fenced(text.into()));
        let again = membership.join("a".into(), at(33));
        assert_eq!((again.worker, membership.len()), (2, 2));
        // A worker's number is no secret; the number of its join is.
        let guessed = Member { incarnation: again.incarnation ^ 1, ..again };
        assert!(membership.record_call(guessed, at(34)).is_err() && membership.leave(guessed).is_none());
        let life = Life { count: 1, ..Life::default() };
        let text = membership.record_call(Member { life, ..again }, at(34)).unwrap_err().to_string();
        assert!(text.contains("worker 2 belongs to life 1 of the server, here is life 0"), "{text}");
    }
}
