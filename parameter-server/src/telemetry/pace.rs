//! The pace of a run: images a second while any worker trains, and the time that the rest takes.

use std::{collections::VecDeque, time::Duration};

use protocol::StepMetrics;
use tokio::time::Instant;

/// Time without training from which on it counts as a pause, in which an evaluation is made or no worker is there.
/// Reports are at most two seconds apart.
const PAUSE: Duration = Duration::from_secs(5);
/// Time of training over which the time left is estimated.
const RECENT: Duration = Duration::from_secs(30);

/// Pace of a run, measured by the times at which workers report images that they trained on. Time in which nobody
/// trained does not count.
#[derive(Debug)]
pub struct Pace {
    /// Time up to which what was trained is known.
    heard: Instant,
    /// Time of training, and images, since the last line.
    line: Trained,
    /// The same since the start.
    whole: Trained,
    /// The same at recent times, the oldest first.
    recent: VecDeque<Trained>,
}

/// A time of training, without pauses, and the images of that time.
#[derive(Clone, Copy, Debug, Default)]
struct Trained {
    time: Duration,
    images: u64,
}

impl Trained {
    fn add(&mut self, time: Duration, images: u64) {
        self.time += time;
        self.images = self.images.saturating_add(images);
    }

    fn rate(self) -> f64 {
        self.images as f64 / self.time.as_secs_f64().max(1e-3)
    }
}

impl Pace {
    /// Makes the pace of a run that trains from `now` on.
    pub fn new(now: Instant) -> Pace {
        let (line, whole) = Default::default();
        Pace { heard: now, line, whole, recent: VecDeque::from([Trained::default()]) }
    }

    /// Adds a worker's report that came at the time `now`. Its minibatches took the time that it spent computing
    /// and waiting before that.
    pub fn add(&mut self, metrics: &StepMetrics, now: Instant) {
        if metrics.images == 0 {
            return;
        }
        let passed = now.duration_since(self.heard);
        let busy = metrics.compute_seconds + metrics.wait_seconds;
        let busy = Duration::try_from_secs_f64(busy).map_or(Duration::ZERO, |busy| busy.min(passed));
        let idle = passed - busy;
        let time = if idle >= PAUSE { busy } else { passed };
        self.heard = now;
        self.line.add(time, metrics.images);
        self.whole.add(time, metrics.images);
        self.recent.push_back(self.whole);
        while self.recent.len() > 2 && self.whole.time - self.recent[1].time >= RECENT {
            self.recent.pop_front();
        }
    }

    /// Returns the images a second since the last call, while any worker trained.
    pub fn rate(&mut self) -> f64 {
        std::mem::take(&mut self.line).rate()
    }

    /// Returns the seconds that `images` more images take at the pace of the last half minute of training; `None`
    /// if that is not known yet, or there are none.
    pub fn seconds_left(&self, images: u64) -> Option<f64> {
        let before = self.recent.front()?;
        let recent =
            Trained { time: self.whole.time - before.time, images: self.whole.images - before.images };
        (images > 0 && !recent.time.is_zero() && recent.images > 0).then(|| images as f64 / recent.rate())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(images: u64, seconds: f64) -> StepMetrics {
        StepMetrics { steps: 1, images, compute_seconds: seconds, ..StepMetrics::default() }
    }

    #[test]
    fn pauses_do_not_count_and_slow_steps_do() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(start);
        // The first worker takes its time to begin.
        pace.add(&report(100, 2.0), at(20));
        pace.add(&report(0, 0.0), at(21));
        pace.add(&report(100, 2.0), at(22));
        assert_eq!(pace.rate(), 50.0);
        // An evaluation of 60 s, and then an interval as before.
        pace.add(&report(100, 2.0), at(84));
        assert_eq!(pace.rate(), 50.0);
        // A step of a minute is no pause, though nothing was reported during it.
        pace.add(&report(60, 60.0), at(144));
        assert_eq!(pace.rate(), 1.0);
        // Several workers at once.
        for second in 145..=150 {
            (0..4).for_each(|_| pace.add(&report(10, 1.0), at(second)));
        }
        assert_eq!(pace.rate(), 40.0);
        // A worker that does not say how long it took is believed below the length of a pause.
        pace.add(&report(80, 0.0), at(152));
        assert_eq!(pace.rate(), 40.0);
        pace.add(&report(80, f64::INFINITY), at(153));
        assert!(pace.rate().is_finite());
    }

    #[test]
    fn the_time_left_follows_the_recent_pace() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(start);
        assert_eq!(pace.seconds_left(1000), None);
        (1..=100).for_each(|second| pace.add(&report(10, 1.0), at(second)));
        assert_eq!(pace.seconds_left(1000), Some(100.0));
        (101..=200).for_each(|second| pace.add(&report(5, 1.0), at(second)));
        assert_eq!(pace.seconds_left(500), Some(100.0));
        pace.add(&report(5, 1.0), at(1000));
        assert_eq!(pace.seconds_left(500), Some(100.0), "a pause changes nothing");
        assert_eq!(pace.seconds_left(0), None, "all samples are used");
    }
}
