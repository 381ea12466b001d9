//! The display of a run's progress: a bar on a terminal, a line every few seconds elsewhere, always on
//! standard error.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use process::logs::{self, LogFlags};
use process::tell;
use protocol::{Evaluation, RunState, RunStatus};
use setup::ClassifierScores;

use crate::result::duration;

/// Interval between two lines if there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The display of a run's progress on standard error: a bar on a terminal, lines elsewhere.
pub struct Progress {
    surface: Surface,
    /// Whether the first status of a resumed run is still to come.
    resuming: bool,
    evaluations_told: Option<usize>,
    waiting_told: String,
    last_line: Option<Instant>,
}

enum Surface {
    Bar(ProgressBar),
    Lines,
    /// Log lines in JSON, with the numbers of the run's status (samples, loss, images per second) as fields.
    Json,
}

impl Progress {
    /// Starts the display: JSON lines if the flags ask for them, otherwise a bar if standard error is a
    /// terminal, or else lines of text. Also starts the log of this process, except with a bar, which log
    /// lines would cut through.
    pub fn start(flags: &LogFlags) -> Progress {
        let surface = match (flags.log_json, std::io::stderr().is_terminal()) {
            (true, _) => Surface::Json,
            (false, true) => Surface::Bar(bar()),
            (false, false) => Surface::Lines,
        };
        if !matches!(surface, Surface::Bar(_)) {
            logs::start(flags);
        }
        Progress::on(surface)
    }

    fn on(surface: Surface) -> Progress {
        Progress {
            surface,
            resuming: false,
            evaluations_told: None,
            waiting_told: String::new(),
            last_line: None,
        }
    }

    /// Begins to show the run of servers that have just been started, and forgets what was shown of earlier
    /// processes of the same run. With `resuming` the run goes on from a snapshot: its first status only
    /// tells where it stands, and evaluations in that status are not shown again.
    pub fn begin(&mut self, resuming: bool) {
        let surface = std::mem::replace(&mut self.surface, Surface::Lines);
        *self = Progress { resuming, ..Progress::on(surface) };
    }

    /// Shows a text to the user.
    pub fn tell(&self, text: &str) {
        match &self.surface {
            Surface::Bar(bar) => bar.suspend(|| tell(text)),
            Surface::Lines | Surface::Json => tracing::info!("{text}"),
        }
    }

    /// Shows a warning to the user.
    pub fn warn(&self, text: &str) {
        match &self.surface {
            Surface::Bar(bar) => bar.suspend(|| tell(format_args!("warning: {text}"))),
            Surface::Lines | Surface::Json => tracing::warn!("{text}"),
        }
    }

    /// Shows a line from the log of the child process named `child`, such as "worker-0".
    pub fn pass_on(&self, child: &str, line: &str) {
        match &self.surface {
            Surface::Bar(bar) => bar.suspend(|| tell(format_args!("{child} | {line}"))),
            Surface::Lines => tell(format_args!("{child} | {line}")),
            // Already an object of its own.
            Surface::Json => tell(line),
        }
    }

    /// Shows the run's status as received at `now`.
    pub fn show(&mut self, status: &RunStatus, now: Instant) {
        if std::mem::take(&mut self.resuming) {
            self.tell(&match status.samples {
                0 => "no snapshot yet: starting from the beginning".to_string(),
                samples => format!("resuming at {samples} samples"),
            });
        }
        self.tell_evaluations(status);
        if status.state == RunState::Waiting {
            if self.waiting_told != status.detail {
                self.waiting_told.clone_from(&status.detail);
                self.tell(&format!("waiting: {}", status.detail));
            }
            return;
        }
        let due = self.last_line.is_none_or(|last| now - last >= LINE_EVERY);
        match &self.surface {
            Surface::Bar(bar) => {
                bar.set_length(status.total_samples);
                bar.set_position(status.samples);
                bar.set_message(facts(status));
            }
            Surface::Lines if due => {
                tracing::info!("{}/{} samples, {}", status.samples, status.total_samples, facts(status));
            }
            Surface::Json if due => log_facts(status),
            Surface::Lines | Surface::Json => {}
        }
        if due {
            self.last_line = Some(now);
        }
    }

    /// Ends the display and removes the bar; texts that were shown remain.
    pub fn end(&self) {
        if let Surface::Bar(bar) = &self.surface {
            bar.finish_and_clear();
        }
    }

