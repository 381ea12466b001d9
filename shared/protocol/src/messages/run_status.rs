//! Status of a run, as observers see it.

use std::fmt;

use parameters::Layout;
use settings::RunConfiguration;

use super::{
    configuration,
    data::MOST_CLASSES,
    evaluation::Evaluation,
    life::{self, Life},
    refusal::Answer,
    register::MOST_SHARDS,
    training_line::TrainingLine,
};
use crate::{
    fields::{FieldError, listed, names},
    proto,
};

/// Most results of evaluations that a status lists; a message has no room for as many.
const MOST_EVALUATIONS: usize = 1 << 16;

/// State of a run: its current activity, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Waiting for server processes or workers; nothing is trained.
    Waiting,
    /// Training by at least one worker.
    Training,
    /// Last evaluation or last snapshot, after the run has trained on all of its samples.
    Evaluating,
    /// Completion: the run has trained on all of its samples, and its last evaluation and snapshot are done.
    Finished,
    /// Stop because training diverged: a loss was not finite or above [`LARGEST_LOSS`](crate::LARGEST_LOSS),
    /// or too many gradients were not finite or far too large, as most of the workers say.
    Diverged,
    /// Stop because the data or the settings do not let the run go on, as when over 5 % of the images are
    /// unreadable.
    Failed,
    /// Stop of the server, after which the run can be resumed.
    Interrupted,
    /// Pause by an operator: workers get no samples to train on until the run is resumed.
    Paused,
}

impl fmt::Display for RunState {
    /// Writes the state's name in lower case, such as `training`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RunState::Waiting => "waiting",
            RunState::Training => "training",
            RunState::Evaluating => "evaluating",
            RunState::Finished => "finished",
            RunState::Diverged => "diverged",
            RunState::Failed => "failed",
            RunState::Interrupted => "interrupted",
            RunState::Paused => "paused",
        })
    }
}

/// Status of a whole run, for observers.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RunStatus {
    /// Current activity of the run, or how it ended.
    pub state: RunState,
    /// Details of the state for people: what the run waits for, or how it ended; empty otherwise.
    pub detail: String,
    /// Number of samples that the run has trained on so far.
    pub samples: u64,
    /// Number of samples that the whole run trains on, over all epochs; 0 until the first worker has joined.
    pub total_samples: u64,
    /// Number of the current epoch, from 0.
    pub epoch: u64,
    /// Number of workers that take part in the run now (its members).
    pub workers: u32,
    /// Number of leases, ranges of samples to train on, that workers hold now.
    pub leases: u32,
    /// Newest line of training metrics; `None` before the first.
    pub latest: Option<TrainingLine>,
    /// Results of all evaluations so far, oldest first.
    pub evaluations: Vec<Evaluation>,
    /// Layout of the network's parameters (the names, shapes and order of its tensors), by which
    /// `downpour fetch` reads them from the shards; `None` until a shard of the coordinator's process has
    /// been given it by a worker.
    pub layout: Option<Layout>,
    /// Configuration of the run.
    pub configuration: RunConfiguration,
    /// Class names in label order; empty until the first worker has joined.
    pub classes: Vec<String>,
    /// Address, "host:port", of the process that holds each shard, by shard number.
    pub shards: Vec<String>,
    /// Hash of the run's data set, in the form of [`DataDescription::hash`](crate::DataDescription::hash);
    /// empty until the first worker has joined.
    pub data_hash: String,
    /// Number of training images so far that could not be read.
    pub unreadable: u64,
    /// Life of the server, which fetches from the shards name.
    pub life: Life,
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
            RunState::Paused => State::Paused,
        }
    }
}

/// Reads a run's state from its number in `message`.
pub(super) fn run_state(number: i32, message: &'static str) -> Result<RunState, FieldError> {
    use proto::status_reply::State;
    match State::try_from(number) {
        Ok(State::Waiting) => Ok(RunState::Waiting),
        Ok(State::Training) => Ok(RunState::Training),
        Ok(State::Evaluating) => Ok(RunState::Evaluating),
        Ok(State::Finished) => Ok(RunState::Finished),
        Ok(State::Diverged) => Ok(RunState::Diverged),
        Ok(State::Failed) => Ok(RunState::Failed),
        Ok(State::Interrupted) => Ok(RunState::Interrupted),
        Ok(State::Paused) => Ok(RunState::Paused),
        Ok(State::Unspecified) | Err(_) => Err(FieldError::new(message, "state", "1 to 8", number)),
    }
}

impl From<RunStatus> for proto::StatusReply {
    fn from(status: RunStatus) -> proto::StatusReply {
        let RunStatus { state, detail, samples, total_samples, epoch, workers, leases, latest, .. } = status;
        let RunStatus {
            evaluations,
            layout,
            configuration,
            classes,
            shards,
            data_hash,
            unreadable,
            life,
            ..
        } = status;
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
            life: Some(life.into()),
        }
    }
}

/// Converts a status, which is never refused, to the answer type that all calls share.
impl TryFrom<proto::StatusReply> for Answer<RunStatus> {
    type Error = FieldError;

    fn try_from(status: proto::StatusReply) -> Result<Answer<RunStatus>, FieldError> {
        Ok(Ok(RunStatus {
            configuration: configuration::read(&status.configuration, "StatusReply")?,
            state: run_state(status.state, "StatusReply")?,
            detail: status.detail,
            samples: status.samples,
            total_samples: status.total_samples,
            epoch: status.epoch,
            workers: status.workers,
            leases: status.leases,
            latest: status.latest.map(TrainingLine::try_from).transpose()?,
            evaluations: listed(
                status.evaluations,
                MOST_EVALUATIONS,
                "results",
                "StatusReply",
                "evaluations",
            )?
            .into_iter()
            .map(Evaluation::try_from)
            .collect::<Result<_, _>>()?,
            layout: status.layout.map(Layout::try_from).transpose()?,
            classes: listed(status.classes, MOST_CLASSES, "names", "StatusReply", "classes")?,
            data_hash: status.data_hash,
            unreadable: status.unreadable,
            shards: names(status.shards, MOST_SHARDS as usize, "StatusReply", "shards")?,
            life: life::life(status.life, "StatusReply")?,
        }))
    }
}
