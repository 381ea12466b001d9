//! A run that stands still: workers are there, samples are left, and none is credited.

use std::time::Duration;

use tokio::time::Instant;

use super::{reminder::Reminder, run::Run};
use crate::telemetry::Traffic;

/// Most workers that a warning names.
const MOST_NAMED: usize = 5;

/// Counts of pushes of single blocks, at all shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pushes {
    refused: u64,
    applied: u64,
}

impl Pushes {
    fn of(traffic: &Traffic) -> Pushes {
        Pushes { refused: traffic.refused(), applied: traffic.updates() }
    }
}

/// Watch over a run that may stand still: its counts as it last moved, and a reminder of the time since then.
#[derive(Debug, Default)]
pub(super) struct Standstill {
    reminder: Reminder,
    /// Samples used or skipped.
    consumed: u64,
    pushes: Pushes,
}

impl Standstill {
    /// Looks at a run that has consumed so many samples; `due` says whether it has workers that should train. Returns
    /// the time for which nothing was credited, if that is to be told now, with the pushes before it.
    fn look(&mut self, now: Instant, due: bool, consumed: u64, pushes: Pushes) -> Option<(Duration, Pushes)> {
        if !due || self.consumed != consumed {
            if let Some(time) = self.reminder.said(now).filter(|_| due) {
                tracing::info!("samples are credited again, after {} s", time.as_secs());
            }
            self.reminder.look(now, false);
            (self.consumed, self.pushes) = (consumed, pushes);
        }
        Some((self.reminder.look(now, true)?, self.pushes))
    }
}

impl Run {
    /// Returns what to say of a run that has stood still for a while, with the shards' counters `traffic`. `late` names
    /// the processes of the server that are not heard of; a run that is `paused` stands still as it should.
    pub(super) fn standstill(
        &mut self,
        now: Instant,
        traffic: &Traffic,
        late: &[String],
        paused: bool,
    ) -> Option<String> {
        let consumed = self.leases.consumed();
        let trains = |member: &protocol::Member| !self.evaluations.is_held_by(member.incarnation);
        let left = !paused && consumed < self.leases.total();
        let due = left && self.members.members().any(|member| trains(&member));
        let pushes = Pushes::of(traffic);
        let (time, before) = self.still.look(now, due, consumed, pushes)?;
        let named = self.members.members().take(MOST_NAMED).filter_map(|member| {
            let (name, silence) = self.members.name_and_silence(member, now)?;
            let held = self.leases.held(member.incarnation);
            let (worker, seconds) = (member.worker, silence.as_secs());
            Some(format!("worker {worker} ({name}) holds {held} leases and was heard of {seconds} s ago"))
        });
        let mut named = named.collect::<Vec<_>>().join(", ");
        if self.members.len() > MOST_NAMED {
            named += &format!(", and {} more workers", self.members.len() - MOST_NAMED);
        }
        let refused = pushes.refused.saturating_sub(before.refused);
        let applied = pushes.applied.saturating_sub(before.applied);
        let reason = match (late, refused, applied) {
            ([_, ..], ..) => format!("the server lacks {}", late.join(", ")),
            (_, 1.., _) => format!("the shards refused {refused} pushes meanwhile, see above or their logs"),
            (_, _, 1..) => format!(
                "the shards took the pushes of {applied} blocks meanwhile, and no worker reports a minibatch"
            ),
            _ => "no push came to the shards; the workers' logs say what they wait for".to_string(),
        };
        Some(format!("no sample was credited for {} s: {reason}; {named}", time.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standstill_is_told_after_a_minute_and_ever_more_rarely() {
        let start = Instant::now();
        let mut standstill = Standstill::default();
        let mut told = |seconds, due, consumed| {
            let now = start + Duration::from_secs(seconds);
            standstill.look(now, due, consumed, Pushes::default()).map(|(time, _)| time.as_secs())
        };
        assert_eq!(told(0, true, 5), None);
        assert_eq!(told(59, true, 5), None);
        assert_eq!(told(60, true, 5), Some(60));
        assert_eq!(told(61, true, 5), None);
        assert_eq!(told(120, true, 5), Some(120));
        assert_eq!(told(239, true, 5), None);
        assert_eq!(told(240, true, 5), Some(240));
        // A sample is credited; then nobody is there that should train.
        assert_eq!(told(300, true, 6), None);
        assert_eq!(told(359, true, 6), None);
        assert_eq!(told(360, false, 6), None);
        assert_eq!(told(419, true, 6), None);
        assert_eq!(told(420, true, 6), Some(60));
    }
}
