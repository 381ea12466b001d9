//! The result of a finished run, as text and as one JSON object for scripts.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use setup::ClassifierScores;

use crate::metrics::Account;

/// The result of a finished run. The scores are those of the averaged parameters on the validation images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Top-1 accuracy: fraction (0 to 1) of the validation images whose most probable class is the right one.
    pub top1: f64,
    /// Top-5 accuracy: fraction (0 to 1) of the validation images whose five most probable classes include
    /// the right one.
    pub top5: f64,
    /// Mean cross-entropy per validation image, in nats, with the averaged parameters.
    pub loss: f64,
    /// Number of validation images that were scored.
    pub validation_images: u64,
    /// Number of training images that could not be read and were skipped.
    #[serde(default)]
    pub skipped: u64,
    /// Number of validation images that could not be read and were left out of the scores.
    #[serde(default)]
    pub validation_skipped: u64,
    /// Scores, on the same validation images, of the last iterate, which is the parameters as the newest
    /// update left them.
    pub last_iterate: ClassifierScores,
    /// Number of samples that the run trained on; an image counts each time that it was used.
    pub samples: u64,
    /// Account of the samples; `None` if it could not be closed, as when a worker vanished at the end.
    #[serde(default)]
    pub account: Option<Account>,
    /// Duration of the run in seconds, over all calls of the program.
    pub seconds: f64,
    /// Patience of the run in epochs, if it ended before its length because its evaluations did not gain for so
    /// long.
    #[serde(default)]
    pub patience_epochs: Option<f64>,
    /// Path of the model file, which holds the averaged parameters.
    pub model: PathBuf,
    /// The best model of the run; `None` in results of earlier releases.
    #[serde(default)]
    pub best: Option<BestModel>,
    /// Path of the plot of the run's losses and accuracies, an SVG file.
    pub curve: PathBuf,
    /// Path of the metrics file: a line of JSON for each interval of training and for each evaluation.
    pub metrics: PathBuf,
}

/// The model of a run's best evaluation: by top-1 accuracy and, where that is equal, by loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BestModel {
    /// Path of the model file, which holds the averaged parameters as they were at the evaluation.
    pub model: PathBuf,
    /// Number of samples that the run had trained on by then.
    pub samples: u64,
    /// Scores of the averaged parameters on the validation images.
    #[serde(flatten)]
    pub scores: ClassifierScores,
}

impl RunResult {
    /// Returns the result as one line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a result is plain data")
    }
}

impl fmt::Display for RunResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| share * 100.0;
        writeln!(f, "validation accuracy, averaged parameters, {} images:", self.validation_images)?;
        writeln!(
            f,
            "  top-1 {:.2} %   top-5 {:.2} %   loss {:.4}   (last iterate: top-1 {:.2} %, loss {:.4})",
            percent(self.top1),
            percent(self.top5),
            self.loss,
            percent(self.last_iterate.top1),
            self.last_iterate.loss
        )?;
        write!(f, "  {} training samples in {}", self.samples, duration(self.seconds))?;
        match (self.skipped, self.validation_skipped) {
            (0, 0) => writeln!(f)?,
            (training, validation) => writeln!(
                f,
                "; {training} training and {validation} validation images were skipped, since they cannot be read"
            )?,
        }
        if let Some(account) = self.account.as_ref().filter(|account| !account.is_even()) {
            writeln!(f, "account  {account}")?;
        }
        if let Some(epochs) = self.patience_epochs {
            writeln!(f, "ended early, as no evaluation had gained for {epochs} epochs (--patience-epochs)")?;
        }
        writeln!(f, "model    {}", self.model.display())?;
        if let Some(BestModel { model, samples, scores }) = &self.best {
            writeln!(
                f,
                "best     {} (after {samples} samples: top-1 {:.2} %, loss {:.4})",
                model.display(),
                percent(scores.top1),
                scores.loss
            )?;
        }
        writeln!(f, "curve    {}", self.curve.display())?;
        write!(f, "metrics  {}", self.metrics.display())
    }
}

/// Returns a number of seconds as text such as "48 s", "3 min 05 s" or "2 h 07 min".
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let texts = [0.4, 59.6, 185.0, 7630.0].map(duration);
        assert_eq!(texts, ["0 s", "1 min 00 s", "3 min 05 s", "2 h 07 min"]);
    }

    #[test]
    fn both_forms_hold_the_numbers() {
        let result = RunResult {
            top1: 0.925,
            top5: 0.99,
            loss: 0.25,
            validation_images: 600,
            skipped: 2,
            validation_skipped: 3,
            last_iterate: ClassifierScores { top1: 0.9, top5: 0.98, loss: 0.3 },
            samples: 900,
            account: Some(Account { used: 900, surplus_least: 0, surplus_most: 32, mismatch: None }),
            seconds: 75.0,
            patience_epochs: Some(2.5),
            model: "run/model.safetensors".into(),
            best: Some(BestModel {
                model: "run/best.safetensors".into(),
                samples: 800,
                scores: ClassifierScores { top1: 0.935, top5: 0.98, loss: 0.2 },
            }),
            curve: "run/curve.svg".into(),
            metrics: "run/metrics.jsonl".into(),
        };
        let json: serde_json::Value = serde_json::from_str(&result.to_json()).unwrap();
        assert_eq!((json["top1"].as_f64(), json["samples"].as_u64()), (Some(0.925), Some(900)));
        assert_eq!((json["skipped"].as_u64(), json["validation_skipped"].as_u64()), (Some(2), Some(3)));
        assert_eq!(
            (json["best"]["top1"].as_f64(), json["best"]["samples"].as_u64()),
            (Some(0.935), Some(800))
        );
        let text = result.to_string();
        for part in [
            "top-1 92.50 %",
            "600 images",
            "900 training samples in 1 min 15 s; 2 training and 3 validation images were skipped",
            "account  each part of the parameters holds the updates of 900 to 932 samples",
            "model.safetensors",
            "best     run/best.safetensors (after 800 samples: top-1 93.50 %, loss 0.2000)",
            "ended early, as no evaluation had gained for 2.5 epochs",
        ] {
            assert!(text.contains(part), "{part} is missing from:\n{text}");
        }
    }
}
