//! coordinator.proto.

use parameters::Layout;
use settings::RunConfiguration;

use super::{Answer, FieldError, MOST_NAME, bounded, required, shards::push_form};
use crate::{messages::*, proto};

/// Longest pause that a worker can be told.
const LONGEST_WAIT_MILLISECONDS: u64 = 60_000;
/// Largest count in a report.
const MOST_COUNTED: u64 = 1 << 40;

fn configuration_text(configuration: &RunConfiguration) -> String {
    serde_json::to_string(configuration).expect("a configuration has only strings for keys")
}

/// Most classes and images of a data set: positions of an epoch are numbered in 32 bits.
const MOST_CLASSES: usize = 100_000;
const MOST_SAMPLES: u64 = u32::MAX as u64;
/// Most bytes of what is told of an image: its path, a place in it and what is wrong.
const MOST_ACCOUNT: usize = 16 << 10;
/// Auxiliary heads of a network.
const MOST_HEADS: usize = 2;
/// Most shards of a server: as many processes as its flag takes, of as many shards.
const MOST_SHARDS: u32 = 1 << 16;

/// Whoever follows a configuration makes memory of its sizes, so its values are checked as those of a file
/// are.
fn read_configuration(text: &str, message: &'static str) -> Result<RunConfiguration, FieldError> {
    let configuration: RunConfiguration = serde_json::from_str(text)
        .map_err(|error| FieldError::new(message, "configuration", "a run configuration as JSON", error))?;
    configuration
        .validate()
        .map_err(|error| FieldError::new(message, "configuration", "values in their ranges", error))?;
    Ok(configuration)
}

/// A number that sums and files can hold.
fn finite(value: f64, message: &'static str, field: &'static str) -> Result<f64, FieldError> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(FieldError::new(message, field, "a finite number", value))
}

/// A count of what happened between two reports, so small that no sum of such counts overflows.
fn count(value: u64, field: &'static str) -> Result<u64, FieldError> {
    if value <= MOST_COUNTED {
        return Ok(value);
    }
    Err(FieldError::new("Metrics", field, format!("at most {MOST_COUNTED}"), value))
}

impl From<JoinRequest> for proto::JoinRequest {
    fn from(request: JoinRequest) -> proto::JoinRequest {
        let DataDescription { images, validation, hash, classes } = request.data;
        proto::JoinRequest {
            protocol: request.protocol,
            name: request.name,
            data: Some(proto::Data { images, validation, hash, classes }),
        }
    }
}

impl TryFrom<proto::JoinRequest> for JoinRequest {
    type Error = FieldError;

    fn try_from(request: proto::JoinRequest) -> Result<JoinRequest, FieldError> {
        let proto::Data { images, validation, hash, classes } =
            required(request.data, "JoinRequest", "data")?;
        for (field, samples) in [("images", images), ("validation", validation)] {
            if samples > MOST_SAMPLES {
                return Err(FieldError::new("Data", field, format!("at most {MOST_SAMPLES}"), samples));
            }
        }
        if classes.len() > MOST_CLASSES {
            let expected = format!("at most {MOST_CLASSES} names");
            return Err(FieldError::new("Data", "classes", expected, classes.len()));
        }
        let name = bounded(request.name, MOST_NAME, "JoinRequest", "name")?;
        let hash = bounded(hash, MOST_NAME, "Data", "hash")?;
        let data = DataDescription { images, validation, hash, classes };
        Ok(JoinRequest { protocol: request.protocol, name, data })
    }
}

impl From<Answer<JoinReply>> for proto::JoinReply {
    fn from(answer: Answer<JoinReply>) -> proto::JoinReply {
        use proto::join_reply::Outcome;
        let outcome = match answer {
            Ok(reply) => Outcome::Membership(proto::Membership {
                member: Some(reply.member.into()),
                configuration: configuration_text(&reply.configuration),
                plan: Some(reply.plan.into()),
                shards: reply.shards,
            }),
            Err(refusal) => Outcome::Refusal(refusal.into()),
        };
        proto::JoinReply { outcome: Some(outcome) }
    }
}

