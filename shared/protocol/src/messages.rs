//! The messages of both services as the domain's own types, one file each with its conversion to and from the
//! generated type, which does not leave this crate. Messages from the network are checked there, field by
//! field.

mod adopt;
mod assign;
mod block;
mod configuration;
mod credentials;
mod data;
mod ending;
mod evaluation;
mod fetch;
mod join;
mod layout;
mod lease;
mod life;
mod member;
mod mistake;
mod order;
mod overview;
mod picture;
mod push;
mod refusal;
mod register;
mod report;
mod roster;
mod run_status;
mod scores;
mod shard_ledger;
mod shard_status;
mod snapshot;
mod staleness_counts;
mod steer;
#[cfg(test)]
mod tests;
mod training_line;
mod update_rule;
mod version;
mod worst_mistakes;

/// The number format in which gradients and parameters travel.
pub use settings::Wire;

pub use self::{
    adopt::{AdoptReply, AdoptRequest},
    assign::Assignment,
    block::{BlockAnswer, BlockDifferences, BlockValues},
    data::DataDescription,
    ending::{Ending, LARGEST_LOSS},
    evaluation::{Evaluation, EvaluationOrder, EvaluationPart},
    fetch::{FetchRequest, Kind},
    join::{JoinReply, JoinRequest},
    lease::{Lease, LeaseProgress},
    life::{Life, NoRunId, RunId},
    member::Member,
    mistake::{LARGEST_MISTAKE, MOST_MISTAKES, Mistake},
    order::ShardOrder,
    overview::{
        MOST_OVERSEEN, MOST_WARNING, MOST_WARNINGS, Overview, ShardOverview, Warning, WorkerOverview,
    },
    picture::{
        LARGEST_PICTURE, LabelsRequest, LentData, MOST_PICTURES, PIECE, PictureEnd, PicturePiece,
        ReadRequest, page_of_labels,
    },
    push::{BlockPush, LARGEST_GRADIENT, PushForm, PushReply},
    refusal::Refusal,
    register::{Holding, RegisterReply, RegisterRequest, ShardFiles},
    report::{GradientNorms, Report, StepMetrics},
    roster::{MOST_LISTED, MOST_MEMBERS, Roster, RosterEntry},
    run_status::{RunState, RunStatus},
    scores::Scores,
    shard_ledger::ShardLedger,
    shard_status::ShardStatus,
    snapshot::Snapshot,
    staleness_counts::StalenessCounts,
    steer::{Caller, RATE_FACTORS, Steered, Steering},
    training_line::TrainingLine,
    update_rule::UpdateRule,
    version::Version,
    worst_mistakes::WorstMistakes,
};
pub(crate) use self::{
    block::write_block,
    fetch::fetch_reply,
    push::{ArrivedBlock, arrived_blocks, block_reply, push_requests},
    refusal::Answer,
};

/// Version of the protocol, raised when a message changes its meaning. Workers and shard processes of any
/// other version are refused when they join or register.
pub const PROTOCOL_VERSION: u32 = 17;
