//! The reports of a worker: its progress and metrics to the coordinator, which also serve as heartbeats, and
//! lines of training metrics to the log.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use protocol::{
    ClientError, CoordinatorCalls as _, CoordinatorClient, Ending, EvaluationPart, GradientNorms,
    LARGEST_LOSS, LeaseProgress, Member, Report, Scores, StepMetrics,
};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::compute::Computed;
use crate::exchange::Exchange;
use crate::stop::Stop;

/// Longest time between two reports, far below the 30 s after which a lease expires.
const REPORT_EVERY: Duration = Duration::from_secs(2);

/// The reporter of one membership (a worker's time in the run, from a join to its leaving or expiry):
/// collects the worker's progress, training metrics and evaluations and sends them to the coordinator.
pub struct Reporter {
    client: CoordinatorClient,
    member: Member,
    outbox: Mutex<Outbox>,
    /// Held while a report is sent, so that none overtakes another.
    sending: tokio::sync::Mutex<()>,
    wake: Notify,
}

#[derive(Default)]
struct Outbox {
    progress: BTreeMap<u64, LeaseProgress>,
    metrics: StepMetrics,
    evaluation: Option<EvaluationPart>,
    sends_largest: bool,
}

impl Reporter {
    /// Creates a reporter for the worker and join that `member` names. It sends reports to the coordinator
    /// through `client`; nothing is sent yet.
    pub fn new(client: CoordinatorClient, member: Member) -> Reporter {
        let (outbox, sending, wake) = Default::default();
        Reporter { client, member, outbox, sending, wake }
    }

    /// Adds the worker's progress with a lease (a range of images to train on) to the next report; if the
    /// lease is closed, that report is sent at once.
    pub fn progress(&self, progress: LeaseProgress) {
        if progress.closed {
            self.wake.notify_one();
        }
        self.outbox().progress.insert(progress.lease, progress);
    }

    /// Adds the training metrics of a minibatch to the sums that the next report to the coordinator holds.
    pub fn step(&self, metrics: &StepMetrics) {
        add(&mut self.outbox().metrics, metrics);
    }

    /// Sets whether the worker sends only the largest values of its gradients from now on, which reports say.
    pub fn sends_largest(&self, largest: bool) {
        self.outbox().sends_largest = largest;
    }

    /// Adds a finished part of an evaluation to the next report, with `norms`, which measure the noise of gradients
    /// and were computed along with it; call [`send`](Self::send) before the next part is finished.
    pub fn evaluation(&self, part: EvaluationPart, norms: &GradientNorms) {
        let mut outbox = self.outbox();
        outbox.metrics.gradients.add(norms);
        outbox.evaluation = Some(part);
    }

    /// Sends a report, even if nothing was added to it; returns how the run ended, or `None` while it goes
    /// on. With a reason for `leaving` the report also ends the membership.
    ///
    /// Progress is kept until it is acknowledged. If the future is dropped half-way, the next report sends it
    /// again, which is harmless.
    ///
    /// # Errors
    /// If the coordinator refuses the report or cannot be reached.
    pub async fn send(&self, leaving: Option<String>) -> Result<Option<Ending>, ClientError> {
        let _alone = self.sending.lock().await;
        let (progress, metrics, evaluation, sends_largest) = {
            let mut outbox = self.outbox();
            let progress: Vec<_> = outbox.progress.values().cloned().collect();
            let metrics = std::mem::take(&mut outbox.metrics);
            (progress, metrics, outbox.evaluation.clone(), outbox.sends_largest)
        };
        let closed: Vec<u64> =
            progress.iter().filter(|progress| progress.closed).map(|progress| progress.lease).collect();
        let reported = evaluation.as_ref().map(|part| (part.id, part.start));
        let member = self.member;
        let report = Report { member, progress, metrics, evaluation, leaving, sends_largest };
        let ending = self.client.report(report).await?;
        let mut outbox = self.outbox();
        closed.iter().for_each(|lease| drop(outbox.progress.remove(lease)));
        outbox.evaluation.take_if(|part| Some((part.id, part.start)) == reported);
        Ok(ending)
    }

