//! Overview of a run: what it does now, with its workers, its shards and the newest warnings.

use super::{
    evaluation::Evaluation,
    life::{self, Life},
    refusal::Answer,
    run_status::{RunState, run_state},
    shard_status::ShardStatus,
    training_line::TrainingLine,
};
use crate::{
    Wire, codec,
    fields::{FieldError, bounded, listed, name},
    proto,
};

/// Most workers, and most shards, that an overview lists.
pub const MOST_OVERSEEN: usize = 1000;
/// Most warnings of an overview.
pub const MOST_WARNINGS: usize = 32;
/// Most bytes of the text of a warning.
pub const MOST_WARNING: usize = 1 << 10;

/// Overview of a run, for whoever watches it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Overview {
    /// The server's life, with the run's id.
    pub life: Life,
    /// Time of day at the server, in seconds since 1970.
    pub time: f64,
    /// Current activity of the run, or how it ended.
    pub state: RunState,
    /// Details of the state for people: what the run waits for, or how it ended; empty otherwise.
    pub detail: String,
    /// Name of the run's recipe.
    pub recipe: String,
    /// Number of training images; 0 until the first worker has joined.
    pub training_images: u64,
    /// Number of validation images; 0 until the first worker has joined.
    pub validation_images: u64,
    /// Number of classes; 0 until the first worker has joined.
    pub classes: u32,
    /// Hash of the data, in the form of [`DataDescription::hash`](crate::DataDescription::hash); empty until
    /// the first worker has joined.
    pub data_hash: String,
    /// Number of samples that the run has trained on so far.
    pub samples: u64,
    /// Number of samples that the whole run trains on; 0 until the first worker has joined.
    pub total_samples: u64,
    /// Number of the current epoch, from 0.
    pub epoch: u64,
    /// Number of epochs of the whole run; the last one may not be whole.
    pub epochs: u64,
    /// Newest line of training metrics; `None` before the first.
    pub latest: Option<TrainingLine>,
    /// Result of the newest evaluation; `None` before the first.
    pub evaluation: Option<Evaluation>,
    /// Number of workers that take part in the run, its members.
    pub members: u32,
    /// The first [`MOST_OVERSEEN`] members, by number.
    pub workers: Vec<WorkerOverview>,
    /// Number of shards of the whole server.
    pub total_shards: u32,
    /// The first [`MOST_OVERSEEN`] shards, by number.
    pub shards: Vec<ShardOverview>,
    /// Number of leases, ranges of samples to train on, that workers hold.
    pub leases: u32,
    /// Factor on the learning rate of the schedule, as an operator set it; 1 if none did.
    pub rate_factor: f64,
    /// Number of the newest complete snapshot; 0 if there is none.
    pub snapshot: u64,
    /// Whether a snapshot that an operator ordered is not done yet.
    pub snapshot_ordered: bool,
    /// Number of training images so far that could not be read.
    pub unreadable: u64,
    /// Newest warnings in the log of the server's first process, the oldest first.
    pub warnings: Vec<Warning>,
}

