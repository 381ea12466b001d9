//! What the services say to each other, in the domain's own types; the generated ones stop at this crate's edge.

use configuration::RunConfiguration;
use parameters::{Fingerprint, Layout};

use crate::Values;

/// Raised when a message changes its meaning; Join refuses any other.
pub const PROTOCOL_VERSION: u32 = 4;

/// What a worker or a shard process is told when it may not go on as it asked.
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

/// Identifies a block's state: never goes back. A shard restored from a file starts a new generation.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Version {
    /// Raised by every restore of the shard.
    pub generation: u64,
    /// Updates applied to the block since the start of the run.
    pub counter: u64,
}

/// How numbers travel.
pub use configuration::Wire;

/// The count and hash of a data set, and its class names in label order.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DataDescription {
    /// Training images.
    pub images: u64,
    /// Validation images.
    pub validation: u64,
    /// Hash of what is in the data set, in one of the forms that `Data` in `coordinator.proto` says.
    pub hash: String,
    /// Class names; the position is the label.
    pub classes: Vec<String>,
}

/// A worker asks to become a member.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// Must equal [`PROTOCOL_VERSION`].
    pub protocol: u32,
    /// A name for logs (host and process).
    pub name: String,
    /// What the worker trains on.
    pub data: DataDescription,
}

/// A worker's membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Member {
    /// Number of the worker, unique in the run.
    pub worker: u32,
    /// Unique among all joins of the run; an expired one is fenced for good.
    pub incarnation: u64,
}

/// What a worker needs to take part.
#[derive(Clone, Debug)]
pub struct JoinReply {
    /// The new membership.
    pub member: Member,
    /// The run's configuration with everything decided (classes, epochs).
    pub configuration: RunConfiguration,
    /// How the shards apply what is pushed; handed on to every shard with the layout.
    pub plan: Plan,
    /// Address of each shard, by shard number ("host:port"; several shards may share one).
    pub shards: Vec<String>,
}

/// Everything a shard must know beside the layout, the same for all shards of a run.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Plan {
    /// Seed of the run: initial values.
    pub seed: u64,
    /// Base learning rate.
    pub learning_rate: f64,
    /// Factor of each stair of the schedule (0.96).
    pub stair_factor: f64,
    /// Samples per stair (8 epochs).
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
    /// SHA-256, hexadecimal, of the model file whose tensors the run starts with; none: all start by their initialisers.
    #[serde(default)]
    pub init_sha256: Option<String>,
    /// [Patterns](parameters::pattern) of the names of tensors that start by their initialisers all the same.
    #[serde(default)]
    pub init_except: Vec<String>,
}

/// Sent by each joining worker to each shard: an empty shard adopts it, another compares.
#[derive(Clone, Debug)]
pub struct AdoptRequest {
    /// Which shard of the process.
    pub shard: u32,
    /// The network's parameters.
    pub layout: Layout,
    /// The run's plan.
    pub plan: Plan,
}

/// A shard's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptReply {
    /// Fingerprint of the layout that the shard holds.
    pub fingerprint: Fingerprint,
}

/// Which values of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The parameters that updates are applied to.
    Parameters,
    /// Their Polyak average, frozen at the first fetch that names this evaluation.
    Average {
        /// The evaluation that it is for; 0 reads the average as it is now, not frozen.
        evaluation: u64,
    },
}

/// Largest absolute value of a gradient that a shard applies. Gradients of networks that learn are smaller by
/// many orders; a larger one could overflow in the update, which is made in place.
pub const LARGEST_GRADIENT: f32 = 1e18;

/// Largest loss of a minibatch before the run counts as diverged, which no network comes back from: the
/// gradients that belong to such losses are those that shards refuse.
pub const LARGEST_LOSS: f32 = 1e12;

/// One gradient block on its way to its shard.
#[derive(Clone, Debug)]
pub struct BlockPush {
    /// Which shard of the process.
    pub shard: u32,
    /// Who pushes.
    pub member: Member,
    /// The worker's step, counting up within the incarnation.
    pub step: u64,
    /// Index of the block in the layout.
    pub block: u32,
    /// The version of the block that the gradient was computed from.
    pub version: Version,
    /// Samples behind the gradient.
    pub samples: u32,
    /// The mean gradient: finite, and at most [`LARGEST_GRADIENT`].
    pub gradient: Vec<f32>,
}