    /// Sends a report every [`REPORT_EVERY`] and whenever a lease is closed, until a reply or an error ends
    /// the membership; returns that reason.
    pub async fn beat(&self) -> Stop {
        loop {
            tokio::select! {
                biased;
                () = self.wake.notified() => {}
                () = tokio::time::sleep(REPORT_EVERY) => {}
            }
            match self.send(None).await {
                Ok(None) => {}
                Ok(Some(ending)) => return Stop::Ended(ending),
                Err(error) => return error.into(),
            }
        }
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().expect("nothing panics while it holds the outbox")
    }
}

/// Returns the training metrics of one minibatch as sums over its images. `computed` has its losses, and
/// `exchange` is the outcome of pushing its gradient to the shards. `whole` is the time from the start of the
/// wait for its samples to the end of that exchange; what of it was not spent computing counts as waiting.
///
/// A total loss that is not finite or above [`LARGEST_LOSS`] sets `diverged`. A loss that is not finite
/// counts as 0 in the sums, so that they stay finite.
pub fn step_metrics(computed: &Computed, exchange: &Exchange, whole: Duration) -> StepMetrics {
    let Computed { losses, took } = computed;
    let images = losses.images as f64;
    let sum = |mean: f32| if mean.is_finite() { f64::from(mean) * images } else { 0.0 };
    StepMetrics {
        steps: 1,
        images: losses.images as u64,
        main_loss: sum(losses.main),
        auxiliary_losses: losses.auxiliary.iter().flatten().map(|&mean| sum(mean)).collect(),
        scores: Scores::new([("top1", losses.correct as f64)]),
        gradients: GradientNorms::default(),
        compute_seconds: took.as_secs_f64(),
        wait_seconds: whole.saturating_sub(*took).as_secs_f64(),
        // Minibatches are what the coordinator counts, however many blocks of this one were refused.
        refused: u64::from(exchange.refused > 0),
        diverged: !losses.total.is_finite() || losses.total > LARGEST_LOSS,
        updates: exchange.applied,
        staleness_sum: exchange.staleness_sum,
        bytes_out: exchange.bytes_out,
        bytes_in: exchange.bytes_in,
        gradient_wire: None,
        parameter_wire: None,
        link_up: None,
        link_down: None,
    }
}

fn add(sum: &mut StepMetrics, more: &StepMetrics) {
    sum.steps += more.steps;
    sum.images += more.images;
    sum.main_loss += more.main_loss;
    sum.auxiliary_losses.resize(sum.auxiliary_losses.len().max(more.auxiliary_losses.len()), 0.0);
    sum.auxiliary_losses.iter_mut().zip(&more.auxiliary_losses).for_each(|(sum, more)| *sum += more);
    sum.scores.add_all(&more.scores);
    sum.compute_seconds += more.compute_seconds;
    sum.wait_seconds += more.wait_seconds;
    sum.refused += more.refused;
    sum.diverged |= more.diverged;
    sum.updates += more.updates;
    sum.staleness_sum += more.staleness_sum;
    sum.bytes_out += more.bytes_out;
    sum.bytes_in += more.bytes_in;
    sum.gradient_wire = more.gradient_wire.or(sum.gradient_wire);
    sum.parameter_wire = more.parameter_wire.or(sum.parameter_wire);
    sum.link_up = more.link_up.or(sum.link_up);
    sum.link_down = more.link_down.or(sum.link_down);
}

/// Sums of a worker's training metrics over the minibatches since its last line of the log, from which the
/// next line is written.
pub struct Line {
    since: Instant,
    metrics: StepMetrics,
    exchange: Exchange,
}