impl TryFrom<proto::JoinReply> for Answer<JoinReply> {
    type Error = FieldError;

    fn try_from(reply: proto::JoinReply) -> Result<Answer<JoinReply>, FieldError> {
        use proto::join_reply::Outcome;
        Ok(match required(reply.outcome, "JoinReply", "outcome")? {
            Outcome::Membership(membership) => Ok(JoinReply {
                member: required(membership.member, "Membership", "member")?.into(),
                configuration: read_configuration(&membership.configuration, "Membership")?,
                plan: required(membership.plan, "Membership", "plan")?.into(),
                shards: membership.shards,
            }),
            Outcome::Refusal(refusal) => Err(refusal.try_into()?),
        })
    }
}

/// A member's call, and its number.
impl From<(Member, u64)> for proto::AssignRequest {
    fn from((member, call): (Member, u64)) -> proto::AssignRequest {
        proto::AssignRequest { member: Some(member.into()), call }
    }
}

impl TryFrom<proto::AssignRequest> for (Member, u64) {
    type Error = FieldError;

    fn try_from(request: proto::AssignRequest) -> Result<(Member, u64), FieldError> {
        Ok((required(request.member, "AssignRequest", "member")?.into(), request.call))
    }
}

impl From<Answer<Assignment>> for proto::AssignReply {
    fn from(answer: Answer<Assignment>) -> proto::AssignReply {
        use proto::assign_reply::Outcome;
        let outcome = match answer {
            Ok(Assignment::Train(Lease { id, epoch, start, end, form })) => {
                let form = proto::PushForm::from(form).into();
                Outcome::Train(proto::Lease { id, epoch, start, end, form })
            }
            Ok(Assignment::Evaluate(EvaluationOrder { id, samples, last })) => {
                Outcome::Evaluate(proto::EvaluationOrder { id, samples, last })
            }
            Ok(Assignment::Wait { milliseconds, reason }) => {
                Outcome::Wait(proto::Wait { milliseconds, reason })
            }
            Ok(Assignment::Finished(ending)) => Outcome::Finished(ending.into()),
            Err(refusal) => Outcome::Refusal(refusal.into()),
        };
        proto::AssignReply { outcome: Some(outcome) }
    }
}

impl TryFrom<proto::AssignReply> for Answer<Assignment> {
    type Error = FieldError;

    fn try_from(reply: proto::AssignReply) -> Result<Answer<Assignment>, FieldError> {
        use proto::assign_reply::Outcome;
        Ok(match required(reply.outcome, "AssignReply", "outcome")? {
            Outcome::Train(proto::Lease { id, epoch, start, end, form }) => {
                if start > end {
                    return Err(FieldError::new("Lease", "end", format!("at least start ({start})"), end));
                }
                let form = push_form(form, "Lease")?;
                Ok(Assignment::Train(Lease { id, epoch, start, end, form }))
            }
            Outcome::Evaluate(proto::EvaluationOrder { id, samples, last }) => {
                Ok(Assignment::Evaluate(EvaluationOrder { id, samples, last }))
            }
            Outcome::Wait(proto::Wait { milliseconds, reason }) => {
                if milliseconds > LONGEST_WAIT_MILLISECONDS {
                    let expected = format!("at most {LONGEST_WAIT_MILLISECONDS}");
                    return Err(FieldError::new("Wait", "milliseconds", expected, milliseconds));
                }
                Ok(Assignment::Wait { milliseconds, reason })
            }
            Outcome::Finished(ending) => Ok(Assignment::Finished(ending.try_into()?)),
            Outcome::Refusal(refusal) => Err(refusal.try_into()?),
        })
    }
}

impl From<Ending> for proto::Ending {
    fn from(ending: Ending) -> proto::Ending {
        use proto::ending::How;
        let (how, text) = match ending {
            Ending::Completed => (How::Completed, String::new()),
            Ending::Diverged(text) => (How::Diverged, text),
            Ending::Failed(text) => (How::Failed, text),
            Ending::Interrupted => (How::Interrupted, String::new()),
        };
        proto::Ending { how: how.into(), text }
    }
}