    /// Shows the evaluations that are new in `status`. Those of the first status belong to an earlier
    /// session.
    fn tell_evaluations(&mut self, status: &RunStatus) {
        let told = *self.evaluations_told.get_or_insert(status.evaluations.len());
        for evaluation in status.evaluations.iter().skip(told) {
            self.tell(&evaluation_text(evaluation));
        }
        self.evaluations_told = Some(status.evaluations.len());
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::no_length();
    // What does not fit the terminal's width is cut off at the end.
    let style = ProgressStyle::with_template("[{bar:16}] {wide_msg}").expect("the template is well formed");
    bar.set_style(style.progress_chars("=> "));
    bar
}

/// Returns how far the run is, and the facts of the newest line of training metrics, as text; what a watcher asks
/// for first stands first, within the width of a terminal.
fn facts(status: &RunStatus) -> String {
    // Rounded down: 100 % is the end.
    let done = status.samples as f64 / status.total_samples.max(1) as f64;
    let mut parts = vec![format!("{:.1} %", (done * 1000.0).floor() / 10.0)];
    if status.state != RunState::Training {
        parts.push(status.state.to_string());
    }
    let Some(line) = &status.latest else {
        parts.push(format!("epoch {}", status.epoch + 1));
        return parts.join(", ");
    };
    parts.push(format!("epoch {} of {}", status.epoch + 1, line.epochs));
    parts.push(format!("loss {:.3}", line.loss));
    parts.extend(line.seconds_left.map(|seconds| format!("{} left", duration(seconds))));
    parts.push(format!("{:.0} images/s", line.images_per_second));
    parts.extend(line.scores.get("top1").map(|share| format!("top-1 {:.1} %", share * 100.0)));
    if let Some(last) = status.evaluations.last() {
        parts.push(format!("validated {:.1} %", ClassifierScores::from(&last.average).top1 * 100.0));
    }
    parts.push(format!("rate {:.3e}", line.learning_rate));
    parts.push(format!("staleness {:.1}", line.staleness_mean));
    parts.join(", ")
}

fn log_facts(status: &RunStatus) {
    let line = status.latest.clone().unwrap_or_default();
    tracing::info!(
        state = %status.state,
        epoch = status.epoch,
        epochs = line.epochs,
        step = line.step,
        samples = status.samples,
        total_samples = status.total_samples,
        done = status.samples as f64 / status.total_samples.max(1) as f64,
        loss = line.loss,
        top1 = line.scores.get("top1"),
        images_per_second = line.images_per_second,
        learning_rate = line.learning_rate,
        staleness_mean = line.staleness_mean,
        staleness_max = line.staleness_max,
        workers = status.workers,
        leases = status.leases,
        seconds_left = line.seconds_left,
        "progress"
    );
}

fn evaluation_text(evaluation: &Evaluation) -> String {
    let average = ClassifierScores::from(&evaluation.average);
    let mut text = format!(
        "evaluation at {} samples: top-1 {:.2} %, top-5 {:.2} %, loss {:.4}",
        evaluation.samples,
        average.top1 * 100.0,
        average.top5 * 100.0,
        average.loss
    );
    if let Some(last_iterate) = &evaluation.last_iterate {
        let ClassifierScores { top1, loss, .. } = last_iterate.into();
        text += &format!(" (last iterate: top-1 {:.2} %, loss {loss:.4})", top1 * 100.0);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Life, Scores, TrainingLine};

    fn status() -> RunStatus {
        RunStatus {
            state: RunState::Training,
            detail: String::new(),
            samples: 12_800,
            total_samples: 160_000,
            epoch: 0,
            workers: 2,
            leases: 2,
            latest: Some(TrainingLine {
                samples: 12_800,
                epochs: 20,
                seconds_left: Some(7630.0),
                loss: 1.2345,
                scores: Scores::new([("top1", 0.551)]),
                images_per_second: 1890.4,
                learning_rate: 0.0182,
                staleness_mean: 1.02,
                ..TrainingLine::default()
            }),
            evaluations: Vec::new(),
            layout: None,
            configuration: settings::recipe("quick").unwrap(),
            data_hash: String::new(),
            unreadable: 0,
            life: Life::default(),
            classes: Vec::new(),
            shards: Vec::new(),
        }
    }

    #[test]
    fn facts_hold_what_a_watcher_asks_for_the_first_within_eighty_columns() {
        let mut status = status();
        let text = facts(&status);
        assert_eq!(
            text,
            "8.0 %, epoch 1 of 20, loss 1.234, 2 h 07 min left, 1890 images/s, top-1 55.1 %, rate 1.820e-2, staleness 1.0"
        );
        let average = ClassifierScores { top1: 0.875, top5: 0.99, loss: 0.4 }.into();
        let last_iterate = Some(ClassifierScores { top1: 0.8, top5: 0.98, loss: 0.5 }.into());
        status.evaluations =
            vec![Evaluation { id: 1, samples: 10_000, images: 1000, unreadable: 0, average, last_iterate }];
        status.state = RunState::Evaluating;
        status.samples = 159_999;
        let text = facts(&status);
        assert!(
            text.starts_with("99.9 %, evaluating, epoch 1 of 20, ") && text.contains(", validated 87.5 %,"),
            "{text}"
        );
        assert_eq!(
            evaluation_text(&status.evaluations[0]),
            "evaluation at 10000 samples: top-1 87.50 %, top-5 99.00 %, loss 0.4000 (last iterate: top-1 80.00 %, loss 0.5000)"
        );
        status.latest = None;
        assert_eq!(facts(&status), "99.9 %, evaluating, epoch 1");
    }

    /// With the longest numbers that a run has in practice: the bar with its brackets takes 19 of the columns.
    #[test]
    fn a_bar_of_eighty_columns_shows_per_cent_epochs_loss_and_time_left() {
        let mut status = RunStatus { samples: 159_000, epoch: 99, ..status() };
        let line = status.latest.as_mut().unwrap();
        (line.epochs, line.loss, line.seconds_left) = (100, 12.345, Some(359_940.0));
        let text = facts(&status);
        let shown: String = text.chars().take(80 - 19).collect();
        assert!(shown.starts_with("99.3 %, epoch 100 of 100, loss 12.345, 99 h 59 min left"), "{shown}");
    }

    #[test]
    fn evaluations_of_an_earlier_session_are_not_news() {
        let progress = |evaluations: Vec<Evaluation>, told| {
            let mut progress = Progress { evaluations_told: told, ..Progress::on(Surface::Lines) };
            progress.tell_evaluations(&RunStatus { evaluations, ..status() });
            progress.evaluations_told
        };
        let evaluation = Evaluation {
            id: 1,
            samples: 1,
            images: 1,
            unreadable: 0,
            average: Scores::default(),
            last_iterate: None,
        };
        assert_eq!(progress(vec![evaluation.clone()], None), Some(1));
        assert_eq!(progress(vec![evaluation.clone(), evaluation], Some(1)), Some(2));
    }
}
