//! Reports of members: their checks, and their record in the run.

use protocol::{Ending, EvaluationPart, LARGEST_LOSS, LeaseProgress, Member, Refusal, Report, StepMetrics};
use tokio::time::Instant;

use super::{Divergence, Run};
use crate::{
    coordinator::ending,
    telemetry::{EvaluationLine, Line, PatienceLine, Traffic},
};

/// Number of minibatches of a worker in a row whose pushes must be refused for its training to count as
/// diverged.
const MOST_REFUSED: u64 = 20;
/// Largest fraction of the training images that may be unreadable.
const MOST_UNREADABLE: f64 = 0.05;

impl Run {
    /// Checks a member's report, of which nothing is recorded if any of it is impossible. A part of an evaluation
    /// whose sums cannot be used is given to another worker.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for progress beyond a lease, metrics of more than the leases have, or sums of an
    /// evaluation that are not of the whole part or out of range.
    pub(in crate::coordinator) fn check(&mut self, report: &Report) -> Result<(), Refusal> {
        let &Report { member, ref progress, ref metrics, ref evaluation, .. } = report;
        let invalid = |text: String| Refusal::Invalid(format!("worker {}: {text}", member.worker));
        let mut progress = progress.iter().map(|progress| self.leases.check(member.incarnation, progress));
        progress.try_for_each(|checked| checked.map_err(|error| invalid(error.to_string())))?;
        self.members.check_metrics(member, metrics)?;
        let Some(evaluation) = evaluation else { return Ok(()) };
        let checked = self.evaluations.check(member.incarnation, evaluation);
        checked.map_err(|text| {
            let text = format!("evaluation {}: {text}", evaluation.id);
            tracing::warn!("worker {}: {text}; another worker is to do it", member.worker);
            invalid(text)
        })
    }

    /// Records how far a member got with its leases, and returns the unreadable images that it names first.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for progress beyond a lease.
    pub(in crate::coordinator) fn record_progress(
        &mut self,
        member: Member,
        progress: &[LeaseProgress],
    ) -> Result<Vec<String>, Refusal> {
        let mut skipped = Vec::new();
        for progress in progress {
            let news = self.leases.report(member.incarnation, progress);
            let news =
                news.map_err(|error| Refusal::Invalid(format!("worker {}: {error}", member.worker)))?;
            if news.used > 0 || !news.skipped.is_empty() {
                self.members.record_progress(member, Instant::now());
            }
            self.account.credit(member.incarnation, news.used);
            skipped.extend(news.skipped);
        }
        Ok(skipped)
    }

    /// Records the metrics of a member's minibatches, and logs the epochs that they complete.
    pub(in crate::coordinator) fn record_metrics(&mut self, member: Member, metrics: &StepMetrics) {
        self.meter.add(metrics, Instant::now());
        if metrics.steps > metrics.refused {
            self.momentum.record(member.incarnation);
        }
        for ledger in self.leases.take_complete() {
            tracing::info!(
                epoch = ledger.epoch,
                images = ledger.images,
                distinct = ledger.distinct,
                repeated = ledger.repeated,
                skipped = ledger.skipped,
                lost = ledger.lost,
                "epoch is complete"
            );
        }
    }

    /// Looks whether a member's minibatches were as usual, or its training has diverged at learning rate
    /// `rate`; `refused_in_row` is the number of its minibatches in a row whose pushes were refused.
    pub(in crate::coordinator) fn record_divergence(
        &mut self,
        member: Member,
        metrics: &StepMetrics,
        refused_in_row: u64,
        rate: f64,
    ) -> Option<Divergence> {
        let reason = if metrics.diverged {
            format!("a loss is not finite, or above {LARGEST_LOSS:e}")
        } else if refused_in_row >= MOST_REFUSED {
            format!(
                "the pushes of {refused_in_row} minibatches in a row were refused as not finite or far too large"
            )
        } else {
            if metrics.refused < metrics.steps {
                self.votes.clear();
            }
            return None;
        };
        let present = self.members.members().map(|member| member.worker);
        if !self.votes.record(member.worker, present, self.members.next_worker()) {
            return Some(Divergence::OfWorker(reason));
        }
        Some(Divergence::OfRun(Ending::Diverged(format!(
            "training diverged after {} samples at learning rate {rate}: {reason}; try --learning-rate {} --fresh",
            self.leases.used(),
            rate / 2.0
        ))))
    }

    /// Records unreadable images; returns the end of the run if there are too many.
    pub(in crate::coordinator) fn record_unreadable(&mut self, skipped: Vec<String>) -> Option<Ending> {
        let images = self.data.images;
        for image in skipped {
            if self.unreadable.insert(image.clone()) {
                tracing::warn!("skipped an unreadable image: {image}");
            }
        }
        let count = self.unreadable.len();
        let example = self.unreadable.first().filter(|_| count as f64 > MOST_UNREADABLE * images as f64)?;
        Some(Ending::Failed(format!(
            "{count} of {images} training images are unreadable, expected at most 5 %; one of them: {example}; \
             repair or remove them, then start again with --fresh"
        )))
    }

    /// Records the sums of a part of an evaluation, unless they are repeated. If it was the last part, adds the
    /// line of the result to `lines`; returns the end of the run if it was the last evaluation, or if none of the
    /// images can be read.
    pub(in crate::coordinator) fn record_evaluation(
        &mut self,
        member: Member,
        sums: EvaluationPart,
        traffic: Traffic,
        lines: &mut Vec<Line>,
    ) -> Option<Ending> {
        let ended = self.evaluations.last().is_some();
        let evaluation = match self.evaluations.record(member.incarnation, sums) {
            Ok(evaluation) => evaluation?,
            Err(none) => return Some(Ending::Failed(none)),
        };
        self.version += 1;
        if ended {
            // Its line would stand behind that of the end and pass for the run's result.
            return None;
        }
        let last = self.evaluations.last().is_some();
        if last {
            lines.extend(self.training_line(traffic, true));
        }
        let line = EvaluationLine::new(&evaluation, self.data.validation, self.latest.as_ref());
        lines.push(Line::Evaluation(line));
        if !last {
            lines.extend(self.end_if_lost_patience().map(Line::Patience));
        }
        last.then_some(Ending::Completed)
    }

    /// Has the evaluations in progress begun anew, since a shard has lost their averages.
    pub(in crate::coordinator) fn void_evaluations(&mut self) {
        if self.evaluations.void() {
            tracing::warn!(
                "the evaluation in progress begins again: shards have lost the average that it scores"
            );
            self.version += 1;
        }
    }

    /// Ends the run if its evaluations have not gained for so long that there is no patience left: what workers
    /// hold is done, then comes the last evaluation. Returns the line of metrics that says so, once.
    pub(super) fn end_if_lost_patience(&mut self) -> Option<PatienceLine> {
        let (best, newest) = (self.evaluations.best()?, self.evaluations.done().last()?);
        let line = ending::lost_patience(self.patience, self.data.images, best, newest)?;
        self.patience = None;
        self.leases.end_here();
        self.evaluations.end_at(self.leases.total());
        self.meter.end_at(self.leases.total());
        Some(line)
    }

    /// Records that the model of the evaluation with the number `id` is written, or given up.
    pub(in crate::coordinator) fn model_written(&mut self, id: u64) {
        self.evaluations.written(id);
        self.version += 1;
    }
}