/// A member of a run, as an overview shows it. Rates and means are those of its reports of the last half
/// minute.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct WorkerOverview {
    /// Number of the worker.
    pub worker: u32,
    /// Name of the worker: its host and process.
    pub name: String,
    /// Number of images that the worker has trained on since it joined.
    pub images: u64,
    /// Number of minibatches that the worker has trained on since it joined.
    pub steps: u64,
    /// Training speed in images per second.
    pub images_per_second: f64,
    /// Share of the images per second of all members, 0 to 1.
    pub share: f64,
    /// Mean staleness of the worker's updates: the number of other updates that a block received after the
    /// fetch that the gradient was computed from.
    pub staleness_mean: f64,
    /// Mean time of a minibatch in seconds.
    pub step_seconds: f64,
    /// Share, 0 to 1, of that time in which the worker waits for parameters, acknowledgements and images.
    pub waiting: f64,
    /// Number of bytes of encoded gradients sent since the worker joined.
    pub bytes_out: u64,
    /// Number of bytes of encoded parameters received since the worker joined.
    pub bytes_in: u64,
    /// Format in which the newest gradients travelled; `None` before the first.
    pub gradient_wire: Option<Wire>,
    /// Format in which the newest parameters travelled; `None` before the first.
    pub parameter_wire: Option<Wire>,
    /// What the worker's link carries to the server, in bytes per second, at least and as far as it shows; `None`
    /// where nothing is known of it.
    pub link_up: Option<f64>,
    /// The same from the server to the worker.
    pub link_down: Option<f64>,
    /// Number of leases, ranges of samples to train on, that the worker holds.
    pub leases: u32,
    /// Time in seconds since the worker's last call.
    pub silent_seconds: f64,
    /// Order of an operator: true if the worker is to leave.
    pub drained: bool,
}

/// A shard of a server, as an overview shows it.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct ShardOverview {
    /// Number of the shard.
    pub shard: u32,
    /// Address of the process that holds it, "host:port".
    pub address: String,
    /// Time in seconds since that process has registered last; 0 for the server's first process.
    pub silent_seconds: f64,
    /// What the shard said about itself last; `None` before.
    pub status: Option<ShardStatus>,
}

/// A warning in the log of a process.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Warning {
    /// Time in seconds since 1970.
    pub time: f64,
    /// Text of the warning, of at most [`MOST_WARNING`] bytes.
    pub text: String,
}

impl From<Overview> for proto::OverviewReply {
    fn from(overview: Overview) -> proto::OverviewReply {
        proto::OverviewReply {
            life: Some(overview.life.into()),
            time: overview.time,
            state: proto::status_reply::State::from(overview.state).into(),
            detail: overview.detail,
            recipe: overview.recipe,
            training_images: overview.training_images,
            validation_images: overview.validation_images,
            classes: overview.classes,
            data_hash: overview.data_hash,
            samples: overview.samples,
            total_samples: overview.total_samples,
            epoch: overview.epoch,
            epochs: overview.epochs,
            latest: overview.latest.map(proto::TrainingLine::from),
            evaluation: overview.evaluation.map(proto::Evaluation::from),
            members: overview.members,
            workers: overview.workers.into_iter().map(proto::WorkerOverview::from).collect(),
            total_shards: overview.total_shards,
            shards: overview.shards.into_iter().map(proto::ShardOverview::from).collect(),
            leases: overview.leases,
            rate_factor: overview.rate_factor,
            snapshot: overview.snapshot,
            snapshot_ordered: overview.snapshot_ordered,
            unreadable: overview.unreadable,
            warnings: overview.warnings.into_iter().map(proto::Warning::from).collect(),
        }
    }
}

/// Converts an overview, which is never refused, to the answer type that all calls share.
impl TryFrom<proto::OverviewReply> for Answer<Overview> {
    type Error = FieldError;

    fn try_from(reply: proto::OverviewReply) -> Result<Answer<Overview>, FieldError> {
        let workers = listed(reply.workers, MOST_OVERSEEN, "workers", "OverviewReply", "workers")?;
        let shards = listed(reply.shards, MOST_OVERSEEN, "shards", "OverviewReply", "shards")?;
        let warnings = listed(reply.warnings, MOST_WARNINGS, "warnings", "OverviewReply", "warnings")?;
        Ok(Ok(Overview {
            life: life::life(reply.life, "OverviewReply")?,
            time: reply.time,
            state: run_state(reply.state, "OverviewReply")?,
            detail: reply.detail,
            recipe: reply.recipe,
            training_images: reply.training_images,
            validation_images: reply.validation_images,
            classes: reply.classes,
            data_hash: reply.data_hash,
            samples: reply.samples,
            total_samples: reply.total_samples,
            epoch: reply.epoch,
            epochs: reply.epochs,
            latest: reply.latest.map(TrainingLine::try_from).transpose()?,
            evaluation: reply.evaluation.map(Evaluation::try_from).transpose()?,
            members: reply.members,
            workers: workers.into_iter().map(WorkerOverview::try_from).collect::<Result<_, _>>()?,
            total_shards: reply.total_shards,
            shards: shards.into_iter().map(ShardOverview::try_from).collect::<Result<_, _>>()?,
            leases: reply.leases,
            rate_factor: reply.rate_factor,
            snapshot: reply.snapshot,
            snapshot_ordered: reply.snapshot_ordered,
            unreadable: reply.unreadable,
            warnings: warnings.into_iter().map(Warning::try_from).collect::<Result<_, _>>()?,
        }))
    }
}