/// What became of a pushed block.
#[derive(Clone, Debug, PartialEq)]
pub struct PushReply {
    /// Index of the block.
    pub block: u32,
    /// `Ok`: the block to compute the next gradient from (also when this one had been applied before). `Err`: why not.
    pub outcome: Result<BlockValues, Refusal>,
    /// Updates that were applied between the state that the gradient was computed from and this push.
    pub staleness: u64,
}

/// One block.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockValues {
    /// Index of the block.
    pub block: u32,
    /// Its version.
    pub version: Version,
    /// Its values.
    pub values: Values,
}

/// What a worker is to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Assignment {
    /// Train on positions `start..end` of the epoch's shuffled order.
    Train(Lease),
    /// Evaluate the average and the last iterate on the whole validation set.
    Evaluate(EvaluationOrder),
    /// Nothing now; ask again after so many milliseconds.
    Wait {
        /// Pause before the next request.
        milliseconds: u64,
        /// What is being waited for (for the log).
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
    /// A loss that is not finite or far too large, or too many refused pushes: says which rate to try.
    Diverged(String),
    /// The run cannot go on with what it was given (over 5 % of the images unreadable): says what and what to do.
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
    /// First position.
    pub start: u64,
    /// One past the last position.
    pub end: u64,
}

/// An evaluation given to one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluationOrder {
    /// Number of the evaluation, unique in the run.
    pub id: u64,
    /// Samples that the run had used when it was ordered.
    pub samples: u64,
    /// True for the last one: the worker also writes the model file.
    pub last: bool,
}

/// Top-1, top-5 (as fractions) and mean loss over the validation images.
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
    /// Samples that the run had used when it was ordered.
    pub samples: u64,
    /// Images evaluated.
    pub images: u64,
    /// Of the averaged parameters.
    pub average: Scores,
    /// Of the last iterate.
    pub last_iterate: Scores,
}

/// How far a worker got with a lease; everything counts from the lease's start, so a report may come twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseProgress {
    /// Number of the lease.
    pub lease: u64,
    /// Positions used: their push was acknowledged by every shard. Skipped ones not included.
    pub used: u64,
    /// Unreadable images met in this lease so far ("path: reason").
    pub skipped: Vec<String>,
    /// Positions behind which nothing is outstanding: used + skipped so far.
    pub consumed: u64,
    /// True when the worker will do no more of it: the rest goes back.
    pub closed: bool,
}

/// Sums over the minibatches since the last report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepMetrics {
    /// Minibatches.
    pub steps: u64,
    /// Images.
    pub images: u64,
    /// Sum over images of the main head's loss.
    pub main_loss: f64,
    /// Sums over images of the auxiliary heads' losses; empty without heads.
    pub auxiliary_losses: Vec<f64>,
    /// Right first guesses of the main head.
    pub correct: u64,
    /// Seconds of computing.
    pub compute_seconds: f64,
    /// Seconds of waiting for parameters, acknowledgements and images.
    pub wait_seconds: f64,
    /// Minibatches of which a push was refused as unusable (not finite, or far too large).
    pub refused: u64,
    /// True once a loss was not finite, or above [`LARGEST_LOSS`].
    pub diverged: bool,
}

/// Sent every few steps and at least every few seconds: progress, metrics, and a sign of life.
#[derive(Clone, Debug)]
pub struct Report {
    /// Who reports.
    pub member: Member,
    /// State of the leases it holds or just closed.
    pub progress: Vec<LeaseProgress>,
    /// What it did.
    pub metrics: StepMetrics,
    /// An evaluation that it finished.
    pub evaluation: Option<Evaluation>,
    /// True when it leaves: all its leases go back.
    pub leaving: bool,
}

/// A shard process registers with the coordinator.
#[derive(Clone, Debug)]
pub struct RegisterRequest {
    /// Must equal [`PROTOCOL_VERSION`].
    pub protocol: u32,
    /// Where workers reach it.
    pub address: String,
    /// Shards that it hosts.
    pub shards: u32,
    /// The shards that it holds; none when it has just started.
    pub holds: Option<Holding>,
}

/// The shards that a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Number of the first one.
    pub first_shard: u32,
    /// The coordinator's life in which they were placed or went back to a snapshot last.
    pub life: u64,
}

