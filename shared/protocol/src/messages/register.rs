//! Registration: the messages by which a shard process gets its place in the server.

use super::{
    life::{self, Life},
    roster::Roster,
    snapshot::Snapshot,
    update_rule::UpdateRule,
};
use crate::{
    fields::{FieldError, answer, name, required},
    proto,
};

/// Most shards of a server: as many processes as its flag takes, of as many shards.
pub(super) const MOST_SHARDS: u32 = 1 << 16;

/// A shard process's request to the coordinator for its place in the server, that is, for the shards (parts
/// of the network's parameters) that it is to hold; it is repeated every few seconds.
#[derive(Clone, Debug)]
pub struct RegisterRequest {
    /// Version of the process's protocol, which must equal [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION).
    pub protocol: u32,
    /// Address at which workers reach the process, "host:port".
    pub address: String,
    /// Number of shards that the process hosts.
    pub shards: u32,
    /// The shards that the process holds; `None` when it has just started.
    pub holds: Option<Holding>,
}

/// The shards (parts of the network's parameters) that a server process has in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Number of the first shard that the process holds; the numbers of the others follow.
    pub first_shard: u32,
    /// Life of the coordinator (the time from one start of its process to the next) in which the process got
    /// the shards, or last restored them from a snapshot.
    pub life: Life,
}

/// The coordinator's answer to a registration: which shards the process is to hold, and what they start from.
#[derive(Clone, Debug, PartialEq)]
pub struct RegisterReply {
    /// Number, among the shards of all processes, of the first shard that the registering process holds.
    pub first_shard: u32,
    /// Number of shards in the whole server.
    pub total_shards: u32,
    /// The newest complete snapshot, with the hashes of this process's files; `None` if there is none. A
    /// process restores its shards from it if it has just started or if they are from before the
    /// coordinator's last start.
    pub restore: Option<Snapshot>,
    /// The coordinator's life, the time from one start of its process to the next.
    pub life: Life,
    /// Whether a process at this address had registered before since the coordinator's last start. If so, and
    /// if it has just started itself, it goes on from its own newest snapshot files.
    pub again: bool,
    /// The run's update rule; `None` until the first worker has described its data.
    pub rule: Option<UpdateRule>,
    /// Members whose pushes the shards are to take.
    pub roster: Roster,
}

impl From<Holding> for proto::Holding {
    fn from(Holding { first_shard, life }: Holding) -> proto::Holding {
        proto::Holding { first_shard, life: Some(life.into()) }
    }
}

impl TryFrom<proto::Holding> for Holding {
    type Error = FieldError;

    fn try_from(proto::Holding { first_shard, life }: proto::Holding) -> Result<Holding, FieldError> {
        Ok(Holding { first_shard, life: life::life(life, "Holding")? })
    }
}

impl From<RegisterRequest> for proto::RegisterRequest {
    fn from(request: RegisterRequest) -> proto::RegisterRequest {
        let RegisterRequest { protocol, address, shards, holds } = request;
        proto::RegisterRequest { protocol, address, shards, holds: holds.map(proto::Holding::from) }
    }
}

impl TryFrom<proto::RegisterRequest> for RegisterRequest {
    type Error = FieldError;

    fn try_from(request: proto::RegisterRequest) -> Result<RegisterRequest, FieldError> {
        let proto::RegisterRequest { protocol, address, shards, holds } = request;
        let address = name(address, "RegisterRequest", "address")?;
        let holds = holds.map(Holding::try_from).transpose()?;
        Ok(RegisterRequest { protocol, address, shards, holds })
    }
}

impl From<RegisterReply> for proto::Registration {
    fn from(reply: RegisterReply) -> proto::Registration {
        let RegisterReply { first_shard, total_shards, restore, life, again, rule, roster } = reply;
        proto::Registration {
            first_shard,
            total_shards,
            restore: restore.map(proto::Snapshot::from),
            life: Some(life.into()),
            again,
            rule: rule.map(proto::UpdateRule::from),
            roster: Some(roster.into()),
        }
    }
}

impl TryFrom<proto::Registration> for RegisterReply {
    type Error = FieldError;

    fn try_from(registration: proto::Registration) -> Result<RegisterReply, FieldError> {
        let proto::Registration { first_shard, total_shards, restore, life, again, rule, roster } =
            registration;
        if !(1..=MOST_SHARDS).contains(&total_shards) {
            let expected = format!("1 to {MOST_SHARDS}");
            return Err(FieldError::new("Registration", "total_shards", expected, total_shards));
        }
        if first_shard >= total_shards {
            let expected = format!("below total_shards ({total_shards})");
            return Err(FieldError::new("Registration", "first_shard", expected, first_shard));
        }
        let rule = rule.map(UpdateRule::try_from).transpose()?;
        let restore = restore.map(Snapshot::try_from).transpose()?;
        let life = life::life(life, "Registration")?;
        let roster = required(roster, "Registration", "roster")?.try_into()?;
        Ok(RegisterReply { first_shard, total_shards, restore, life, again, rule, roster })
    }
}

answer!(RegisterReply, proto::RegisterReply, register_reply::Registration);
