//! Meter of a run: sums over the workers' reports and the shards' counters, periodically turned into a line.

use std::time::Duration;

use protocol::{ShardStatus, StalenessCounts, StepMetrics, TrainingLine};
use tokio::time::Instant;

use super::{
    noise::{self, Noise},
    pace::Pace,
};

/// Number of lines that a run gives, about; at most one each second, and at least one each half minute.
const LINES_OF_A_RUN: u64 = 100;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// Meter of a run: sums of the workers' reports since the last line of metrics was made.
#[derive(Debug)]
pub struct Meter {
    /// Samples of the whole run.
    total: u64,
    /// Time at which the last line was made.
    since: Instant,
    /// How fast the run trains.
    pace: Pace,
    sums: StepMetrics,
    /// Minibatches acknowledged in the whole run.
    steps: u64,
    /// The shards' counters at the last line.
    traffic: Traffic,
    /// How noisy the workers' gradients are.
    noise: Noise,
    /// Number of workers for which advice was given last.
    advised: Option<u32>,
}

/// State of a run at the moment when a line of metrics is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunPosition {
    /// Number of the current epoch, from 0.
    pub epoch: u64,
    /// Number of epochs of the whole run; the last one may not be whole.
    pub epochs: u64,
    /// Number of training images used so far (every shard has acknowledged their gradients), over all epochs.
    pub samples: u64,
    /// Number of leases (ranges of images to train on) that workers hold.
    pub leases: u32,
    /// Number of workers that are members.
    pub workers: u32,
}

/// Counters of all shards of a server together: updates, their staleness, bytes received and sent, refused
/// and limited pushes, and a learning rate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traffic {
    updates: u64,
    staleness_sum: u64,
    staleness_counts: StalenessCounts,
    bytes_in: u64,
    bytes_out: u64,
    refused: u64,
    limited: u64,
    learning_rate: f64,
}

impl Traffic {
    /// Sums the counters of all shards of a server. The learning rate is that of the last shard in `statuses`
    /// with updates.
    pub fn of<'a>(statuses: impl Iterator<Item = &'a ShardStatus>) -> Traffic {
        let mut sum = Traffic::default();
        for shard in statuses {
            sum.updates = sum.updates.saturating_add(shard.updates);
            sum.staleness_sum = sum.staleness_sum.saturating_add(shard.staleness_sum);
            sum.staleness_counts.add(&shard.staleness_counts);
            sum.bytes_in = sum.bytes_in.saturating_add(shard.bytes_in);
            sum.bytes_out = sum.bytes_out.saturating_add(shard.bytes_out);
            sum.refused = sum.refused.saturating_add(shard.refused);
            sum.limited = sum.limited.saturating_add(shard.limited);
            if shard.updates > 0 {
                sum.learning_rate = shard.learning_rate;
            }
        }
        sum
    }

    /// Number of updates of blocks.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Number of refused pushes.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

impl Meter {
    /// Makes the meter of a run that takes `total` images in all and has trained on `steps` minibatches so
    /// far; the first line of metrics covers the time from `now` on.
    pub fn new(total: u64, steps: u64, now: Instant) -> Meter {
        Meter {
            total,
            since: now,
            pace: Pace::new(now),
            sums: StepMetrics::default(),
            steps,
            traffic: Traffic::default(),
            noise: Noise::default(),
            advised: None,
        }
    }

    /// Adds the metrics of a worker's report, which came at the time `now`, to the sums for the next line of
    /// metrics.
    pub fn add(&mut self, metrics: &StepMetrics, now: Instant) {
        self.pace.add(metrics, now);
        let sums = &mut self.sums;
        // The sums saturate: no number that a worker sends may bring the server down.
        sums.steps = sums.steps.saturating_add(metrics.steps);
        sums.images = sums.images.saturating_add(metrics.images);
        sums.main_loss += metrics.main_loss;
        sums.scores.add_all(&metrics.scores);
        sums.gradients.add(&metrics.gradients);
        sums.auxiliary_losses.resize(sums.auxiliary_losses.len().max(metrics.auxiliary_losses.len()), 0.0);
        for (sum, loss) in sums.auxiliary_losses.iter_mut().zip(&metrics.auxiliary_losses) {
            *sum += loss;
        }
        self.steps = self.steps.saturating_add(metrics.steps);
    }

    /// Ends the run at `total` images, by which lines tell how far it is.
    pub fn end_at(&mut self, total: u64) {
        self.total = total;
    }

