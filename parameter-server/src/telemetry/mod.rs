//! Metrics of a run: sums over the workers' reports and the shards' counters, from time to time made into a
//! line of the log and of the metrics file.

use std::{io::Write, path::Path, time::Duration};

use protocol::{Evaluation, Scores, ShardStatus, StepMetrics, TrainingLine};
use serde::Serialize;
use tokio::time::Instant;

/// Number of lines that a run gives, about; at most one each second, and at least one each half minute.
const LINES_OF_A_RUN: u64 = 100;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// Sums of the workers' reports since the last line.
#[derive(Debug)]
pub struct Meter {
    /// Samples of the whole run.
    total: u64,
    /// When the last line was made.
    since: Instant,
    sums: StepMetrics,
    /// Minibatches acknowledged in the whole run.
    steps: u64,
    /// The shards' counters at the last line.
    traffic: Traffic,
}

/// The state of the run at the moment of a line.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunPosition {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Samples used so far.
    pub samples: u64,
    /// Leases that workers hold.
    pub leases: u32,
    /// Workers that are members.
    pub workers: u32,
}

/// The sums of all shards' counters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    updates: u64,
    staleness_sum: u64,
    staleness_max: u64,
    bytes_in: u64,
    bytes_out: u64,
    refused: u64,
    learning_rate: f64,
}

impl Traffic {
    /// Sums the shards' counters.
    pub fn of<'a>(statuses: impl Iterator<Item = &'a ShardStatus>) -> Traffic {
        statuses.fold(Traffic::default(), |sum, shard| Traffic {
            updates: sum.updates.saturating_add(shard.updates),
            staleness_sum: sum.staleness_sum.saturating_add(shard.staleness_sum),
            staleness_max: sum.staleness_max.max(shard.staleness_max),
            bytes_in: sum.bytes_in.saturating_add(shard.bytes_in),
            bytes_out: sum.bytes_out.saturating_add(shard.bytes_out),
            refused: sum.refused.saturating_add(shard.refused),
            learning_rate: if shard.updates > 0 { shard.learning_rate } else { sum.learning_rate },
        })
    }
}

impl Meter {
    /// Starts the sums of a run of `total` samples that has made `steps` minibatches so far.
    pub fn new(total: u64, steps: u64, now: Instant) -> Meter {
        Meter { total, since: now, sums: StepMetrics::default(), steps, traffic: Traffic::default() }
    }

    /// Adds the metrics of a worker's report.
    pub fn add(&mut self, metrics: &StepMetrics) {
        let sums = &mut self.sums;
        // The sums saturate: no number that a worker sends may bring the server down.
        sums.steps = sums.steps.saturating_add(metrics.steps);
        sums.images = sums.images.saturating_add(metrics.images);
        sums.main_loss += metrics.main_loss;
        sums.correct = sums.correct.saturating_add(metrics.correct);
        sums.auxiliary_losses.resize(sums.auxiliary_losses.len().max(metrics.auxiliary_losses.len()), 0.0);
        for (sum, loss) in sums.auxiliary_losses.iter_mut().zip(&metrics.auxiliary_losses) {
            *sum += loss;
        }
        self.steps = self.steps.saturating_add(metrics.steps);
    }

    /// Minibatches acknowledged in the whole run.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Makes a line of the time since the last one, if one is due or the run is over (`last`) and images were
    /// trained.
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
        let images = sums.images as f64;
        // The counters of a restarted shard process start from zero again, so the differences saturate.
        let updates = traffic.updates.saturating_sub(before.updates);
        let staleness = traffic.staleness_sum.saturating_sub(before.staleness_sum);
        Some(TrainingLine {
            step: self.steps,
            epoch: position.epoch,
            samples: position.samples,
            loss: sums.main_loss / images,
            auxiliary_losses: sums.auxiliary_losses.iter().map(|loss| loss / images).collect(),
            top1: sums.correct as f64 / images,
            images_per_second: images / elapsed.as_secs_f64().max(1e-3),
            learning_rate: traffic.learning_rate,
            staleness_mean: staleness as f64 / updates.max(1) as f64,
            staleness_max: traffic.staleness_max,
            bytes_in: traffic.bytes_in.saturating_sub(before.bytes_in),
            bytes_out: traffic.bytes_out.saturating_sub(before.bytes_out),
            leases: position.leases,
            workers: position.workers,
            refused: traffic.refused.saturating_sub(before.refused),
        })
    }
}

/// A line of the metrics file, as JSON told apart by its key `kind`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Line {
    /// Training since the previous line.
    Train(TrainingLine),
    /// A finished evaluation.
    Evaluation(EvaluationLine),
}

/// An evaluation, together with the training numbers of that moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvaluationLine {
    /// Samples used when the evaluation was ordered.
    pub samples: u64,
    /// Images evaluated.
    pub images: u64,
    /// Images of the validation split that could not be read, and were left out.
    pub unreadable: u64,
    /// Scores of the averaged parameters: `top1`, `top5`, `loss`.
    #[serde(flatten)]
    pub average: Scores,
    /// Scores of the last iterate.
    pub last_iterate: Scores,
    /// Training speed of the newest training line.
    pub images_per_second: f64,
    /// Learning rate of the newest training line.
    pub learning_rate: f64,
    /// Mean staleness of the newest training line.
    pub staleness_mean: f64,
}

