//! The roster: the members whose pushes shards take, and the evaluations that they freeze averages for.

use super::steer;
use crate::{
    fields::{FieldError, listed, same_fields},
    proto,
};

/// Most members of a run at a time.
pub const MOST_MEMBERS: usize = 1 << 12;

/// Most workers that a roster lists: members, and those that have just left.
pub const MOST_LISTED: usize = 1 << 14;

/// Most evaluations that a roster lists; a run has one open, and the last one beside it.
const MOST_EVALUATIONS: usize = 16;

/// The members of a run in one life of its server, as the coordinator tells them to the shards, which refuse
/// the pushes of everybody else.
#[derive(Clone, Debug, PartialEq)]
pub struct Roster {
    /// Version of the roster, which rises with every change; a shard ignores an older one of the same life.
    pub version: u64,
    /// Number that the next worker to join will get. A worker with a lower number that is not listed has left
    /// or expired; one with a higher number joined after this version.
    pub next_worker: u32,
    /// Members at present.
    pub members: Vec<RosterEntry>,
    /// Workers that have left or expired, until the coordinator knows from every shard what it applied of
    /// their pushes. Shards apply nothing more of them.
    pub departed: Vec<RosterEntry>,
    /// Number that the next evaluation to be ordered will get. One with a lower number that is not listed is
    /// done or was never ordered; one with a higher number was ordered after this version.
    pub next_evaluation: u64,
    /// Evaluations that are ordered and not done: the shards freeze an average for these and no others.
    pub evaluations: Vec<u64>,
    /// Factor on the learning rate of the schedule, as an operator set it; 1 if none did.
    pub rate_factor: f64,
}

/// A roster of nobody, with the learning rate as the schedule gives it.
impl Default for Roster {
    fn default() -> Roster {
        Roster {
            version: 0,
            next_worker: 0,
            members: Vec::new(),
            departed: Vec::new(),
            next_evaluation: 0,
            evaluations: Vec::new(),
            rate_factor: 1.0,
        }
    }
}

/// One worker in a roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RosterEntry {
    /// Number of the worker, unique in a life of the server.
    pub worker: u32,
    /// Random number of the worker's join.
    pub incarnation: u64,
}

same_fields!(RosterEntry, proto::RosterEntry { worker, incarnation });

impl From<Roster> for proto::Roster {
    fn from(roster: Roster) -> proto::Roster {
        let Roster { version, next_worker, members, departed, next_evaluation, evaluations, rate_factor } =
            roster;
        let entries = |entries: Vec<RosterEntry>| entries.into_iter().map(proto::RosterEntry::from).collect();
        let (members, departed) = (entries(members), entries(departed));
        proto::Roster {
            version,
            next_worker,
            members,
            departed,
            next_evaluation,
            evaluations,
            rate_factor: Some(rate_factor),
        }
    }
}

impl TryFrom<proto::Roster> for Roster {
    type Error = FieldError;

    fn try_from(roster: proto::Roster) -> Result<Roster, FieldError> {
        let proto::Roster {
            version,
            next_worker,
            members,
            departed,
            next_evaluation,
            evaluations,
            rate_factor,
        } = roster;
        let entries = |entries, most, field| -> Result<Vec<RosterEntry>, FieldError> {
            let entries: Vec<proto::RosterEntry> = listed(entries, most, "workers", "Roster", field)?;
            Ok(entries.into_iter().map(RosterEntry::from).collect())
        };
        Ok(Roster {
            version,
            next_worker,
            members: entries(members, MOST_MEMBERS, "members")?,
            departed: entries(departed, MOST_LISTED, "departed")?,
            next_evaluation,
            evaluations: listed(evaluations, MOST_EVALUATIONS, "evaluations", "Roster", "evaluations")?,
            rate_factor: steer::rate_factor(rate_factor.unwrap_or(1.0), "Roster", "rate_factor")?,
        })
    }
}