    /// Number of minibatches of the whole run whose pushes every shard has acknowledged.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Makes the line of training metrics for the time since the last line, from the workers' reports, the
    /// state of the run (`position`) and the shards' counters (`traffic`). Returns `None` if no image was
    /// trained on since, or if no line is due (about every hundredth of the run, 1 to 30 s apart) and the run
    /// is not over (`last`).
    pub fn line(
        &mut self,
        now: Instant,
        position: RunPosition,
        traffic: Traffic,
        last: bool,
    ) -> Option<TrainingLine> {
        let elapsed = now.duration_since(self.since);
        let enough = self.sums.images >= self.total / LINES_OF_A_RUN || elapsed >= LONGEST;
        if self.sums.images == 0 || !(last || elapsed >= SHORTEST && enough) {
            return None;
        }
        let sums = std::mem::take(&mut self.sums);
        let before = std::mem::replace(&mut self.traffic, traffic);
        self.since = now;
        let (images, batch) = (sums.images as f64, noise::batch(&sums));
        self.noise.add(&sums.gradients);
        let noise_scale = self.noise.scale(batch);
        let unadvised = noise_scale.filter(|_| self.advised != Some(position.workers));
        if let Some(advice) = unadvised.and_then(|scale| noise::advice(position.workers, batch, scale)) {
            self.advised = Some(position.workers);
            tracing::warn!("{advice}");
        }
        // The counters of a restarted shard process start from zero again, so the differences saturate.
        let updates = self.traffic.updates.saturating_sub(before.updates);
        let staleness = self.traffic.staleness_sum.saturating_sub(before.staleness_sum);
        Some(TrainingLine {
            step: self.steps,
            epoch: position.epoch,
            epochs: position.epochs,
            samples: position.samples,
            done: position.samples as f64 / self.total.max(1) as f64,
            seconds_left: self.pace.seconds_left(self.total.saturating_sub(position.samples)),
            loss: sums.main_loss / images,
            auxiliary_losses: sums.auxiliary_losses.iter().map(|loss| loss / images).collect(),
            scores: sums.scores.divided_by(images),
            images_per_second: self.pace.rate(),
            learning_rate: self.traffic.learning_rate,
            staleness_mean: staleness as f64 / updates.max(1) as f64,
            staleness_max: self.traffic.staleness_counts.largest_since(&before.staleness_counts),
            bytes_in: self.traffic.bytes_in.saturating_sub(before.bytes_in),
            bytes_out: self.traffic.bytes_out.saturating_sub(before.bytes_out),
            leases: position.leases,
            workers: position.workers,
            refused: self.traffic.refused.saturating_sub(before.refused),
            limited: self.traffic.limited.saturating_sub(before.limited),
            noise_scale,
            useful_workers: noise_scale.map(|scale| noise::useful(position.workers, batch, scale)),
        })
    }
}

#[cfg(test)]
mod tests {
    use protocol::Scores;

    use super::*;

    #[test]
    fn a_line_holds_means_and_differences() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut meter = Meter::new(10_000, 7, start);
        let metrics = StepMetrics {
            steps: 2,
            images: 64,
            main_loss: 128.0,
            auxiliary_losses: vec![64.0, 32.0],
            scores: Scores::new([("top1", 16.0)]),
            ..StepMetrics::default()
        };
        meter.add(&metrics, at(500));
        let position = RunPosition { epoch: 1, epochs: 4, samples: 64, leases: 2, workers: 3 };
        let shards =
            [(10, 30, 5, 400, 800), (10, 10, 2, 200, 0)].map(|(updates, sum, max, bytes_in, bytes_out)| {
                let mut staleness_counts = StalenessCounts::default();
                staleness_counts.record(max);
                ShardStatus {
                    updates,
                    staleness_sum: sum,
                    staleness_counts,
                    bytes_in,
                    bytes_out,
                    learning_rate: 0.5,
                    limited: 3,
                    ..ShardStatus::default()
                }
            });
        let traffic = Traffic::of(shards.iter());
        let line = |meter: &mut Meter, now, last| meter.line(at(now), position, traffic.clone(), last);
        assert_eq!(line(&mut meter, 2000, false), None, "too few images for a line");
        meter.add(&metrics, at(2000));
        assert_eq!(line(&mut meter, 999, false), None, "too early for a line");
        let made = line(&mut meter, 2100, false).unwrap();
        let expected = TrainingLine {
            step: 11,
            epoch: 1,
            epochs: 4,
            samples: 64,
            done: 0.0064,
            seconds_left: Some(9936.0 / 64.0),
            loss: 2.0,
            auxiliary_losses: vec![1.0, 0.5],
            scores: Scores::new([("top1", 0.25)]),
            images_per_second: 64.0,
            learning_rate: 0.5,
            staleness_mean: 2.0,
            staleness_max: 5,
            bytes_in: 600,
            bytes_out: 800,
            leases: 2,
            workers: 3,
            refused: 0,
            limited: 6,
            noise_scale: None,
            useful_workers: None,
        };
        assert_eq!(made, expected);
        meter.add(&metrics, at(2500));
        let made = line(&mut meter, 2600, true).unwrap();
        assert_eq!((made.bytes_in, made.staleness_mean, made.staleness_max), (0, 0.0, 0));
        assert_eq!(made.images_per_second, 128.0);
        assert_eq!(line(&mut meter, 9000, true), None, "nothing was trained since");
    }
}
