//! The members whose pushes the shards of a process take, as the coordinator tells them.

use std::collections::BTreeMap;

use protocol::{Life, Member, Refusal, Roster};

/// Members known to the shards of one process.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Life of the server that the shards belong to; none before the coordinator has said.
    life: Option<Life>,
    version: u64,
    next_worker: u32,
    /// Numbers of the members' workers, by incarnation.
    present: BTreeMap<u64, u32>,
    /// Numbers of the workers that have just left, by incarnation.
    departed: BTreeMap<u64, u32>,
}

impl Members {
    /// Begins a life of the server, in which nobody is a member yet; has no effect if it is the present one.
    pub(super) fn begin(&mut self, life: Life) {
        if self.life != Some(life) {
            *self = Members { life: Some(life), ..Members::default() };
        }
    }

    /// Replaces the members by those of `roster`, unless it is older than the present ones.
    pub(super) fn replace(&mut self, roster: &Roster) {
        if roster.version < self.version {
            return;
        }
        let numbers = |entries: &[protocol::RosterEntry]| {
            entries.iter().map(|entry| (entry.incarnation, entry.worker)).collect()
        };
        (self.version, self.next_worker) = (roster.version, roster.next_worker);
        self.present = numbers(&roster.members);
        self.departed = numbers(&roster.departed);
    }

    /// Returns whether the roster has a worker of this incarnation, present or just departed.
    pub(super) fn lists(&self, incarnation: u64) -> bool {
        self.present.contains_key(&incarnation) || self.departed.contains_key(&incarnation)
    }

    /// Checks that a caller speaks of the present life of the server; `who` names the caller.
    pub(super) fn check_life(&self, who: &str, life: Life) -> Result<(), Refusal> {
        let Some(own) = self.life else {
            return Err(Refusal::NotReady("the coordinator has not said yet which run this is".into()));
        };
        own.difference(&life).map_or(Ok(()), |difference| Err(Refusal::Fenced(format!("{who} {difference}"))))
    }

    /// Checks that a caller is a member.
    pub(super) fn check(&self, member: Member) -> Result<(), Refusal> {
        let Member { worker, incarnation, life } = member;
        if self.life == Some(life) && self.present.get(&incarnation) == Some(&worker) {
            return Ok(());
        }
        self.check_life(&format!("worker {worker}"), life)?;
        if worker >= self.next_worker {
            return Err(Refusal::NotReady(format!("the coordinator has not told of worker {worker} yet")));
        }
        Err(Refusal::Fenced(format!(
            "worker {worker} is not a member any more: it left or expired; join anew"
        )))
    }
}

#[cfg(test)]
mod tests {
    use protocol::{RosterEntry, RunId};

    use super::*;

    const LIFE: Life = Life { run: RunId(1), count: 2, nonce: 3 };

    fn member(worker: u32) -> Member {
        Member { worker, incarnation: 1000 + u64::from(worker), life: LIFE }
    }

    fn roster(version: u64, next_worker: u32, members: &[u32]) -> Roster {
        let entry = |&worker: &u32| RosterEntry { worker, incarnation: member(worker).incarnation };
        Roster { version, next_worker, members: members.iter().map(entry).collect(), departed: Vec::new() }
    }

    #[test]
    fn only_members_of_this_life_are_let_in_and_the_others_are_told_why() {
        let mut members = Members::default();
        assert!(matches!(members.check(member(0)), Err(Refusal::NotReady(_))));
        members.begin(LIFE);
        members.replace(&roster(2, 3, &[0, 2]));
        assert_eq!(members.check(member(0)), Ok(()));
        let refused = |member| members.check(member).unwrap_err().to_string();
        // Whoever knows a worker's number does not know its incarnation.
        let guessed = Member { incarnation: 7, ..member(0) };
        assert_eq!(refused(guessed), "worker 0 is not a member any more: it left or expired; join anew");
        assert_eq!(refused(member(1)), "worker 1 is not a member any more: it left or expired; join anew");
        assert_eq!(refused(member(3)), "the coordinator has not told of worker 3 yet");
        let other = Member { life: Life { run: RunId(9), ..LIFE }, ..member(0) };
        assert!(refused(other).starts_with("worker 0 belongs to run 00000000000000000000000000000009, here"));
        let earlier = Member { life: Life { nonce: 9, ..LIFE }, ..member(0) };
        assert!(matches!(members.check(earlier), Err(Refusal::Fenced(_))));
    }

    #[test]
    fn an_older_roster_comes_too_late_and_a_new_life_begins_without_members() {
        let mut members = Members::default();
        members.begin(LIFE);
        members.replace(&roster(5, 2, &[1]));
        members.replace(&roster(4, 2, &[0, 1]));
        assert!(members.check(member(0)).is_err() && members.check(member(1)).is_ok());
        members.begin(LIFE);
        assert!(members.check(member(1)).is_ok());
        members.begin(Life { nonce: 9, ..LIFE });
        assert!(members.check(member(1)).is_err());
        members.replace(&roster(1, 1, &[0]));
        assert!(members.check(Member { life: Life { nonce: 9, ..LIFE }, ..member(0) }).is_ok());
    }
}
