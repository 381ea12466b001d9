//! The messages of both services as the domain's own types; the generated types do not leave this crate.

use std::fmt;

use parameters::{Fingerprint, Layout};
use settings::RunConfiguration;

use crate::Values;

/// Version of the protocol, raised when a message changes its meaning. Join and Register refuse any other.
pub const PROTOCOL_VERSION: u32 = 5;

/// Why a server will not do what a worker or a shard process asked; the text says what was expected and
/// found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request contradicts the run (other network, other data, other protocol): final.
    #[error("{0}")]
    Mismatch(String),
    /// The worker's incarnation is no longer a member (its lease expired): join anew.
    #[error("{0}")]
    Fenced(String),
    /// Not possible yet (no layout adopted, shards missing): ask again.
    #[error("{0}")]
    NotReady(String),
    /// The values are unusable (wrong length, unknown block, not finite, far too large): final for this push.
    #[error("{0}")]
    Invalid(String),
    /// The server failed on its own side.
    #[error("{0}")]
    Internal(String),
}

/// The version of a block's values, which never goes back: a shard restored from a file starts a new
/// generation.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Version {
    /// Number of the generation, raised by every restore of the shard.
    pub generation: u64,
    /// Updates applied to the block since the start of the run.
    pub counter: u64,
}

/// The number format in which gradients and parameters travel.
pub use settings::Wire;

/// A data set as workers compare it: the counts of its images, a hash, and its class names.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DataDescription {
    /// Number of training images.
    pub images: u64,
    /// Number of validation images.
    pub validation: u64,
    /// Hash of the data set's content, in one of the forms that `Data` in `coordinator.proto` describes.
    pub hash: String,
    /// Class names; the position is the label.
    pub classes: Vec<String>,
}

/// A worker's request to become a member of the run.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// Must equal [`PROTOCOL_VERSION`].
    pub protocol: u32,
    /// A name for logs (host and process).
    pub name: String,
    /// The data set that the worker has.
    pub data: DataDescription,
}

/// A worker's membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Member {
    /// Number of the worker, unique in the run.
    pub worker: u32,
    /// Number of the join, unique in the run; an incarnation that has expired stays fenced.
    pub incarnation: u64,
}

/// What a new member needs to take part in the run.
#[derive(Clone, Debug)]
pub struct JoinReply {
    /// The new membership.
    pub member: Member,
    /// The run's configuration with everything decided (classes, epochs).
    pub configuration: RunConfiguration,
    /// How shards apply gradients; the worker hands it to every shard with the layout.
    pub plan: UpdateRule,
    /// Address of each shard, by shard number ("host:port"; several shards may share one).
    pub shards: Vec<String>,
}

/// How shards turn gradients into updates: what a shard must know beside the layout, the same for all shards
/// of a run.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct UpdateRule {
    /// Seed of the run: initial values.
    pub seed: u64,
    /// Base learning rate.
    pub learning_rate: f64,
    /// Factor on the learning rate at each stair of the schedule (0.96).
    pub stair_factor: f64,
    /// Samples of one stair (8 epochs).
    pub stair_samples: u64,
    /// Samples of the linear ramp at the start.
    pub ramp_samples: u64,
    /// Momentum (0.9).
    pub momentum: f64,
    /// Weight decay, times each tensor's own multiplier.
    pub weight_decay: f64,
    /// Upper bound of the Polyak average's decay (0.9999).
    pub average_decay: f64,
    /// Samples in the whole run.
    pub total_samples: u64,
    /// SHA-256, hexadecimal, of the model file whose tensors the run starts with; none if all tensors start
    /// by their initialisers.
    #[serde(default)]
    pub init_sha256: Option<String>,
    /// [Patterns](parameters::pattern) of the tensors that start by their initialisers even if the model file
    /// has them.
    #[serde(default)]
    pub init_except: Vec<String>,
}

/// The layout and update rule that each joining worker sends to each shard: an empty shard adopts them, any
/// other compares them with its own.
#[derive(Clone, Debug)]
pub struct AdoptRequest {
    /// Number of the shard.
    pub shard: u32,
    /// Layout of the network's parameters.
    pub layout: Layout,
    /// The run's update rule.
    pub plan: UpdateRule,
}

/// A shard's answer to an adoption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptReply {
    /// Fingerprint of the shard's layout.
    pub fingerprint: Fingerprint,
}