impl Line {
    /// Creates empty sums for a new line and starts the clock that its rate, images per second, is measured
    /// by.
    pub fn start() -> Line {
        Line { since: Instant::now(), metrics: StepMetrics::default(), exchange: Exchange::default() }
    }

    /// Adds to the sums the training metrics of a minibatch, and the outcome of exchanging its gradient with
    /// the shards for updated parameters.
    pub fn add(&mut self, metrics: &StepMetrics, exchange: &Exchange) {
        add(&mut self.metrics, metrics);
        let sum = &mut self.exchange;
        sum.applied += exchange.applied;
        sum.staleness_sum += exchange.staleness_sum;
        sum.staleness_max = sum.staleness_max.max(exchange.staleness_max);
        sum.bytes_in += exchange.bytes_in;
        sum.bytes_out += exchange.bytes_out;
    }

    /// Returns whether the line holds at least one minibatch and was started at least `every` ago.
    pub fn due(&self, every: Duration) -> bool {
        self.metrics.steps > 0 && self.since.elapsed() >= every
    }

    /// Writes the line to the log and starts the next one.
    ///
    /// `step` is the number of minibatches and `samples` that of samples that the worker trained on since it
    /// joined, `epoch` the epoch of the newest minibatch, `learning_rate` that of the server's newest update,
    /// and `leases` the number of leases (ranges of images to train on) that the worker holds.
    pub fn write(&mut self, step: u64, epoch: u64, samples: u64, learning_rate: f64, leases: usize) {
        let Line { since, metrics, exchange } = std::mem::replace(self, Line::start());
        let mean = |sum: f64| sum / metrics.images.max(1) as f64;
        let auxiliary: Vec<String> =
            metrics.auxiliary_losses.iter().map(|&sum| format!("{:.4}", mean(sum))).collect();
        let busy = metrics.compute_seconds + metrics.wait_seconds;
        tracing::info!(
            step,
            epoch,
            samples,
            loss = rounded(mean(metrics.main_loss), 4),
            auxiliary_losses = auxiliary.join(" "),
            top1 = metrics.scores.get("top1").map(|sum| rounded(mean(sum), 4)),
            images_per_second = rounded(metrics.images as f64 / since.elapsed().as_secs_f64(), 1),
            learning_rate = rounded(learning_rate, 7),
            staleness_mean = rounded(exchange.staleness_sum as f64 / exchange.applied.max(1) as f64, 2),
            staleness_max = exchange.staleness_max,
            bytes_in = exchange.bytes_in,
            bytes_out = exchange.bytes_out,
            leases,
            refused = metrics.refused,
            waiting = rounded(metrics.wait_seconds / busy.max(f64::MIN_POSITIVE), 3),
            "training"
        );
    }
}

/// Rounds a value to `places` decimal places, for a log that keeps numbers rather than text.
fn rounded(value: f64, places: i32) -> f64 {
    let scale = 10f64.powi(places);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use network::Losses;

    #[test]
    fn a_loss_that_is_not_finite_is_told_and_keeps_out_of_the_sums() {
        let losses =
            Losses { total: f32::NAN, main: f32::NAN, auxiliary: [Some(2.0), None], correct: 1, images: 4 };
        let exchange = Exchange { refused: 3, ..Exchange::default() };
        let (took, whole) = (Duration::from_millis(250), Duration::from_millis(750));
        let better = Losses { total: 1.0, main: 0.5, ..losses };
        let mut sum = StepMetrics::default();
        for losses in [losses, better] {
            add(&mut sum, &step_metrics(&Computed { losses, took }, &exchange, whole));
        }
        let expected = StepMetrics {
            steps: 2,
            images: 8,
            main_loss: 2.0,
            auxiliary_losses: vec![16.0],
            scores: Scores::new([("top1", 2.0)]),
            gradients: GradientNorms::default(),
            compute_seconds: 0.5,
            wait_seconds: 1.0,
            refused: 2,
            diverged: true,
            ..StepMetrics::default()
        };
        assert_eq!(sum, expected);
    }
}
