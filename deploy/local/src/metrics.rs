//! The reader of `metrics.jsonl`, the metrics file of a run, to which the coordinator appends.

use std::fmt;
use std::path::Path;

use protocol::Scores;
use serde::{Deserialize, Serialize};
use setup::ClassifierScores;

/// The training and evaluation lines of one run's metrics file, each kind in the order of the number of
/// samples trained on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    pub training: Vec<TrainingPoint>,
    pub evaluations: Vec<EvaluationPoint>,
    /// The account at the end of the run, or of its newest part; `None` before.
    pub account: Option<Account>,
}

/// The fields read from a training line of a run's metrics file, which holds loss and accuracy since the
/// previous training line.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct TrainingPoint {
    pub samples: u64,
    /// Mean loss of the main classifier over the images trained on since the previous training line, in nats;
    /// `None` if it was not finite.
    pub loss: Option<f64>,
    pub top1: Option<f64>,
}

/// The fields read from an evaluation line of a run's metrics file, which holds scores on the validation
/// images.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct EvaluationPoint {
    pub samples: u64,
    pub images: u64,
    /// Number of validation images that could not be read; 0 if an earlier version of the program, which did
    /// not tell it, wrote the line.
    #[serde(default)]
    pub unreadable: u64,
    /// Scores, on the validation images, of the parameters averaged over the run's updates.
    #[serde(flatten)]
    pub average: ClassifierScores,
    /// Scores, on the validation images, of the last iterate, which is the parameters as the newest update
    /// left them; `None` where they were not scored.
    #[serde(default)]
    pub last_iterate: Option<ClassifierScores>,
}

/// The account at the end of a run, as the metrics file has it: samples used beside those that the blocks of
/// the parameters hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Number of samples used.
    pub used: u64,
    /// Smallest surplus of a block: the samples behind its updates less those used.
    pub surplus_least: i64,
    /// Largest surplus of a block.
    pub surplus_most: i64,
    /// The first block that did not hold what the updates of the workers add up to; `None` if the account
    /// adds up.
    pub mismatch: Option<String>,
}

impl Account {
    /// Returns whether every block of the parameters holds the updates of exactly the samples used.
    pub fn is_even(&self) -> bool {
        self.surplus_least == 0 && self.surplus_most == 0 && self.mismatch.is_none()
    }
}

impl fmt::Display for Account {
    /// Writes by how much the parameters differ from the samples used, and why.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = |surplus: i64| self.used as i64 + surplus;
        write!(
            f,
            "each part of the parameters holds the updates of {} to {} samples ({:+} to {:+}): of workers that were lost \
             before they could report, and without what servers lost that went back to a file",
            held(self.surplus_least),
            held(self.surplus_most),
            self.surplus_least,
            self.surplus_most
        )?;
        self.mismatch.as_ref().map_or(Ok(()), |mismatch| write!(f, "; this does not add up: {mismatch}"))
    }
}

/// Largest size of the metrics file in bytes. A line has about 500, and a run writes one every half minute or
/// every hundredth of its length.
const MOST_BYTES: u64 = 1 << 30;

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    Train(TrainingPoint),
    Evaluation(EvaluationPoint),
    Account(Account),
}

impl Metrics {
    /// Reads a metrics file; returns no points if the file does not exist yet.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(path: &Path) -> std::io::Result<Metrics> {
        match files::read_text(path, MOST_BYTES) {
            Ok(text) => Ok(Metrics::parse(&text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Metrics::default()),
            Err(error) => Err(error),
        }
    }

    /// Parses the lines of a metrics file. A resumed run goes back to its snapshot: lines written after that
    /// are replaced by those that follow. A line that was cut short is left out.
    fn parse(text: &str) -> Metrics {
        let mut metrics = Metrics::default();
        for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            match line {
                Line::Train(point) => {
                    metrics.training.retain(|earlier| earlier.samples < point.samples);
                    metrics.evaluations.retain(|earlier| earlier.samples <= point.samples);
                    metrics.training.push(point);
                    // The account that was closed as the run was interrupted is open again.
                    metrics.account = None;
                }
                Line::Evaluation(point) => {
                    metrics.evaluations.retain(|earlier| earlier.samples < point.samples);
                    metrics.evaluations.push(point);
                }
                Line::Account(account) => metrics.account = Some(account),
            }
        }
        metrics
    }
}

impl Metrics {
    /// Returns the best evaluation, of equal ones the first; `None` before there is one.
    pub fn best(&self) -> Option<&EvaluationPoint> {
        let better = |best: &EvaluationPoint, found: &EvaluationPoint| {
            Scores::from(found.average).is_better_than(&best.average.into())
        };
        self.evaluations.iter().reduce(|best, found| if better(best, found) { found } else { best })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_evaluation_is_the_first_of_the_best_ones() {
        let point = |samples, top1, loss| {
            let average = ClassifierScores { top1, top5: 1.0, loss };
            EvaluationPoint { samples, images: 10, unreadable: 0, average, last_iterate: None }
        };
        let evaluations = vec![
            point(1, 0.5, 1.0),
            point(2, 0.6, 2.0),
            point(3, 0.6, 1.5),
            point(4, 0.6, 1.5),
            point(5, 0.4, 1.0),
        ];
        let metrics = Metrics { evaluations, ..Metrics::default() };
        assert_eq!(metrics.best().map(|best| best.samples), Some(3));
        assert_eq!(Metrics::default().best(), None);
    }

    #[test]
    fn lines_beyond_the_snapshot_are_superseded() {
        let evaluation = |samples: u64, top1: f64| {
            format!(
                r#"{{"kind":"evaluation","samples":{samples},"images":10,"top1":{top1},"top5":1.0,"loss":0.5,
                "last_iterate":{{"top1":0.1,"top5":0.2,"loss":0.3}},"staleness_mean":1.0}}"#
            )
            .replace('\n', "")
        };
        let train = |samples: u64| {
            format!(r#"{{"kind":"train","samples":{samples},"loss":2.0,"top1":0.5,"step":1}}"#)
        };
        let text = [
            train(100),
            train(200),
            evaluation(200, 0.4),
            train(300),
            evaluation(300, 0.5),
            train(250),
            evaluation(300, 0.6),
            r#"{"kind":"account","used":300,"surplus_least":0,"surplus_most":16,"mismatch":null}"#
                .to_string(),
            r#"{"kind":"train","samp"#.to_string(),
        ]
        .join("\n");
        let metrics = Metrics::parse(&text);
        assert_eq!(metrics.training.iter().map(|point| point.samples).collect::<Vec<_>>(), [100, 200, 250]);
        assert_eq!(
            metrics.evaluations.iter().map(|point| (point.samples, point.average.top1)).collect::<Vec<_>>(),
            [(200, 0.4), (300, 0.6)]
        );
        assert_eq!(metrics.account.map(|account| (account.used, account.surplus_most)), Some((300, 16)));
        assert_eq!(metrics.evaluations[0].last_iterate.map(|scores| scores.top1), Some(0.1));
    }

    #[test]
    fn a_run_without_metrics_has_no_points() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(Metrics::read(&home.path().join("metrics.jsonl")).unwrap(), Metrics::default());
    }
}
