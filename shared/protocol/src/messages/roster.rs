//! The roster: the members whose pushes shards take.

use crate::{
    fields::{FieldError, listed, same_fields},
    proto,
};

/// Most members of a run that a roster lists, those included that have just left.
pub const MOST_MEMBERS: usize = 1 << 14;

/// The members of a run in one life of its server, as the coordinator tells them to the shards, which refuse
/// the pushes of everybody else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    fn from(Roster { version, next_worker, members, departed }: Roster) -> proto::Roster {
        let entries = |entries: Vec<RosterEntry>| entries.into_iter().map(proto::RosterEntry::from).collect();
        proto::Roster { version, next_worker, members: entries(members), departed: entries(departed) }
    }
}

impl TryFrom<proto::Roster> for Roster {
    type Error = FieldError;

    fn try_from(roster: proto::Roster) -> Result<Roster, FieldError> {
        let proto::Roster { version, next_worker, members, departed } = roster;
        let entries = |entries, field| -> Result<Vec<RosterEntry>, FieldError> {
            let entries: Vec<proto::RosterEntry> = listed(entries, MOST_MEMBERS, "workers", "Roster", field)?;
            Ok(entries.into_iter().map(RosterEntry::from).collect())
        };
        Ok(Roster {
            version,
            next_worker,
            members: entries(members, "members")?,
            departed: entries(departed, "departed")?,
        })
    }
}
