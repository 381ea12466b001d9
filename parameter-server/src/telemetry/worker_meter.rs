//! Meter of one worker: what it has done since it joined, and how fast it was of late.

use std::{collections::VecDeque, time::Duration};

use protocol::{StepMetrics, Wire, WorkerOverview};
use tokio::time::Instant;

/// Time over which rates and means are taken.
const RECENT: Duration = Duration::from_secs(30);
/// Most reports of that time that are kept; a worker sends one every two seconds, and one for each lease.
const MOST_KEPT: usize = 64;

/// Meter of a worker: sums over its reports, and the same sums at the times of its newest reports.
#[derive(Debug)]
pub struct WorkerMeter {
    /// The sums at the times of the newest reports, or at the join, the oldest first.
    recent: VecDeque<(Instant, Sums)>,
    gradient_wire: Option<Wire>,
    parameter_wire: Option<Wire>,
    link_up: Option<f64>,
    link_down: Option<f64>,
}

/// Sums over a worker's reports since it joined.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    images: u64,
    steps: u64,
    updates: u64,
    staleness: u64,
    bytes_out: u64,
    bytes_in: u64,
    compute_seconds: f64,
    wait_seconds: f64,
}

impl WorkerMeter {
    /// Makes the meter of a worker that joins at the time `now`.
    pub fn new(now: Instant) -> WorkerMeter {
        let recent = VecDeque::from([(now, Sums::default())]);
        WorkerMeter { recent, gradient_wire: None, parameter_wire: None, link_up: None, link_down: None }
    }

    /// Adds the metrics of a report that came at the time `now`.
    pub fn add(&mut self, metrics: &StepMetrics, now: Instant) {
        let sums = self.newest();
        // The sums saturate: no number that a worker sends may bring the server down.
        let sums = Sums {
            images: sums.images.saturating_add(metrics.images),
            steps: sums.steps.saturating_add(metrics.steps),
            updates: sums.updates.saturating_add(metrics.updates),
            staleness: sums.staleness.saturating_add(metrics.staleness_sum),
            bytes_out: sums.bytes_out.saturating_add(metrics.bytes_out),
            bytes_in: sums.bytes_in.saturating_add(metrics.bytes_in),
            compute_seconds: sums.compute_seconds + metrics.compute_seconds,
            wait_seconds: sums.wait_seconds + metrics.wait_seconds,
        };
        self.recent.push_back((now, sums));
        // One from before the time is kept: what came since then is what is shown.
        while self.recent.len() > 2 && now - self.recent[1].0 >= RECENT || self.recent.len() > MOST_KEPT {
            self.recent.pop_front();
        }
        self.gradient_wire = metrics.gradient_wire.or(self.gradient_wire);
        self.parameter_wire = metrics.parameter_wire.or(self.parameter_wire);
        self.link_up = metrics.link_up.or(self.link_up);
        self.link_down = metrics.link_down.or(self.link_down);
    }

    fn newest(&self) -> Sums {
        self.recent.back().expect("the join at least is kept").1
    }

    /// Returns what the meter knows of its worker; number, name and the rest are left as they are by default.
    pub fn overview(&self) -> WorkerOverview {
        let (since, before) = self.recent.front().expect("the join at least is kept");
        let (until, now) = self.recent.back().expect("the join at least is kept");
        let per = |sum: f64, of: f64| if of > 0.0 && sum.is_finite() { sum / of } else { 0.0 };
        let waited = now.wait_seconds - before.wait_seconds;
        let busy = now.compute_seconds - before.compute_seconds + waited;
        WorkerOverview {
            images: now.images,
            steps: now.steps,
            images_per_second: per((now.images - before.images) as f64, (*until - *since).as_secs_f64()),
            staleness_mean: per(
                (now.staleness - before.staleness) as f64,
                (now.updates - before.updates) as f64,
            ),
            step_seconds: per(busy, (now.steps - before.steps) as f64),
            waiting: per(waited, busy).clamp(0.0, 1.0),
            bytes_out: now.bytes_out,
            bytes_in: now.bytes_in,
            gradient_wire: self.gradient_wire,
            parameter_wire: self.parameter_wire,
            link_up: self.link_up,
            link_down: self.link_down,
            ..WorkerOverview::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_means_are_those_of_the_last_half_minute_and_sums_of_all_time() {
        let start = Instant::now();
        let mut meter = WorkerMeter::new(start);
        assert_eq!(meter.overview(), WorkerOverview::default());
        let report = |images, staleness_sum| StepMetrics {
            steps: 2,
            images,
            updates: 10,
            staleness_sum,
            bytes_out: 100,
            bytes_in: 1000,
            compute_seconds: 1.5,
            wait_seconds: 0.5,
            gradient_wire: Some(Wire::Bits4),
            link_up: Some(2.5e6),
            ..StepMetrics::default()
        };
        let at = |second| start + Duration::from_secs(second);
        (1..=30).for_each(|report_number| meter.add(&report(20, 50), at(2 * report_number)));
        let found = meter.overview();
        assert_eq!((found.images, found.steps, found.bytes_out, found.bytes_in), (600, 60, 3000, 30_000));
        let rates = (found.images_per_second, found.staleness_mean, found.step_seconds, found.waiting);
        assert_eq!(rates, (10.0, 5.0, 1.0, 0.25));
        assert_eq!((found.gradient_wire, found.parameter_wire), (Some(Wire::Bits4), None));
        (31..=60).for_each(|report_number| meter.add(&report(80, 0), at(2 * report_number)));
        let found = meter.overview();
        assert_eq!((found.images_per_second, found.staleness_mean), (40.0, 0.0));
        // Paused, it goes on to report.
        let idle = StepMetrics::default();
        (61..=80).for_each(|report_number| meter.add(&idle, at(2 * report_number)));
        let found = meter.overview();
        assert_eq!((found.images_per_second, found.step_seconds, found.images), (0.0, 0.0, 3000));
        assert_eq!(
            (found.gradient_wire, found.link_up, found.link_down),
            (Some(Wire::Bits4), Some(2.5e6), None)
        );
    }

    #[test]
    fn whatever_a_worker_sends_is_kept_within_bounds() {
        let now = Instant::now();
        let mut meter = WorkerMeter::new(now);
        let huge = StepMetrics {
            steps: u64::MAX,
            images: u64::MAX,
            compute_seconds: f64::MAX,
            wait_seconds: f64::MAX,
            ..StepMetrics::default()
        };
        (0..1000).for_each(|_| meter.add(&huge, now));
        let found = meter.overview();
        assert!(meter.recent.len() <= MOST_KEPT && found.images_per_second.is_finite(), "{found:?}");
        assert!(found.waiting.is_finite() && found.step_seconds.is_finite(), "{found:?}");
    }
}