/// The values of a block that a fetch asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The parameters that updates are applied to.
    Parameters,
    /// The Polyak average of the parameters, frozen at the first fetch that names the evaluation.
    Average {
        /// Number of the evaluation that the average is for; 0 reads the current average, which is not
        /// frozen.
        evaluation: u64,
    },
}

/// Largest absolute value of a gradient that a shard applies. Gradients of networks that learn are smaller by
/// many orders of magnitude; a larger one could overflow in the update, which is made in place.
pub const LARGEST_GRADIENT: f32 = 1e18;

/// Largest loss of a minibatch before the run counts as diverged. No network recovers from such a loss, whose
/// gradients are those that shards refuse.
pub const LARGEST_LOSS: f32 = 1e12;

/// Where the momentum of a push is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum PushForm {
    /// At the shard: the push holds a gradient, which the shard adds to its own velocity.
    #[default]
    Gradient,
    /// At the worker: the push holds a step, the gradient with the worker's own velocity and weight decay, which
    /// the shard takes at its learning rate.
    Step,
}

/// One block of a gradient, on its way to its shard.
#[derive(Clone, Debug)]
pub struct BlockPush {
    /// Number of the shard.
    pub shard: u32,
    /// The worker that pushes.
    pub member: Member,
    /// Number of the worker's step, counted within its incarnation.
    pub step: u64,
    /// Index of the block in the layout.
    pub block: u32,
    /// The version of the block that the gradient was computed from.
    pub version: Version,
    /// Samples behind the gradient.
    pub samples: u32,
    /// What `gradient` holds.
    pub form: PushForm,
    /// The mean gradient, or a step made of it: finite, and at most [`LARGEST_GRADIENT`].
    pub gradient: Vec<f32>,
}

/// The answer to one pushed block.
#[derive(Clone, Debug, PartialEq)]
pub struct PushReply {
    /// Index of the block in the layout.
    pub block: u32,
    /// The block to compute the next gradient from (also if this push had been applied before), or why the
    /// push was refused.
    pub outcome: Result<BlockValues, Refusal>,
    /// Updates that the block had between the version that the gradient was computed from and this push.
    pub staleness: u64,
}

/// The values of one block.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockValues {
    /// Index of the block in the layout.
    pub block: u32,
    /// Version of the values.
    pub version: Version,
    /// The values.
    pub values: Values,
}

/// The coordinator's answer to what a worker is to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Assignment {
    /// Train on positions `start..end` of the epoch's shuffled order.
    Train(Lease),
    /// Evaluate the average and the last iterate on the whole validation set.
    Evaluate(EvaluationOrder),
    /// Nothing for now: ask again after a pause.
    Wait {
        /// Length of the pause.
        milliseconds: u64,
        /// What the run waits for, for the log.
        reason: String,
    },
    /// The run is over.
    Finished(Ending),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Ending {
    /// All samples used, final evaluation done.
    Completed,
    /// A loss was not finite or far too large, or too many pushes were refused; the text says which rate to
    /// try.
    Diverged(String),
    /// The run cannot go on with what it was given, such as images of which over 5 % are unreadable; the text
    /// says what to do.
    Failed(String),
    /// The server is being stopped; the run can be resumed.
    Interrupted,
}

/// A range of an epoch's shuffled order given to one worker for a time.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Lease {
    /// Number of the lease, unique in the run.
    pub id: u64,
    /// Epoch, from 0.
    pub epoch: u64,
    /// First position of the range.
    pub start: u64,
    /// One past the last position of the range.
    pub end: u64,
    /// What the worker pushes of these samples.
    pub form: PushForm,
}

/// An evaluation given to one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluationOrder {
    /// Number of the evaluation, unique in the run.
    pub id: u64,
    /// Samples that the run had used when the evaluation was ordered.
    pub samples: u64,
    /// Whether it is the run's last one, after which the worker also writes the model file.
    pub last: bool,
}

/// Accuracy and loss over the validation images.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Scores {
    /// Share of images whose most probable class is right.
    pub top1: f64,
    /// Share of images whose five most probable classes contain the right one.
    pub top5: f64,
    /// Mean cross-entropy.
    pub loss: f64,
}

