//! A worker's membership of the run.

use crate::{fields::same_fields, proto};

/// A worker's membership of the run: the worker and its join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Member {
    /// Number of the worker, unique in the run.
    pub worker: u32,
    /// Number of the join, unique in the run; an incarnation that has expired stays excluded (fenced).
    pub incarnation: u64,
}

same_fields!(Member, proto::Member { worker, incarnation });
