//! The last leases of a run: where one makes no progress while a member has nothing else to do, it goes to that member,
//! as the last portions of DistBelief's batches did.
//!
//! A lease is credited to one holder only, and what its first holder still pushes is applied and not credited: the
//! account counts it as repeated.

use std::time::Duration;

use protocol::Member;
use tokio::time::Instant;

use super::run::Run;

/// Part of the time after which a silent member expires, after which one that makes no progress is slow.
const PART_OF_PATIENCE: u32 = 3;
/// Number of a member's own pauses between two reports of progress, after which it is slow.
const PAUSES: u32 = 4;

/// Progress of a member with its leases.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Time of the newest progress or lease.
    moved: Instant,
    /// Usual time between two reports of progress.
    usual: Duration,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Pace {
        Pace { moved: now, usual: Duration::ZERO }
    }

    /// Records a new lease.
    pub(super) fn leased(&mut self, now: Instant) {
        self.moved = now;
    }

    /// Records progress with a lease.
    pub(super) fn progressed(&mut self, now: Instant) {
        self.usual = (3 * self.usual + (now - self.moved)) / 4;
        self.moved = now;
    }

    /// Returns the time since the newest progress if that is long, for a member that expires after a silence of
    /// `patience`.
    fn slow_for(&self, now: Instant, patience: Duration) -> Option<Duration> {
        let time = now - self.moved;
        (time > (patience / PART_OF_PATIENCE).max(PAUSES * self.usual)).then_some(time)
    }
}

impl Run {
    /// Takes back the leases of a member that makes no progress, since `idle` asks for work and there is none besides;
    /// returns whether there was one. A member that evaluates is not waited for less than its evaluation takes.
    pub(super) fn back_up(&mut self, idle: Member) -> bool {
        let now = Instant::now();
        let slow = self.members.members().find_map(|member| {
            let holds = member != idle && self.leases.held(member.incarnation) > 0;
            let evaluates = self.evaluations.is_held_by(member.incarnation);
            let time = self.members.pace(member)?.slow_for(now, self.members.patience())?;
            (holds && !evaluates).then_some((member, time))
        });
        let Some((member, time)) = slow else { return false };
        let (name, _) = self.members.name_and_silence(member, now).expect("it is a member");
        let (worker, name) = (member.worker, name.to_string());
        let leases = self.leases.take_back(member.incarnation);
        tracing::warn!(
            "worker {worker} ({name}) has made no progress for {} s, and nothing else is left to do: its {leases} leases go \
             to others",
            time.as_secs()
        );
        true
    }
}
