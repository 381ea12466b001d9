//! Reports: a worker's progress and metrics, sent to the coordinator every few seconds.

use super::{
    ending::Ending,
    evaluation::EvaluationPart,
    lease::{LeaseProgress, readable},
    member::Member,
    refusal::Answer,
    scores::Scores,
};
use crate::{
    Wire, codec,
    fields::{FieldError, at_most, finite, listed, required},
    proto,
};

/// Largest count in a report, so small that no sum of such counts overflows.
const MOST_COUNTED: u64 = 1 << 40;

/// Most leases in a report. A worker holds two, and those stay that are closed and not acknowledged.
const MOST_PROGRESS: usize = 64;

/// Most auxiliary heads of a network.
pub(super) const MOST_HEADS: usize = 2;

/// A worker's report of progress and metrics, sent every few steps and at least every few seconds: the report
/// is also the heartbeat that keeps the worker's membership.
#[derive(Clone, Debug)]
pub struct Report {
    /// Membership of the worker that reports.
    pub member: Member,
    /// Progress with the leases (ranges of samples to train on) that the worker holds or has just closed.
    pub progress: Vec<LeaseProgress>,
    /// Metrics of the worker's training since its last report.
    pub metrics: StepMetrics,
    /// Sums of a part of an evaluation that the worker has finished, if any.
    pub evaluation: Option<EvaluationPart>,
    /// Reason why the worker leaves the run with this report, so that its leases (ranges of samples to train on) go to
    /// others; `None` if it stays.
    pub leaving: Option<String>,
    /// Whether the worker sends only the largest values of its gradients, and so is to keep its own momentum.
    pub sends_largest: bool,
}

/// Metrics of a worker, summed over the minibatches since its last report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepMetrics {
    /// Number of minibatches that the worker trained on.
    pub steps: u64,
    /// Number of training images in the minibatches.
    pub images: u64,
    /// Sum over the images of the main head's loss, in nats; a loss that is not finite counts as 0.
    pub main_loss: f64,
    /// Sum over the images of the loss of each auxiliary head, in nats; empty if none is trained.
    pub auxiliary_losses: Vec<f64>,
    /// Sums over the images of the main head's scores: of a classifier `top1`, the number of images whose
    /// most probable class is right.
    pub scores: Scores,
    /// Time that the worker spent computing gradients, in seconds.
    pub compute_seconds: f64,
    /// Measurements of gradient noise, made on other minibatches than those of `steps`: in evaluations, whose
    /// gradients update nothing.
    pub gradients: GradientNorms,
    /// Time that the worker spent waiting for parameters and acknowledgements from the shards and for images,
    /// in seconds.
    pub wait_seconds: f64,
    /// Number of minibatches for which a shard refused part of the gradient as unusable (not finite, or far
    /// too large).
    pub refused: u64,
    /// Whether the loss of a minibatch was not finite, or above [`LARGEST_LOSS`](crate::LARGEST_LOSS).
    pub diverged: bool,
    /// Number of blocks of gradients that shards applied.
    pub updates: u64,
    /// Sum of the staleness of those updates: for each, the number of other updates that its block received
    /// after the fetch that its gradient was computed from.
    pub staleness_sum: u64,
    /// Number of bytes of encoded gradients that the worker sent.
    pub bytes_out: u64,
    /// Number of bytes of encoded parameters that the worker received in the replies.
    pub bytes_in: u64,
    /// Format in which the newest gradients travelled; `None` if there were none.
    pub gradient_wire: Option<Wire>,
    /// Format in which the newest parameters travelled; `None` if there were none.
    pub parameter_wire: Option<Wire>,
    /// What the worker's link carries to the server, in bytes per second, at least and as far as it shows; `None`
    /// where nothing is known of it.
    pub link_up: Option<f64>,
    /// The same from the server to the worker.
    pub link_down: Option<f64>,
}

/// Sums over minibatches that tell how noisy gradients are. The expected squared norm of a minibatch's
/// gradient is that of the true gradient plus that of the noise; in the inner product of the gradients of the
/// minibatch's two halves, whose noise is independent, only the former is left.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GradientNorms {
    /// Number of minibatches whose two halves were compared by their gradients.
    pub minibatches: u64,
    /// Sum over the compared minibatches of the squared Euclidean norm of the mean gradient over all images
    /// of the minibatch.
    pub squared: f64,
    /// Sum over the compared minibatches of the inner product of two mean gradients: that over the first half
    /// of the minibatch's images and that over the second.
    pub common: f64,
}

impl GradientNorms {
    /// Adds the sums of `others`, made over other minibatches. A sum beyond the range of f64 becomes the
    /// largest finite number.
    pub fn add(&mut self, others: &GradientNorms) {
        let sum = |one: f64, other: f64| (one + other).clamp(f64::MIN, f64::MAX);
        self.minibatches = self.minibatches.saturating_add(others.minibatches);
        self.squared = sum(self.squared, others.squared);
        self.common = sum(self.common, others.common);
    }
}

impl From<GradientNorms> for proto::GradientNorms {
    fn from(GradientNorms { minibatches, squared, common }: GradientNorms) -> proto::GradientNorms {
        proto::GradientNorms { minibatches, squared, common }
    }
}

impl TryFrom<proto::GradientNorms> for GradientNorms {
    type Error = FieldError;

