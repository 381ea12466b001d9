//! The pushes that shards scaled down since their largest value was far above the usual one, by worker.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

/// Least time between two warnings.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Counts of the pushes that shards scaled down, and the warnings about them.
#[derive(Debug, Default)]
pub(super) struct LimitedPushes {
    /// Newest counts, by incarnation and shard.
    counts: BTreeMap<(u64, u32), u64>,
    /// Pushes since the last warning, by worker.
    new: BTreeMap<u32, u64>,
    warned: Option<Instant>,
}

impl LimitedPushes {
    /// Takes in the counts by incarnation that a shard gave; `worker` tells the number of the worker of an
    /// incarnation, and `None` for one that the run does not know any more.
    pub(super) fn observe(
        &mut self,
        shard: u32,
        counts: &BTreeMap<u64, u64>,
        worker: impl Fn(u64) -> Option<u32>,
    ) {
        for (&incarnation, &count) in counts {
            let Some(worker) = worker(incarnation) else { continue };
            let before = self.counts.insert((incarnation, shard), count).unwrap_or(0);
            // The counts of a shard process that was restarted begin anew.
            match count.saturating_sub(before) {
                0 => {}
                more => *self.new.entry(worker).or_default() += more,
            }
        }
        self.counts.retain(|&(incarnation, _), _| worker(incarnation).is_some());
    }

    /// Warns of the workers whose pushes were scaled down since the last warning, at most once a minute.
    pub(super) fn warn(&mut self, now: Instant) {
        if let Some(text) = self.due(now) {
            tracing::warn!("{text}");
        }
    }

    fn due(&mut self, now: Instant) -> Option<String> {
        let early = self.warned.is_some_and(|warned| now.duration_since(warned) < WARN_EVERY);
        if early || self.new.is_empty() {
            return None;
        }
        self.warned = Some(now);
        let each = |(worker, pushes)| format!("{pushes} of worker {worker}");
        let each: Vec<String> = std::mem::take(&mut self.new).into_iter().map(each).collect();
        Some(format!(
            "pushes were scaled down to 100 times the usual size of their block: {}; a worker that is named again and \
             again may have faulty memory, or should not be trusted",
            each.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_named_at_most_once_a_minute_with_what_is_new() {
        let start = Instant::now();
        let mut limited = LimitedPushes::default();
        let known = |incarnation| (incarnation < 100).then_some(incarnation as u32 % 10);
        let said = |limited: &mut LimitedPushes, seconds| {
            let text = limited.due(start + Duration::from_secs(seconds))?;
            let (_, rest) = text.split_once(": ").unwrap();
            Some(rest.split_once(';').unwrap().0.to_string())
        };
        assert_eq!(said(&mut limited, 0), None);
        limited.observe(0, &[(11, 3), (500, 7)].into(), known);
        limited.observe(1, &[(11, 2), (12, 1)].into(), known);
        assert_eq!(said(&mut limited, 1).unwrap(), "5 of worker 1, 1 of worker 2");
        limited.observe(0, &[(11, 4)].into(), known);
        assert_eq!(said(&mut limited, 60), None);
        assert_eq!(said(&mut limited, 61).unwrap(), "1 of worker 1");
        // Nothing is new, and then a process was restarted.
        limited.observe(0, &[(11, 4)].into(), known);
        assert_eq!(said(&mut limited, 200), None);
        limited.observe(0, &[(11, 1)].into(), known);
        limited.observe(0, &[(11, 2)].into(), known);
        assert_eq!(said(&mut limited, 200).unwrap(), "1 of worker 1");
        limited.observe(0, &BTreeMap::new(), |_| None);
        assert!(limited.counts.is_empty());
    }
}
