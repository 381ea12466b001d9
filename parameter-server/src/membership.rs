//! Who takes part: each join is a new incarnation; one that is not heard of for the lease time is fenced for good.

use std::{collections::BTreeMap, time::Duration};

use protocol::{Assignment, Member, Refusal};
use tokio::time::Instant;

/// The members of a run.
#[derive(Debug)]
pub struct Membership {
    patience: Duration,
    next_worker: u32,
    next_incarnation: u64,
    members: BTreeMap<u64, Present>,
}

#[derive(Debug)]
struct Present {
    member: Member,
    name: String,
    heard: Instant,
    /// Whether it was told how the run ended.
    told: bool,
    /// Its newest question for work, by the call's number, and the answer.
    assigned: Option<(u64, Assignment)>,
    /// Number of its newest report.
    reported: u64,
}

impl Membership {
    /// Nobody yet; a member not heard of for `patience` is out. Incarnations start at `first`.
    pub fn new(patience: Duration, first: u64) -> Membership {
        Membership { patience, next_worker: 0, next_incarnation: first, members: BTreeMap::new() }
    }

    /// A new member.
    pub fn join(&mut self, name: String, now: Instant) -> Member {
        let member = Member { worker: self.next_worker, incarnation: self.next_incarnation };
        self.next_worker += 1;
        self.next_incarnation += 1;
        self.members.insert(
            member.incarnation,
            Present { member, name, heard: now, told: false, assigned: None, reported: 0 },
        );
        member
    }

    /// Notes a sign of life; refuses an incarnation that is no member.
    pub fn hear(&mut self, member: Member, now: Instant) -> Result<(), Refusal> {
        let present = self.members.get_mut(&member.incarnation).filter(|present| present.member == member);
        let present = present.ok_or_else(|| {
            Refusal::Fenced(format!(
                "worker {} (incarnation {}) is not a member any more: it left, or was not heard of for {} s; join anew",
                member.worker,
                member.incarnation,
                self.patience.as_secs()
            ))
        })?;
        present.heard = now;
        Ok(())
    }

    /// What a member was answered to the question of that number, if it asked it before. Nobody waits for the answer
    /// to an older one that was late on its way; it gets the same.
    pub fn assigned(&self, member: Member, call: u64) -> Option<Assignment> {
        let (answered, assignment) = self.members.get(&member.incarnation)?.assigned.as_ref()?;
        (call <= *answered).then(|| assignment.clone())
    }

    /// Keeps an answer for repetitions of the question.
    pub fn assign(&mut self, member: Member, call: u64, assignment: Assignment) {
        if let Some(present) = self.members.get_mut(&member.incarnation) {
            present.assigned = Some((call, assignment));
        }
    }

    /// Whether a member's report of that number is its first; notes it.
    pub fn reports(&mut self, member: Member, call: u64) -> bool {
        let present = self.members.get_mut(&member.incarnation).filter(|present| call > present.reported);
        present.is_some_and(|present| {
            present.reported = call;
            true
        })
    }

    /// Notes that a member knows of the run's end.
    pub fn tell(&mut self, member: Member) {
        if let Some(present) = self.members.get_mut(&member.incarnation) {
            present.told = true;
        }
    }

    /// Whether every member knows of the run's end.
    pub fn all_told(&self) -> bool {
        self.members.values().all(|present| present.told)
    }

    /// A member leaves; its name, if it was one.
    pub fn leave(&mut self, member: Member) -> Option<String> {
        self.members.remove(&member.incarnation).map(|present| present.name)
    }

    /// Puts out those who were not heard of for too long.
    pub fn expire(&mut self, now: Instant) -> Vec<(Member, String)> {
        let mut expired = Vec::new();
        self.members.retain(|_, present| {
            let late = now.duration_since(present.heard) > self.patience;
            if late {
                expired.push((present.member, std::mem::take(&mut present.name)));
            }
            !late
        });
        expired
    }

    /// Members now.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_member_is_fenced_and_joins_as_another() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut membership = Membership::new(Duration::from_secs(30), 1);
        let (first, second) = (membership.join("a".into(), at(0)), membership.join("b".into(), at(0)));
        membership.hear(second, at(20)).unwrap();
        assert_eq!(membership.expire(at(30)), []);
        assert_eq!(membership.expire(at(31)), [(first, "a".into())]);
        let refusal = membership.hear(first, at(32)).unwrap_err();
        let text = "worker 0 (incarnation 1) is not a member any more: it left, or was not heard of for 30 s; join anew";
        assert_eq!(refusal, Refusal::Fenced(text.into()));
        let again = membership.join("a".into(), at(33));
        assert_eq!((again.worker, again.incarnation, membership.len()), (2, 3, 2));
    }
}