/// The result of an evaluation.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Evaluation {
    /// Number of the evaluation.
    pub id: u64,
    /// Samples that the run had used when the evaluation was ordered.
    pub samples: u64,
    /// Images evaluated.
    pub images: u64,
    /// Scores of the averaged parameters.
    pub average: Scores,
    /// Scores of the last iterate.
    pub last_iterate: Scores,
}

/// How far a worker got with a lease, counted from the lease's start, so that a report may arrive twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseProgress {
    /// Number of the lease.
    pub lease: u64,
    /// Positions whose gradients every shard has acknowledged; skipped ones are not included.
    pub used: u64,
    /// Unreadable images of this lease so far, each as "path: reason".
    pub skipped: Vec<String>,
    /// Positions that are done with: used or skipped.
    pub consumed: u64,
    /// Whether the worker will do no more of the lease; the rest goes back.
    pub closed: bool,
}

/// Metrics of a worker, summed over the minibatches since its last report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepMetrics {
    /// Number of minibatches.
    pub steps: u64,
    /// Number of images.
    pub images: u64,
    /// Sum over images of the main head's loss.
    pub main_loss: f64,
    /// Sums over images of the auxiliary heads' losses; empty without heads.
    pub auxiliary_losses: Vec<f64>,
    /// Images whose most probable class of the main head is right.
    pub correct: u64,
    /// Seconds of computing.
    pub compute_seconds: f64,
    /// Seconds of waiting for parameters, acknowledgements and images.
    pub wait_seconds: f64,
    /// Minibatches of which a push was refused as unusable (not finite, or far too large).
    pub refused: u64,
    /// Whether a loss was not finite, or above [`LARGEST_LOSS`].
    pub diverged: bool,
}

/// A worker's report of progress and metrics, sent every few steps and at least every few seconds: it is also
/// the sign of life that keeps the worker's membership.
#[derive(Clone, Debug)]
pub struct Report {
    /// The worker that reports.
    pub member: Member,
    /// Progress of the leases that the worker holds or has just closed.
    pub progress: Vec<LeaseProgress>,
    /// Metrics since the last report.
    pub metrics: StepMetrics,
    /// An evaluation that the worker finished.
    pub evaluation: Option<Evaluation>,
    /// Whether the worker leaves the run: all of its leases go back.
    pub leaving: bool,
}

/// A shard process's request to the coordinator for its place in the server.
#[derive(Clone, Debug)]
pub struct RegisterRequest {
    /// Must equal [`PROTOCOL_VERSION`].
    pub protocol: u32,
    /// Address at which workers reach the process.
    pub address: String,
    /// Number of shards that the process hosts.
    pub shards: u32,
    /// The shards that the process holds; none when it has just started.
    pub holds: Option<Holding>,
}

/// The shards that a shard process has in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Number of the first shard.
    pub first_shard: u32,
    /// The coordinator's life in which the shards were placed, or restored from a snapshot, last.
    pub life: u64,
}

/// The coordinator's answer to a registration: which shards the process is to hold, and what they start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterReply {
    /// Number of the process's first shard.
    pub first_shard: u32,
    /// Number of shards in the whole server.
    pub total_shards: u32,
    /// The newest complete snapshot, which shards of another life than this go back to.
    pub restore: Option<Snapshot>,
    /// Number of the coordinator's life: it counts the coordinator's starts.
    pub life: u64,
    /// Whether the address had registered in this life before.
    pub again: bool,
}

/// A complete snapshot, as a shard process knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Number of the snapshot.
    pub id: u64,
    /// SHA-256 of the files of the process's shards, hexadecimal, in the order of their numbers.
    pub hashes: Vec<String>,
}

impl Snapshot {
    /// Narrows a snapshot of all shards to the `shards` shards of one process, from number `first` on.
    pub fn of(&self, first: u32, shards: u32) -> Snapshot {
        let hashes = self.hashes.iter().skip(first as usize).take(shards as usize).cloned().collect();
        Snapshot { id: self.id, hashes }
    }
}

/// An order of the coordinator to a shard process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardOrder {
    /// Write each shard `k` of the process into `id/shard-k`, and answer when the files are durable.
    Snapshot {
        /// Number of the snapshot.
        id: u64,
    },
    /// Exit after the reply, since the run has ended: with 0 unless it was interrupted.
    Finish {
        /// Whether the run can go on.
        interrupted: bool,
    },
}

