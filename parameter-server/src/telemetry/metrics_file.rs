//! The metrics file, which records the numbers of each line as JSON.

use std::{io::Write, path::Path};

use process::time_of_day;
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{Line, NUMBERS};

/// Metrics file of a run, which holds one JSON object per line: training metrics, the scores of an
/// evaluation, the end of the patience with the run, or the balance of the account at the end.
pub struct MetricsFile(std::fs::File);

impl MetricsFile {
    /// Opens the metrics file at `path` for appending and creates it if it is missing; unless the run is
    /// `resumed`, the file is emptied first.
    ///
    /// # Errors
    /// If the file cannot be opened or emptied.
    pub fn open(path: &Path, resumed: bool) -> std::io::Result<MetricsFile> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        if !resumed {
            file.set_len(0)?;
        }
        Ok(MetricsFile(file))
    }

    /// Appends a line of metrics to the file as one JSON object, in a single write.
    ///
    /// # Errors
    /// If the line cannot be written.
    pub fn write(&mut self, line: &Line) -> std::io::Result<()> {
        let mut text = serde_json::to_string(&Record { line, time: time_of_day() })?;
        text.push('\n');
        self.0.write_all(text.as_bytes())
    }
}

/// A line as one JSON object, whose key `kind` tells what it is about, and `time` when it was written, in seconds
/// since 1970.
struct Record<'a> {
    line: &'a Line,
    time: f64,
}

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = self.time;
        match self.line {
            Line::Train(line) => {
                let mut map = serializer.serialize_map(None)?;
                map.serialize_entry("kind", "train")?;
                map.serialize_entry("time", &time)?;
                for number in &NUMBERS {
                    map.serialize_entry(number.name, &(number.of)(line))?;
                }
                for (name, score) in line.scores.iter() {
                    map.serialize_entry(name, &score)?;
                }
                map.end()
            }
            Line::Evaluation(line) => Tagged { kind: "evaluation", time, line }.serialize(serializer),
            Line::Patience(line) => Tagged { kind: "patience", time, line }.serialize(serializer),
            Line::Account(line) => Tagged { kind: "account", time, line }.serialize(serializer),
        }
    }
}

/// A line whose numbers are fields, with its kind.
#[derive(Serialize)]
struct Tagged<T> {
    kind: &'static str,
    time: f64,
    #[serde(flatten)]
    line: T,
}

#[cfg(test)]
mod tests {
    use protocol::{Evaluation, Scores, TrainingLine};

    use super::*;
    use crate::telemetry::{Balance, EvaluationLine};

    #[test]
    fn the_file_has_one_object_a_line_with_its_kind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let train = Line::Train(TrainingLine { samples: 5, loss: f64::NAN, ..TrainingLine::default() });
        let scores = Scores::new([("top1", 0.5), ("top5", 1.0), ("loss", 0.25)]);
        let evaluation =
            Evaluation { id: 1, samples: 9, images: 100, unreadable: 0, average: scores, last_iterate: None };
        let evaluation = Line::Evaluation(EvaluationLine::new(&evaluation, 103, None));
        MetricsFile::open(&path, false).unwrap().write(&train).unwrap();
        MetricsFile::open(&path, true).unwrap().write(&evaluation).unwrap();
        let balance = Balance { used: 9, least: -3, most: 2, mismatch: None };
        MetricsFile::open(&path, true).unwrap().write(&Line::Account(balance)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            (&lines[0]["kind"], lines[0]["samples"].as_u64(), lines[0]["loss"].is_null()),
            (&"train".into(), Some(5), true)
        );
        assert_eq!((&lines[1]["kind"], lines[1]["top1"].as_f64()), (&"evaluation".into(), Some(0.5)));
        assert_eq!((lines[1]["images"].as_u64(), lines[1]["unreadable"].as_u64()), (Some(100), Some(3)));
        let account = r#"{"kind":"account","used":9,"surplus_least":-3,"surplus_most":2,"mismatch":null}"#;
        let mut expected: serde_json::Value = serde_json::from_str(account).unwrap();
        expected["time"] = lines[2]["time"].clone();
        assert_eq!(lines[2], expected);
        let times: Vec<f64> = lines.iter().map(|line| line["time"].as_f64().unwrap()).collect();
        // Not before this was written.
        assert!(times.is_sorted() && times[0] > 1.7e9, "{times:?}");
        MetricsFile::open(&path, false).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
    }
}
