//! Reads `metrics.jsonl`, which the coordinator appends to.

use std::path::Path;

use serde::Deserialize;
use setup::ClassifierScores;

/// The numbers of one run over its samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    pub training: Vec<TrainingPoint>,
    pub evaluations: Vec<EvaluationPoint>,
}

/// A training line of the metrics file, with the fields that the curve is drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct TrainingPoint {
    pub samples: u64,
    /// Mean over the interval; null where it was not finite.
    pub loss: Option<f64>,
    pub top1: Option<f64>,
}

/// An evaluation line of the metrics file, with the fields that the curve is drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct EvaluationPoint {
    pub samples: u64,
    pub images: u64,
    /// Number of images that could not be read; lines of earlier versions do not say.
    #[serde(default)]
    pub unreadable: u64,
    /// Scores of the averaged parameters.
    #[serde(flatten)]
    pub average: ClassifierScores,
    /// Scores of the last iterate.
    pub last_iterate: ClassifierScores,
}

/// Most bytes of the file: a line has some 500, and a run writes one each half minute or each hundredth of
/// its length.
const MOST_BYTES: u64 = 1 << 30;

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    Train(TrainingPoint),
    Evaluation(EvaluationPoint),
}

impl Metrics {
    /// Reads the file; a run that has not written one yet has no points.
    pub fn read(path: &Path) -> std::io::Result<Metrics> {
        match files::read_text(path, MOST_BYTES) {
            Ok(text) => Ok(Metrics::parse(&text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Metrics::default()),
            Err(error) => Err(error),
        }
    }

    /// Parses the lines. A resumed run goes back to its snapshot: lines written beyond it are superseded by
    /// those that follow. A line cut short by a kill is left out.
    fn parse(text: &str) -> Metrics {
        let mut metrics = Metrics::default();
        for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            match line {
                Line::Train(point) => {
                    metrics.training.retain(|earlier| earlier.samples < point.samples);
                    metrics.evaluations.retain(|earlier| earlier.samples <= point.samples);
                    metrics.training.push(point);
                }
                Line::Evaluation(point) => {
                    metrics.evaluations.retain(|earlier| earlier.samples < point.samples);
                    metrics.evaluations.push(point);
                }
            }
        }
        metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            r#"{"kind":"train","samp"#.to_string(),
        ]
        .join("\n");
        let metrics = Metrics::parse(&text);
        assert_eq!(metrics.training.iter().map(|point| point.samples).collect::<Vec<_>>(), [100, 200, 250]);
        assert_eq!(
            metrics.evaluations.iter().map(|point| (point.samples, point.average.top1)).collect::<Vec<_>>(),
            [(200, 0.4), (300, 0.6)]
        );
        assert_eq!(metrics.evaluations[0].last_iterate.top1, 0.1);
    }

    #[test]
    fn a_run_without_metrics_has_no_points() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(Metrics::read(&home.path().join("metrics.jsonl")).unwrap(), Metrics::default());
    }
}
