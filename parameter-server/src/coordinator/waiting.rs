//! A run that waits: for processes of the server, or for workers.

use std::time::Duration;

use tokio::time::Instant;

/// Time after which it is said that a run waits; it is said again after twice that, four times, and so on.
const SAID_AFTER: Duration = Duration::from_secs(60);

/// The time since which a run waits, and when that is said next.
#[derive(Debug, Default)]
pub(super) struct Waiting(Option<(Instant, Duration)>);

impl Waiting {
    /// Looks at a run that `waits`, or does not; returns the time for which it has waited, if that is to be said now.
    pub(super) fn look(&mut self, now: Instant, waits: bool) -> Option<Duration> {
        if !waits {
            self.0 = None;
            return None;
        }
        let (since, next) = self.0.get_or_insert((now, SAID_AFTER));
        let time = now - *since;
        if time < *next {
            return None;
        }
        *next *= 2;
        Some(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_waits_is_told_of_after_a_minute_and_ever_more_rarely() {
        let start = Instant::now();
        let mut waiting = Waiting::default();
        let mut said = |seconds, waits| {
            waiting.look(start + Duration::from_secs(seconds), waits).map(|time| time.as_secs())
        };
        for (seconds, expected) in [
            (0, None),
            (59, None),
            (60, Some(60)),
            (61, None),
            (120, Some(120)),
            (239, None),
            (240, Some(240)),
        ] {
            assert_eq!(said(seconds, true), expected, "after {seconds} s");
        }
        assert_eq!(said(250, false), None);
        assert_eq!(said(260, true), None);
        assert_eq!(said(319, true), None);
        assert_eq!(said(320, true), Some(60));
    }
}