impl TryFrom<proto::Ending> for Ending {
    type Error = FieldError;

    fn try_from(ending: proto::Ending) -> Result<Ending, FieldError> {
        use proto::ending::How;
        match How::try_from(ending.how) {
            Ok(How::Completed) => Ok(Ending::Completed),
            Ok(How::Diverged) => Ok(Ending::Diverged(ending.text)),
            Ok(How::Failed) => Ok(Ending::Failed(ending.text)),
            Ok(How::Interrupted) => Ok(Ending::Interrupted),
            Ok(How::Unspecified) | Err(_) => Err(FieldError::new("Ending", "how", "1 to 4", ending.how)),
        }
    }
}

/// A report, and the number of the call.
impl From<(Report, u64)> for proto::ReportRequest {
    fn from((report, call): (Report, u64)) -> proto::ReportRequest {
        let progress = |p: LeaseProgress| proto::LeaseProgress {
            lease: p.lease,
            used: p.used,
            skipped: p.skipped,
            consumed: p.consumed,
            closed: p.closed,
        };
        let m = report.metrics;
        proto::ReportRequest {
            member: Some(report.member.into()),
            progress: report.progress.into_iter().map(progress).collect(),
            metrics: Some(proto::Metrics {
                steps: m.steps,
                images: m.images,
                main_loss: m.main_loss,
                auxiliary_losses: m.auxiliary_losses,
                correct: m.correct,
                compute_seconds: m.compute_seconds,
                wait_seconds: m.wait_seconds,
                refused: m.refused,
                diverged: m.diverged,
            }),
            evaluation: report.evaluation.map(proto::Evaluation::from),
            leaving: report.leaving,
            call,
        }
    }
}

impl TryFrom<proto::ReportRequest> for (Report, u64) {
    type Error = FieldError;

    fn try_from(request: proto::ReportRequest) -> Result<(Report, u64), FieldError> {
        let account = |text| bounded(text, MOST_ACCOUNT, "LeaseProgress", "skipped");
        let progress = |p: proto::LeaseProgress| {
            Ok(LeaseProgress {
                lease: p.lease,
                used: p.used,
                skipped: p.skipped.into_iter().map(account).collect::<Result<_, FieldError>>()?,
                consumed: p.consumed,
                closed: p.closed,
            })
        };
        let m = required(request.metrics, "ReportRequest", "metrics")?;
        let heads = m.auxiliary_losses.len();
        if heads > MOST_HEADS {
            let expected = format!("at most {MOST_HEADS} values");
            return Err(FieldError::new("Metrics", "auxiliary_losses", expected, heads));
        }
        for &loss in &m.auxiliary_losses {
            finite(loss, "Metrics", "auxiliary_losses")?;
        }
        let report = Report {
            member: required(request.member, "ReportRequest", "member")?.into(),
            progress: request.progress.into_iter().map(progress).collect::<Result<_, FieldError>>()?,
            metrics: StepMetrics {
                steps: count(m.steps, "steps")?,
                images: count(m.images, "images")?,
                main_loss: finite(m.main_loss, "Metrics", "main_loss")?,
                auxiliary_losses: m.auxiliary_losses,
                correct: count(m.correct, "correct")?,
                compute_seconds: finite(m.compute_seconds, "Metrics", "compute_seconds")?,
                wait_seconds: finite(m.wait_seconds, "Metrics", "wait_seconds")?,
                refused: count(m.refused, "refused")?,
                diverged: m.diverged,
            },
            evaluation: request.evaluation.map(Evaluation::try_from).transpose()?,
            leaving: request.leaving,
        };
        Ok((report, request.call))
    }
}

impl From<Evaluation> for proto::Evaluation {
    fn from(evaluation: Evaluation) -> proto::Evaluation {
        let scores = |Scores { top1, top5, loss }: Scores| Some(proto::Scores { top1, top5, loss });
        proto::Evaluation {
            id: evaluation.id,
            samples: evaluation.samples,
            images: evaluation.images,
            average: scores(evaluation.average),
            last_iterate: scores(evaluation.last_iterate),
        }
    }
}

