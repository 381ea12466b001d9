//! Assignments: the next work of a worker.

use super::{ending::Ending, evaluation::EvaluationOrder, lease::Lease, member::Member, refusal::Answer};
use crate::{
    fields::{FieldError, at_most, required},
    proto,
};

/// Longest pause that a worker can be told.
const LONGEST_WAIT_MILLISECONDS: u64 = 60_000;

/// An assignment of the coordinator: what a worker is to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Assignment {
    /// Training on the samples of a lease: those at the positions `start..end` of the epoch's shuffled order.
    Train(Lease),
    /// Evaluation of the averaged parameters on a part of the validation set.
    Evaluate(EvaluationOrder),
    /// A pause, after which the worker asks again.
    Wait {
        /// Length of the pause in milliseconds.
        milliseconds: u64,
        /// Reason of the pause for the log: what the run waits for.
        reason: String,
    },
    /// The end of the run, and how it ended.
    Finished(Ending),
    /// Departure: the worker hands in what it has done and leaves the run, which goes on.
    Leave {
        /// Reason for the log.
        reason: String,
    },
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
        Ok((required(request.member, "AssignRequest", "member")?.try_into()?, request.call))
    }
}

impl From<Answer<Assignment>> for proto::AssignReply {
    fn from(answer: Answer<Assignment>) -> proto::AssignReply {
        use proto::assign_reply::Outcome;
        let outcome = match answer {
            Ok(Assignment::Train(lease)) => Outcome::Train(lease.into()),
            Ok(Assignment::Evaluate(order)) => Outcome::Evaluate(order.into()),
            Ok(Assignment::Wait { milliseconds, reason }) => {
                Outcome::Wait(proto::Wait { milliseconds, reason })
            }
            Ok(Assignment::Finished(ending)) => Outcome::Finished(ending.into()),
            Ok(Assignment::Leave { reason }) => Outcome::Leave(proto::Leave { reason }),
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
            Outcome::Train(lease) => Ok(Assignment::Train(lease.try_into()?)),
            Outcome::Evaluate(order) => Ok(Assignment::Evaluate(order.into())),
            Outcome::Wait(proto::Wait { milliseconds, reason }) => {
                let milliseconds = at_most(milliseconds, LONGEST_WAIT_MILLISECONDS, "Wait", "milliseconds")?;
                Ok(Assignment::Wait { milliseconds, reason })
            }
            Outcome::Finished(ending) => Ok(Assignment::Finished(ending.try_into()?)),
            Outcome::Leave(proto::Leave { reason }) => Ok(Assignment::Leave { reason }),
            Outcome::Refusal(refusal) => Err(refusal.try_into()?),
        })
    }
}
