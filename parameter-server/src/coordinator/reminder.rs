//! When to say that something lasts: that a run waits, or stands still.

use std::time::Duration;

use tokio::time::Instant;

/// Time after which it is said that something lasts; it is said again after twice that, four times, and so on.
const SAID_AFTER: Duration = Duration::from_secs(60);

/// The moment since which something lasts, and the time after it at which that is said next; `None` while it does not.
#[derive(Debug, Default)]
pub(super) struct Reminder(Option<(Instant, Duration)>);

impl Reminder {
    /// Records whether it `lasts` at this moment; returns the time for which it has lasted, if that is to be said now.
    pub(super) fn look(&mut self, now: Instant, lasts: bool) -> Option<Duration> {
        if !lasts {
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

    /// Returns the time for which it has lasted, if that was said.
    pub(super) fn said(&self, now: Instant) -> Option<Duration> {
        self.0.filter(|(_, next)| *next > SAID_AFTER).map(|(since, _)| now - since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_said_after_a_minute_and_ever_more_rarely() {
        let start = Instant::now();
        let mut reminder = Reminder::default();
        assert_eq!(reminder.said(start), None);
        let mut said = |seconds, lasts| {
            reminder.look(start + Duration::from_secs(seconds), lasts).map(|time| time.as_secs())
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
        assert_eq!(reminder.said(start + Duration::from_secs(330)), Some(Duration::from_secs(70)));
    }
}