impl EvaluationLine {
    /// Combines `evaluation`, of a split of `validation` images, with the newest training line, whose numbers
    /// are 0 if there is none.
    pub fn new(evaluation: &Evaluation, validation: u64, latest: Option<&TrainingLine>) -> EvaluationLine {
        EvaluationLine {
            samples: evaluation.samples,
            images: evaluation.images,
            unreadable: validation.saturating_sub(evaluation.images),
            average: evaluation.average,
            last_iterate: evaluation.last_iterate,
            images_per_second: latest.map_or(0.0, |line| line.images_per_second),
            learning_rate: latest.map_or(0.0, |line| line.learning_rate),
            staleness_mean: latest.map_or(0.0, |line| line.staleness_mean),
        }
    }
}

impl Line {
    /// Writes the line to the log.
    pub fn log(&self) {
        // More digits than these carry no information and make the line hard to read.
        let digits = |value: f64, digits: i32| (value * 10f64.powi(digits)).round() / 10f64.powi(digits);
        match self {
            Line::Train(line) => {
                let auxiliary: Vec<f64> = line.auxiliary_losses.iter().map(|loss| digits(*loss, 4)).collect();
                tracing::info!(
                    step = line.step,
                    epoch = line.epoch,
                    samples = line.samples,
                    loss = digits(line.loss, 4),
                    auxiliary_losses = ?auxiliary,
                    top1 = digits(line.top1, 4),
                    images_per_second = digits(line.images_per_second, 1),
                    learning_rate = digits(line.learning_rate, 7),
                    staleness_mean = digits(line.staleness_mean, 2),
                    staleness_max = line.staleness_max,
                    bytes_in = line.bytes_in,
                    bytes_out = line.bytes_out,
                    leases = line.leases,
                    workers = line.workers,
                    refused = line.refused,
                    "training"
                );
            }
            Line::Evaluation(line) => tracing::info!(
                samples = line.samples,
                images = line.images,
                top1 = digits(line.average.top1, 4),
                top5 = digits(line.average.top5, 4),
                loss = digits(line.average.loss, 4),
                last_iterate_top1 = digits(line.last_iterate.top1, 4),
                last_iterate_loss = digits(line.last_iterate.loss, 4),
                "evaluation of the average"
            ),
        }
    }
}

/// The metrics file: one JSON object a line.
pub struct MetricsFile(std::fs::File);

impl MetricsFile {
    /// Opens the file for appending; unless the run is `resumed`, the file is emptied first.
    ///
    /// # Errors
    /// A file that cannot be opened or emptied.
    pub fn open(path: &Path, resumed: bool) -> std::io::Result<MetricsFile> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        if !resumed {
            file.set_len(0)?;
        }
        Ok(MetricsFile(file))
    }

    /// Appends a line, in one write.
    ///
    /// # Errors
    /// A line that cannot be written.
    pub fn write(&mut self, line: &Line) -> std::io::Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        self.0.write_all(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
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
            correct: 16,
            ..StepMetrics::default()
        };
        meter.add(&metrics);
        let position = RunPosition { epoch: 1, samples: 64, leases: 2, workers: 3 };
        let shards =
            [(10, 30, 5, 400, 800), (10, 10, 2, 200, 0)].map(|(updates, sum, max, bytes_in, bytes_out)| {
                ShardStatus {
                    updates,
                    staleness_sum: sum,
                    staleness_max: max,
                    bytes_in,
                    bytes_out,
                    learning_rate: 0.5,
                    ..ShardStatus::default()
                }
            });
        let traffic = Traffic::of(shards.iter());
        assert_eq!(meter.line(at(2000), position, traffic, false), None, "too few images for a line");
        meter.add(&metrics);
        assert_eq!(meter.line(at(999), position, traffic, false), None, "too early for a line");
        let line = meter.line(at(2000), position, traffic, false).unwrap();
        let expected = TrainingLine {
            step: 11,
            epoch: 1,
            samples: 64,
            loss: 2.0,
            auxiliary_losses: vec![1.0, 0.5],
            top1: 0.25,
            images_per_second: 64.0,
            learning_rate: 0.5,
            staleness_mean: 2.0,
            staleness_max: 5,
            bytes_in: 600,
            bytes_out: 800,
            leases: 2,
            workers: 3,
            refused: 0,
        };
        assert_eq!(line, expected);
        meter.add(&metrics);
        let line = meter.line(at(2100), position, traffic, true).unwrap();
        assert_eq!((line.bytes_in, line.staleness_mean, line.images_per_second.round()), (0, 0.0, 640.0));
        assert_eq!(meter.line(at(9000), position, traffic, true), None, "nothing was trained since");
    }

    #[test]
    fn the_file_has_one_object_a_line_with_its_kind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let train = Line::Train(TrainingLine { samples: 5, loss: f64::NAN, ..TrainingLine::default() });
        let scores = Scores { top1: 0.5, top5: 1.0, loss: 0.25 };
        let evaluation =
            Evaluation { id: 1, samples: 9, images: 100, average: scores, last_iterate: Scores::default() };
        let evaluation = Line::Evaluation(EvaluationLine::new(&evaluation, 103, None));
        MetricsFile::open(&path, false).unwrap().write(&train).unwrap();
        MetricsFile::open(&path, true).unwrap().write(&evaluation).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            (&lines[0]["kind"], lines[0]["samples"].as_u64(), lines[0]["loss"].is_null()),
            (&"train".into(), Some(5), true)
        );
        assert_eq!((&lines[1]["kind"], lines[1]["top1"].as_f64()), (&"evaluation".into(), Some(0.5)));
        assert_eq!((lines[1]["images"].as_u64(), lines[1]["unreadable"].as_u64()), (Some(100), Some(3)));
        MetricsFile::open(&path, false).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
    }
}