/// Which shards a process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterReply {
    /// Number of its first shard.
    pub first_shard: u32,
    /// Shards in the whole server.
    pub total_shards: u32,
    /// The newest complete snapshot: where shards of another life than this begin.
    pub restore: Option<Snapshot>,
    /// Counts the coordinator's starts.
    pub life: u64,
    /// Whether the address had registered in this life before.
    pub again: bool,
}

/// A complete snapshot, as a shard process knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its number.
    pub id: u64,
    /// SHA-256 of the files of the process's shards, hexadecimal, in the order of their numbers.
    pub hashes: Vec<String>,
}

impl Snapshot {
    /// What a process of `shards` shards is to know of a snapshot of all shards.
    pub fn of(&self, first: u32, shards: u32) -> Snapshot {
        let hashes = self.hashes.iter().skip(first as usize).take(shards as usize).cloned().collect();
        Snapshot { id: self.id, hashes }
    }
}

/// The coordinator tells a shard process to write its shards into snapshot `id`, or to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardOrder {
    /// Write `id/shard-k` for each shard hosted; answered when they are durable.
    Snapshot {
        /// Number of the snapshot.
        id: u64,
    },
    /// The run has ended: exit (after the reply), with 0 unless it was interrupted.
    Finish {
        /// Whether the run can go on.
        interrupted: bool,
    },
}

/// What a shard says about itself (counters since its process started, where nothing else is said).
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ShardStatus {
    /// Shard number.
    pub shard: u32,
    /// Blocks that it owns.
    pub blocks: u32,
    /// Updates applied (block pushes).
    pub updates: u64,
    /// Pushes seen before and not applied again.
    pub repeated: u64,
    /// Pushes refused.
    pub refused: u64,
    /// Sum and maximum of staleness over the updates applied.
    pub staleness_sum: u64,
    /// Largest staleness of one update.
    pub staleness_max: u64,
    /// Bytes of gradients received, as f32 in memory.
    pub bytes_in: u64,
    /// Bytes of parameters sent, as f32 in memory.
    pub bytes_out: u64,
    /// Learning rate of the newest update.
    pub learning_rate: f64,
    /// Hash of the file just written, after a snapshot order (hexadecimal sha-256).
    pub snapshot_hash: Option<String>,
    /// Samples behind that block of the shard that has most of them, since the start of the run; they only fall when
    /// the shard comes back from a file, by what it lost.
    pub samples: u64,
}

/// State of the whole run, for whoever watches.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RunStatus {
    /// "waiting", "training", "evaluating", "finished", "diverged", "failed", "interrupted".
    pub state: String,
    /// What is being waited for, or how the run ended; empty otherwise.
    pub detail: String,
    /// Samples used.
    pub samples: u64,
    /// Samples in the whole run (0 until the first worker joined).
    pub total_samples: u64,
    /// Epoch, from 0.
    pub epoch: u64,
    /// Members now.
    pub workers: u32,
    /// Leases out now.
    pub leases: u32,
    /// Newest training metrics line.
    pub latest: Option<TrainingLine>,
    /// All evaluations so far.
    pub evaluations: Vec<Evaluation>,
    /// Layout that the shards hold (None until one adopted); what `downpour fetch` needs.
    pub layout: Option<Layout>,
    /// Configuration of the run.
    pub configuration: RunConfiguration,
    /// Class names in label order (empty until the first worker joined).
    pub classes: Vec<String>,
    /// Address of each shard.
    pub shards: Vec<String>,
    /// Hash of the data; empty until the first worker joined.
    pub data_hash: String,
    /// Training images met so far that could not be read.
    pub unreadable: u64,
}

/// One line of training metrics, over the time since the line before.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TrainingLine {
    /// Global step: minibatches whose push was acknowledged.
    pub step: u64,
    /// Epoch, from 0.
    pub epoch: u64,
    /// Samples used so far.
    pub samples: u64,
    /// Mean loss of the main head.
    pub loss: f64,
    /// Mean losses of the auxiliary heads.
    pub auxiliary_losses: Vec<f64>,
    /// Share of right first guesses of the main head, in training.
    pub top1: f64,
    /// Images a second, all workers together.
    pub images_per_second: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Mean staleness.
    pub staleness_mean: f64,
    /// Largest staleness.
    pub staleness_max: u64,
    /// Bytes received and sent by the shards.
    pub bytes_in: u64,
    /// Bytes sent by the shards.
    pub bytes_out: u64,
    /// Leases out.
    pub leases: u32,
    /// Members.
    pub workers: u32,
    /// Pushes refused.
    pub refused: u64,
}
