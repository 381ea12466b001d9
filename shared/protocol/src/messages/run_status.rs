//! What whoever watches a run is told.

use std::fmt;

use parameters::Layout;
use settings::RunConfiguration;

use super::{configuration, evaluation::Evaluation, refusal::Answer, training_line::TrainingLine};
use crate::{fields::FieldError, proto};

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
        let RunStatus { state, detail, samples, total_samples, epoch, workers, leases, latest, .. } = status;
        let RunStatus { evaluations, layout, configuration, classes, shards, data_hash, unreadable, .. } =
            status;
        proto::StatusReply {
            state: proto::status_reply::State::from(state).into(),
            detail,
            samples,
            total_samples,
            epoch,
            workers,
            leases,
            latest: latest.map(proto::TrainingLine::from),
            evaluations: evaluations.into_iter().map(proto::Evaluation::from).collect(),
            layout: layout.map(proto::Layout::from),
            configuration: configuration::write(&configuration),
            classes,
            data_hash,
            unreadable,
            shards,
        }
    }
}

/// Whoever watches is refused nothing; the shape of an answer lets all calls be made in one way.
impl TryFrom<proto::StatusReply> for Answer<RunStatus> {
    type Error = FieldError;

    fn try_from(status: proto::StatusReply) -> Result<Answer<RunStatus>, FieldError> {
        Ok(Ok(RunStatus {
            configuration: configuration::read(&status.configuration, "StatusReply")?,
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