impl From<WorkerOverview> for proto::WorkerOverview {
    fn from(worker: WorkerOverview) -> proto::WorkerOverview {
        proto::WorkerOverview {
            worker: worker.worker,
            name: worker.name,
            images: worker.images,
            steps: worker.steps,
            images_per_second: worker.images_per_second,
            share: worker.share,
            staleness_mean: worker.staleness_mean,
            step_seconds: worker.step_seconds,
            waiting: worker.waiting,
            bytes_out: worker.bytes_out,
            bytes_in: worker.bytes_in,
            gradient_wire: worker.gradient_wire.map(codec::number),
            parameter_wire: worker.parameter_wire.map(codec::number),
            link_up: worker.link_up,
            link_down: worker.link_down,
            leases: worker.leases,
            silent_seconds: worker.silent_seconds,
            drained: worker.drained,
        }
    }
}

impl TryFrom<proto::WorkerOverview> for WorkerOverview {
    type Error = FieldError;

    fn try_from(worker: proto::WorkerOverview) -> Result<WorkerOverview, FieldError> {
        let wire = |number: Option<i32>| {
            number.map(|number| codec::any_format(number, "WorkerOverview")).transpose()
        };
        Ok(WorkerOverview {
            worker: worker.worker,
            name: name(worker.name, "WorkerOverview", "name")?,
            images: worker.images,
            steps: worker.steps,
            images_per_second: worker.images_per_second,
            share: worker.share,
            staleness_mean: worker.staleness_mean,
            step_seconds: worker.step_seconds,
            waiting: worker.waiting,
            bytes_out: worker.bytes_out,
            bytes_in: worker.bytes_in,
            gradient_wire: wire(worker.gradient_wire)?,
            parameter_wire: wire(worker.parameter_wire)?,
            link_up: worker.link_up,
            link_down: worker.link_down,
            leases: worker.leases,
            silent_seconds: worker.silent_seconds,
            drained: worker.drained,
        })
    }
}

impl From<ShardOverview> for proto::ShardOverview {
    fn from(shard: ShardOverview) -> proto::ShardOverview {
        let ShardOverview { shard, address, silent_seconds, status } = shard;
        proto::ShardOverview { shard, address, silent_seconds, status: status.map(proto::ShardStatus::from) }
    }
}

impl TryFrom<proto::ShardOverview> for ShardOverview {
    type Error = FieldError;

    fn try_from(shard: proto::ShardOverview) -> Result<ShardOverview, FieldError> {
        Ok(ShardOverview {
            shard: shard.shard,
            address: name(shard.address, "ShardOverview", "address")?,
            silent_seconds: shard.silent_seconds,
            status: shard.status.map(ShardStatus::try_from).transpose()?,
        })
    }
}

impl From<Warning> for proto::Warning {
    fn from(Warning { time, text }: Warning) -> proto::Warning {
        proto::Warning { time, text }
    }
}

impl TryFrom<proto::Warning> for Warning {
    type Error = FieldError;

    fn try_from(warning: proto::Warning) -> Result<Warning, FieldError> {
        let text = bounded(warning.text, MOST_WARNING, "Warning", "text")?;
        Ok(Warning { time: warning.time, text })
    }
}
