//! A worker's membership of the run.

use crate::{fields::same_fields, proto};

/// A worker's membership of the run, which begins when the worker joins and ends when it leaves or is silent
/// for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Member {
    /// Number of the worker, from 0, given at each join; unique until the coordinator is restarted.
    pub worker: u32,
    /// Number of the join, unique in the run. Calls of a membership that has ended are refused for good
    /// (fenced); to go on, the worker joins again and gets another number.
    pub incarnation: u64,
}

same_fields!(Member, proto::Member { worker, incarnation });