    fn try_from(norms: proto::GradientNorms) -> Result<GradientNorms, FieldError> {
        Ok(GradientNorms {
            minibatches: at_most(norms.minibatches, MOST_COUNTED, "GradientNorms", "minibatches")?,
            squared: finite(norms.squared, "GradientNorms", "squared")?,
            common: finite(norms.common, "GradientNorms", "common")?,
        })
    }
}

/// A report and the number of the call as a request.
impl From<(Report, u64)> for proto::ReportRequest {
    fn from((report, call): (Report, u64)) -> proto::ReportRequest {
        let Report { member, progress, metrics, evaluation, leaving, sends_largest } = report;
        proto::ReportRequest {
            member: Some(member.into()),
            progress: progress.into_iter().map(proto::LeaseProgress::from).collect(),
            metrics: Some(metrics.into()),
            evaluation: evaluation.map(proto::EvaluationPart::from),
            leaving,
            sends_largest,
            call,
        }
    }
}

impl TryFrom<proto::ReportRequest> for (Report, u64) {
    type Error = FieldError;

    fn try_from(request: proto::ReportRequest) -> Result<(Report, u64), FieldError> {
        let progress = listed(request.progress, MOST_PROGRESS, "leases", "ReportRequest", "progress")?;
        let progress = progress.into_iter().map(LeaseProgress::try_from);
        let leaving = request.leaving.map(|reason| readable(reason, "ReportRequest", "leaving"));
        let report = Report {
            metrics: required(request.metrics, "ReportRequest", "metrics")?.try_into()?,
            member: required(request.member, "ReportRequest", "member")?.try_into()?,
            progress: progress.collect::<Result<_, _>>()?,
            evaluation: request.evaluation.map(EvaluationPart::try_from).transpose()?,
            leaving: leaving.transpose()?,
            sends_largest: request.sends_largest,
        };
        Ok((report, request.call))
    }
}

impl From<StepMetrics> for proto::Metrics {
    fn from(m: StepMetrics) -> proto::Metrics {
        proto::Metrics {
            steps: m.steps,
            images: m.images,
            main_loss: m.main_loss,
            auxiliary_losses: m.auxiliary_losses,
            scores: m.scores.into(),
            gradients: Some(m.gradients.into()),
            compute_seconds: m.compute_seconds,
            wait_seconds: m.wait_seconds,
            refused: m.refused,
            diverged: m.diverged,
            updates: m.updates,
            staleness_sum: m.staleness_sum,
            bytes_out: m.bytes_out,
            bytes_in: m.bytes_in,
            gradient_wire: m.gradient_wire.map(codec::number),
            parameter_wire: m.parameter_wire.map(codec::number),
            link_up: m.link_up,
            link_down: m.link_down,
        }
    }
}

impl TryFrom<proto::Metrics> for StepMetrics {
    type Error = FieldError;

    fn try_from(m: proto::Metrics) -> Result<StepMetrics, FieldError> {
        let count = |value, field| at_most(value, MOST_COUNTED, "Metrics", field);
        let finite = |value, field| finite(value, "Metrics", field);
        let wire =
            |number: Option<i32>| number.map(|number| codec::any_format(number, "Metrics")).transpose();
        let losses = listed(m.auxiliary_losses, MOST_HEADS, "values", "Metrics", "auxiliary_losses")?;
        Ok(StepMetrics {
            auxiliary_losses: losses
                .into_iter()
                .map(|loss| finite(loss, "auxiliary_losses"))
                .collect::<Result<_, _>>()?,
            steps: count(m.steps, "steps")?,
            images: count(m.images, "images")?,
            main_loss: finite(m.main_loss, "main_loss")?,
            scores: Scores::sums(m.scores, "Metrics", "scores")?,
            gradients: m.gradients.map(GradientNorms::try_from).transpose()?.unwrap_or_default(),
            compute_seconds: finite(m.compute_seconds, "compute_seconds")?,
            wait_seconds: finite(m.wait_seconds, "wait_seconds")?,
            refused: count(m.refused, "refused")?,
            diverged: m.diverged,
            updates: count(m.updates, "updates")?,
            staleness_sum: count(m.staleness_sum, "staleness_sum")?,
            bytes_out: count(m.bytes_out, "bytes_out")?,
            bytes_in: count(m.bytes_in, "bytes_in")?,
            gradient_wire: wire(m.gradient_wire)?,
            parameter_wire: wire(m.parameter_wire)?,
            link_up: m.link_up.map(|rate| finite(rate, "link_up")).transpose()?,
            link_down: m.link_down.map(|rate| finite(rate, "link_down")).transpose()?,
        })
    }
}

impl From<Answer<Option<Ending>>> for proto::ReportReply {
    fn from(answer: Answer<Option<Ending>>) -> proto::ReportReply {
        use proto::report_reply::Outcome;
        let outcome = match answer {
            Ok(None) => Outcome::Running(proto::Running {}),
            Ok(Some(ending)) => Outcome::Ended(ending.into()),
            Err(refusal) => Outcome::Refusal(refusal.into()),
        };
        proto::ReportReply { outcome: Some(outcome) }
    }
}

impl TryFrom<proto::ReportReply> for Answer<Option<Ending>> {
    type Error = FieldError;

    fn try_from(reply: proto::ReportReply) -> Result<Answer<Option<Ending>>, FieldError> {
        use proto::report_reply::Outcome;
        Ok(match required(reply.outcome, "ReportReply", "outcome")? {
            Outcome::Running(proto::Running {}) => Ok(None),
            Outcome::Ended(ending) => Ok(Some(ending.try_into()?)),
            Outcome::Refusal(refusal) => Err(refusal.try_into()?),
        })
    }
}