/// The state of a shard; counters start with its process unless they say otherwise.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ShardStatus {
    /// Shard number.
    pub shard: u32,
    /// Number of blocks that the shard owns.
    pub blocks: u32,
    /// Number of updates applied, one for each pushed block.
    pub updates: u64,
    /// Number of pushes that had been applied before and were not applied again.
    pub repeated: u64,
    /// Number of pushes refused.
    pub refused: u64,
    /// Sum of the staleness of all updates applied.
    pub staleness_sum: u64,
    /// Largest staleness of an update applied.
    pub staleness_max: u64,
    /// Bytes of gradients received, as f32 in memory.
    pub bytes_in: u64,
    /// Bytes of parameters sent, as f32 in memory.
    pub bytes_out: u64,
    /// Learning rate of the newest update.
    pub learning_rate: f64,
    /// SHA-256, hexadecimal, of the snapshot file that was just written; only in the answer to a snapshot
    /// order.
    pub snapshot_hash: Option<String>,
    /// Samples applied to the block of the shard that has most, since the start of the run. The number falls
    /// only when the shard is restored from a file, by what was lost.
    pub samples: u64,
}

/// What a run is doing, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Server processes or workers are missing; nothing is trained.
    Waiting,
    /// Workers train.
    Training,
    /// All samples are used; the last evaluation or the last snapshot is being made.
    Evaluating,
    /// The run is complete.
    Finished,
    /// The run was stopped since its loss or its gradients grew beyond bounds.
    Diverged,
    /// The run was stopped since its data or settings do not let it go on, as when over 5 % of the images are
    /// unreadable.
    Failed,
    /// The server is being stopped; the run can be resumed.
    Interrupted,
}

impl fmt::Display for RunState {
    /// Writes the state's name in small letters, as `training`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RunState::Waiting => "waiting",
            RunState::Training => "training",
            RunState::Evaluating => "evaluating",
            RunState::Finished => "finished",
            RunState::Diverged => "diverged",
            RunState::Failed => "failed",
            RunState::Interrupted => "interrupted",
        })
    }
}

/// The state of a whole run, for whoever watches it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RunStatus {
    /// What the run is doing, or how it ended.
    pub state: RunState,
    /// What the run waits for, or how it ended; empty otherwise.
    pub detail: String,
    /// Samples used so far.
    pub samples: u64,
    /// Samples in the whole run (0 until the first worker joined).
    pub total_samples: u64,
    /// Epoch, from 0.
    pub epoch: u64,
    /// Number of workers that are members now.
    pub workers: u32,
    /// Number of leases that workers hold now.
    pub leases: u32,
    /// Newest line of training metrics; none before the first.
    pub latest: Option<TrainingLine>,
    /// All evaluations so far.
    pub evaluations: Vec<Evaluation>,
    /// Layout that the shards hold; none until one has adopted it. `downpour fetch` needs it.
    pub layout: Option<Layout>,
    /// Configuration of the run.
    pub configuration: RunConfiguration,
    /// Class names in label order (empty until the first worker joined).
    pub classes: Vec<String>,
    /// Address of each shard.
    pub shards: Vec<String>,
    /// Hash of the data set; empty until the first worker joined.
    pub data_hash: String,
    /// Number of training images so far that could not be read.
    pub unreadable: u64,
}

/// One line of training metrics, over the time since the line before and all workers together.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TrainingLine {
    /// Global step: the number of minibatches whose push was acknowledged.
    pub step: u64,
    /// Epoch, from 0.
    pub epoch: u64,
    /// Samples used so far.
    pub samples: u64,
    /// Mean loss of the main head.
    pub loss: f64,
    /// Mean losses of the auxiliary heads.
    pub auxiliary_losses: Vec<f64>,
    /// Share of training images whose most probable class of the main head was right.
    pub top1: f64,
    /// Images a second.
    pub images_per_second: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Mean staleness.
    pub staleness_mean: f64,
    /// Largest staleness.
    pub staleness_max: u64,
    /// Bytes of gradients received by the shards, as f32 in memory.
    pub bytes_in: u64,
    /// Bytes of parameters sent by the shards, as f32 in memory.
    pub bytes_out: u64,
    /// Number of leases that workers hold.
    pub leases: u32,
    /// Number of workers that are members.
    pub workers: u32,
    /// Number of pushes refused.
    pub refused: u64,
}
