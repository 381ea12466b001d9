//! A worker's membership of the run.

use super::life::{self, Life};
use crate::{fields::FieldError, proto};

/// A worker's membership of the run, which begins when the worker joins and ends when it leaves or is silent
/// for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member {
    /// Number of the worker, from 0, given at each join; unique until the coordinator is restarted.
    pub worker: u32,
    /// Random number drawn for the join, which only the worker and the server know, so that nobody can call
    /// in another's name. Calls of a membership that has ended are refused for good (fenced); to go on, the
    /// worker joins again and gets another number.
    pub incarnation: u64,
    /// Life of the server in which the worker joined.
    pub life: Life,
}

impl From<Member> for proto::Member {
    fn from(Member { worker, incarnation, life }: Member) -> proto::Member {
        proto::Member { worker, incarnation, life: Some(life.into()) }
    }
}

impl TryFrom<proto::Member> for Member {
    type Error = FieldError;

    fn try_from(proto::Member { worker, incarnation, life }: proto::Member) -> Result<Member, FieldError> {
        Ok(Member { worker, incarnation, life: life::life(life, "Member")? })
    }
}