impl TryFrom<proto::Evaluation> for Evaluation {
    type Error = FieldError;

    fn try_from(evaluation: proto::Evaluation) -> Result<Evaluation, FieldError> {
        let scores = |scores, field| {
            let proto::Scores { top1, top5, loss } = required(scores, "Evaluation", field)?;
            for (field, share) in [("top1", top1), ("top5", top5)] {
                if !(0.0..=1.0).contains(&share) {
                    return Err(FieldError::new("Scores", field, "0 to 1", share));
                }
            }
            // A snapshot's manifest, which is JSON, could not hold what is not finite.
            Ok(Scores { top1, top5, loss: finite(loss, "Scores", "loss")? })
        };
        Ok(Evaluation {
            id: evaluation.id,
            samples: evaluation.samples,
            images: evaluation.images,
            average: scores(evaluation.average, "average")?,
            last_iterate: scores(evaluation.last_iterate, "last_iterate")?,
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

impl From<RegisterRequest> for proto::RegisterRequest {
    fn from(request: RegisterRequest) -> proto::RegisterRequest {
        let RegisterRequest { protocol, address, shards, holds } = request;
        let holds = holds.map(|Holding { first_shard, life }| proto::Holding { first_shard, life });
        proto::RegisterRequest { protocol, address, shards, holds }
    }
}

impl TryFrom<proto::RegisterRequest> for RegisterRequest {
    type Error = FieldError;

    fn try_from(request: proto::RegisterRequest) -> Result<RegisterRequest, FieldError> {
        let proto::RegisterRequest { protocol, address, shards, holds } = request;
        let address = bounded(address, MOST_NAME, "RegisterRequest", "address")?;
        let holds = holds.map(|proto::Holding { first_shard, life }| Holding { first_shard, life });
        Ok(RegisterRequest { protocol, address, shards, holds })
    }
}

impl From<Answer<RegisterReply>> for proto::RegisterReply {
    fn from(answer: Answer<RegisterReply>) -> proto::RegisterReply {
        use proto::register_reply::Outcome;
        let outcome = match answer {
            Ok(RegisterReply { first_shard, total_shards, restore, life, again }) => {
                let restore = restore.map(|Snapshot { id, hashes }| proto::Snapshot { id, hashes });
                let place = proto::Registration { first_shard, total_shards, restore, life, again };
                Outcome::Registration(place)
            }
            Err(refusal) => Outcome::Refusal(refusal.into()),
        };
        proto::RegisterReply { outcome: Some(outcome) }
    }
}

impl TryFrom<proto::RegisterReply> for Answer<RegisterReply> {
    type Error = FieldError;

    fn try_from(reply: proto::RegisterReply) -> Result<Answer<RegisterReply>, FieldError> {
        use proto::register_reply::Outcome;
        Ok(match required(reply.outcome, "RegisterReply", "outcome")? {
            Outcome::Registration(place) => {
                let proto::Registration { first_shard, total_shards, restore, life, again } = place;
                if !(1..=MOST_SHARDS).contains(&total_shards) {
                    let expected = format!("1 to {MOST_SHARDS}");
                    return Err(FieldError::new("Registration", "total_shards", expected, total_shards));
                }
                if first_shard >= total_shards {
                    let expected = format!("below total_shards ({total_shards})");
                    return Err(FieldError::new("Registration", "first_shard", expected, first_shard));
                }
                let restore = restore.map(|proto::Snapshot { id, hashes }| Snapshot { id, hashes });
                Ok(RegisterReply { first_shard, total_shards, restore, life, again })
            }
            Outcome::Refusal(refusal) => Err(refusal.try_into()?),
        })
    }
}

impl From<RunState> for proto::status_reply::State {
    fn from(state: RunState) -> proto::status_reply::State {
        use proto::status_reply::State;
        match state {
            RunState::Waiting => State::Waiting,
            RunState::Training => State::Training,
            RunState::Evaluating => State::Evaluating,
            RunState::Finished => State::Finished,
            RunState::Diverged => State::Diverged,
            RunState::Failed => State::Failed,
            RunState::Interrupted => State::Interrupted,
        }
    }
}

/// Reads a run's state from its number in a status.
fn run_state(number: i32) -> Result<RunState, FieldError> {
    use proto::status_reply::State;
    match State::try_from(number) {
        Ok(State::Waiting) => Ok(RunState::Waiting),
        Ok(State::Training) => Ok(RunState::Training),
        Ok(State::Evaluating) => Ok(RunState::Evaluating),
        Ok(State::Finished) => Ok(RunState::Finished),
        Ok(State::Diverged) => Ok(RunState::Diverged),
        Ok(State::Failed) => Ok(RunState::Failed),
        Ok(State::Interrupted) => Ok(RunState::Interrupted),
        Ok(State::Unspecified) | Err(_) => Err(FieldError::new("StatusReply", "state", "1 to 7", number)),
    }
}

impl From<RunStatus> for proto::StatusReply {
    fn from(status: RunStatus) -> proto::StatusReply {
        proto::StatusReply {
            state: proto::status_reply::State::from(status.state).into(),
            detail: status.detail,
            samples: status.samples,
            total_samples: status.total_samples,
            epoch: status.epoch,
            workers: status.workers,
            leases: status.leases,
            latest: status.latest.map(proto::TrainingLine::from),
            evaluations: status.evaluations.into_iter().map(proto::Evaluation::from).collect(),
            layout: status.layout.map(proto::Layout::from),
            configuration: configuration_text(&status.configuration),
            classes: status.classes,
            data_hash: status.data_hash,
            unreadable: status.unreadable,
            shards: status.shards,
        }
    }
}

/// Whoever watches is refused nothing; the shape of an answer lets all calls be made in one way.
impl TryFrom<proto::StatusReply> for Answer<RunStatus> {
    type Error = FieldError;

    fn try_from(status: proto::StatusReply) -> Result<Answer<RunStatus>, FieldError> {
        Ok(Ok(RunStatus {
            configuration: read_configuration(&status.configuration, "StatusReply")?,
            state: run_state(status.state)?,
            detail: status.detail,
            samples: status.samples,
            total_samples: status.total_samples,
            epoch: status.epoch,
            workers: status.workers,
            leases: status.leases,
            latest: status.latest.map(TrainingLine::from),
            evaluations: status
                .evaluations
                .into_iter()
                .map(Evaluation::try_from)
                .collect::<Result<_, _>>()?,
            layout: status.layout.map(Layout::try_from).transpose()?,
            classes: status.classes,
            data_hash: status.data_hash,
            unreadable: status.unreadable,
            shards: status.shards,
        }))
    }
}

impl From<TrainingLine> for proto::TrainingLine {
    fn from(line: TrainingLine) -> proto::TrainingLine {
        proto::TrainingLine {
            step: line.step,
            epoch: line.epoch,
            samples: line.samples,
            loss: line.loss,
            auxiliary_losses: line.auxiliary_losses,
            top1: line.top1,
            images_per_second: line.images_per_second,
            learning_rate: line.learning_rate,
            staleness_mean: line.staleness_mean,
            staleness_max: line.staleness_max,
            bytes_in: line.bytes_in,
            bytes_out: line.bytes_out,
            leases: line.leases,
            workers: line.workers,
            refused: line.refused,
        }
    }
}

impl From<proto::TrainingLine> for TrainingLine {
    fn from(line: proto::TrainingLine) -> TrainingLine {
        TrainingLine {
            step: line.step,
            epoch: line.epoch,
            samples: line.samples,
            loss: line.loss,
            auxiliary_losses: line.auxiliary_losses,
            top1: line.top1,
            images_per_second: line.images_per_second,
            learning_rate: line.learning_rate,
            staleness_mean: line.staleness_mean,
            staleness_max: line.staleness_max,
            bytes_in: line.bytes_in,
            bytes_out: line.bytes_out,
            leases: line.leases,
            workers: line.workers,
            refused: line.refused,
        }
    }
}
