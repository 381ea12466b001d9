//! The event file, from which TensorBoard draws the numbers of each line, over the images used so far.

use std::{fs::File, io::Write, path::Path};

use formats::tensorboard::{self, Event};
use process::time_of_day;
use protocol::Scores;
use settings::RunConfiguration;

use super::{Line, NUMBERS, Value};

/// Event file of one life of a run's server: the settings as text, then the numbers of training, the scores of
/// evaluations, and what is said at the end.
pub struct EventFile(File);

impl EventFile {
    /// Creates an event file in `folder`, which is made if it is missing, for a run with this configuration, which goes
    /// on from `samples` images; `None` for one that begins. What earlier files in the folder have beyond these counts no more.
    ///
    /// # Errors
    /// If the file cannot be created or written.
    pub fn create(
        folder: &Path,
        samples: Option<u64>,
        configuration: &RunConfiguration,
    ) -> std::io::Result<EventFile> {
        std::fs::create_dir_all(folder)?;
        let time = time_of_day();
        let mut file = EventFile(File::create(folder.join(tensorboard::file_name(time)))?);
        let settings = serde_json::to_string_pretty(configuration)?;
        // What earlier files have of the state that is gone on from, as its evaluation, is valid.
        let start = samples.map_or(0, |samples| samples + 1);
        let mut event = Event::new(time, samples.unwrap_or(0));
        event.text("settings", &format!("```json\n{settings}\n```"));
        let records = [tensorboard::version(time), tensorboard::start(time, start), event.into_record()];
        file.0.write_all(&records.concat())?;
        Ok(file)
    }

    /// Appends the numbers of a line to the file, in a single write.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write(&mut self, line: &Line) -> std::io::Result<()> {
        self.0.write_all(&event(line).into_record())
    }
}

/// Returns the values of a line.
fn event(line: &Line) -> Event {
    let at = |samples| Event::new(time_of_day(), samples);
    match line {
        Line::Train(line) => {
            let mut event = at(line.samples);
            for number in &NUMBERS {
                let tag = format!("training/{}", number.name);
                let help = format!("{}: {}", number.unit, number.help);
                match (number.of)(line) {
                    Value::Count(count) => drop(event.scalar(&tag, &help, count as f64)),
                    Value::Real(value) | Value::Known(Some(value)) => drop(event.scalar(&tag, &help, value)),
                    Value::Known(None) => {}
                    Value::Reals(values) => {
                        for (head, value) in (1..).zip(values) {
                            event.scalar(&format!("{tag}_{head}"), &help, *value);
                        }
                    }
                }
            }
            scores(&mut event, "training", "score on training images", &line.scores);
            event
        }
        Line::Evaluation(line) => {
            let mut event = at(line.samples);
            scores(&mut event, "validation", "score of the averaged parameters", &line.average);
            if let Some(last) = &line.last_iterate {
                scores(
                    &mut event,
                    "validation_last_iterate",
                    "score of the parameters as the newest update left them",
                    last,
                );
            }
            event
        }
        Line::Patience(line) => {
            let mut event = at(line.samples);
            event.text("end", &format!("no evaluation has gained for {} epochs", line.epochs));
            event
        }
        Line::Account(balance) => {
            let mut event = at(balance.used);
            event.text("account", &balance.to_string());
            event
        }
    }
}

fn scores(event: &mut Event, group: &str, help: &str, scores: &Scores) {
    for (name, score) in scores.iter() {
        event.scalar(&format!("{group}/{name}"), help, score);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Balance, EvaluationLine, PatienceLine};
    use protocol::{Evaluation, TrainingLine};

    /// Returns the texts of at least four characters in a file of bytes.
    fn texts(bytes: &[u8]) -> Vec<String> {
        bytes
            .split(|byte| !(b' '..=b'~').contains(byte))
            .filter(|text| text.len() >= 4)
            .map(|text| String::from_utf8(text.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn a_file_has_the_settings_and_what_each_line_says() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("events");
        let configuration = settings::recipe("quick").unwrap();
        let mut file = EventFile::create(&folder, Some(640), &configuration).unwrap();
        let scores = |names: &[&'static str]| Scores::new(names.iter().map(|name| (*name, 0.5)));
        let train = TrainingLine {
            samples: 704,
            auxiliary_losses: vec![0.5, 0.25],
            scores: scores(&["top1"]),
            ..TrainingLine::default()
        };
        let evaluation = Evaluation {
            id: 1,
            samples: 704,
            images: 10,
            unreadable: 0,
            average: scores(&["top1", "top5", "loss"]),
            last_iterate: Some(scores(&["top1"])),
        };
        for line in [
            Line::Train(train),
            Line::Evaluation(EvaluationLine::new(&evaluation, 10, None)),
            Line::Patience(PatienceLine { samples: 704, best_samples: 640, epochs: 5.0 }),
            Line::Account(Balance { used: 704, least: 0, most: 0, mismatch: None }),
        ] {
            file.write(&line).unwrap();
        }
        let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap()).collect();
        let [file] = files.as_slice() else { panic!("{} files", files.len()) };
        assert!(file.file_name().to_str().unwrap().starts_with("events.out.tfevents."));
        let found = texts(&std::fs::read(file.path()).unwrap());
        for expected in [
            "brain.Event:2",
            "  \"recipe\": \"quick\",",
            "training/loss",
            "training/auxiliary_losses_2",
            "training/top1",
            "validation/top5",
            "validation_last_iterate/top1",
            "no evaluation has gained for 5 epochs",
            "account: 704 samples used, and each block holds as many",
        ] {
            assert!(found.iter().any(|text| text.contains(expected)), "{expected} is not in {found:?}");
        }
        assert!(!found.iter().any(|text| text.contains("noise_scale")), "what is not known is left out");
    }
}
