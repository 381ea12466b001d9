//! What the coordinator tells the shards of a process: the members whose pushes they take, the evaluations
//! that they freeze averages for, and the newest complete snapshot.

use std::collections::{BTreeMap, BTreeSet};

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
    next_evaluation: u64,
    /// Evaluations that are ordered and not done.
    evaluations: BTreeSet<u64>,
    /// Factor on the learning rate of the schedule; none before the coordinator has said.
    rate_factor: Option<f64>,
    /// Number of the newest complete snapshot; 0 if there is none.
    snapshot: u64,
}

/// Most that the number of a snapshot may be above that of the newest. It is above by one, and by more where
/// a server was stopped while it took one.
const MOST_AHEAD: u64 = 1024;

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
        self.next_evaluation = roster.next_evaluation;
        self.evaluations = roster.evaluations.iter().copied().collect();
        self.rate_factor = Some(roster.rate_factor);
    }

    /// Factor on the learning rate of the schedule, as an operator set it; 1 if none did.
    pub(super) fn rate_factor(&self) -> f64 {
        self.rate_factor.unwrap_or(1.0)
    }

    /// Records that the snapshot of this number is complete.
    pub(super) fn completed(&mut self, snapshot: u64) {
        self.snapshot = self.snapshot.max(snapshot);
    }

    /// Whether an evaluation is ordered and not done.
    pub(super) fn evaluates(&self, evaluation: u64) -> bool {
        self.evaluations.contains(&evaluation)
    }

    /// Checks that an average may be frozen for an evaluation.
    pub(super) fn check_evaluation(&self, evaluation: u64) -> Result<(), Refusal> {
        if self.evaluates(evaluation) {
            return Ok(());
        }
        if evaluation >= self.next_evaluation {
            return Err(Refusal::NotReady(format!(
                "the coordinator has not told of evaluation {evaluation} yet"
            )));
        }
        Err(Refusal::Invalid(format!(
            "evaluation {evaluation} is done, or was never ordered: no average is kept for it"
        )))
    }

    /// Checks the number of a snapshot that is ordered; `newest` is the highest of those in the folder.
    pub(super) fn check_snapshot(&self, id: u64, newest: u64) -> Result<(), Refusal> {
        let most = newest.max(self.snapshot).saturating_add(MOST_AHEAD);
        if self.snapshot < id && id <= most {
            return Ok(());
        }
        Err(Refusal::Invalid(format!(
            "snapshot {id}: expected a number above {}, that of the newest complete one, and at most {most}",
            self.snapshot
        )))
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
        Roster {
            version,
            next_worker,
            members: members.iter().map(entry).collect(),
            next_evaluation: 8,
            evaluations: vec![5, 7],
            ..Roster::default()
        }
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

    #[test]
    fn averages_are_for_evaluations_that_are_ordered() {
        let mut members = Members::default();
        members.begin(LIFE);
        assert!(matches!(members.check_evaluation(5), Err(Refusal::NotReady(_))));
        members.replace(&roster(1, 1, &[]));
        assert_eq!([5, 7].map(|evaluation| members.check_evaluation(evaluation)), [Ok(()), Ok(())]);
        let refused = |evaluation| members.check_evaluation(evaluation).unwrap_err();
        for evaluation in [1, 6] {
            let text =
                format!("evaluation {evaluation} is done, or was never ordered: no average is kept for it");
            assert_eq!(refused(evaluation), Refusal::Invalid(text));
        }
        let text = "the coordinator has not told of evaluation 8 yet";
        assert_eq!(refused(8), Refusal::NotReady(text.into()));
        assert!(matches!(refused(u64::MAX), Refusal::NotReady(_)));
    }

    #[test]
    fn snapshots_have_numbers_a_little_above_the_newest() {
        let mut members = Members::default();
        members.begin(LIFE);
        let fits = |members: &Members, newest, ids: [u64; 5]| {
            ids.map(|id| members.check_snapshot(id, newest).is_ok())
        };
        assert_eq!(fits(&members, 0, [0, 1, 1024, 1025, u64::MAX]), [false, true, true, false, false]);
        members.completed(7);
        // What was begun and not completed may be written again.
        assert_eq!(fits(&members, 9, [7, 8, 9, 1033, 1034]), [false, true, true, true, false]);
        let text = "snapshot 0: expected a number above 7, that of the newest complete one, and at most 1033";
        assert_eq!(members.check_snapshot(0, 9), Err(Refusal::Invalid(text.into())));
        // A run may go on from an earlier snapshot.
        members.begin(Life { nonce: 9, ..LIFE });
        members.completed(3);
        assert!(members.check_snapshot(4, 9).is_ok());
    }
}
