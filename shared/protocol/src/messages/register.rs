//! Registration: the messages by which a shard process gets its place in the server.

use super::{
    life::{self, Life, RunId},
    roster::Roster,
    snapshot::Snapshot,
    update_rule::UpdateRule,
};
use crate::{
    fields::{FieldError, answer, listed, name, required},
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
    /// The shards that the process, or an earlier one on its disk, has kept files of; `None` if there are
    /// none.
    pub files: Option<ShardFiles>,
    /// Whether the process is about to stop and wants a snapshot to be taken first.
    pub stopping: bool,
}

/// The shards of a run (parts of the network's parameters) that a process finds files of on its disk, which
/// it held there before under this address or another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardFiles {
    /// Id of the run that the files belong to.
    pub run: RunId,
    /// Numbers of the shards.
    pub shards: Vec<u32>,
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
    /// Whether a process, at this address or another, had registered for these shards before since the
    /// coordinator's last start. If so, and if this one has just started, it goes on from its own newest
    /// snapshot files.
    pub again: bool,
    /// The run's update rule; `None` until the first worker has described its data.
    pub rule: Option<UpdateRule>,
    /// Members whose pushes the shards are to take.
    pub roster: Roster,
    /// Newest generation of these shards that the coordinator knows of since its last start; 0 if it knows of
    /// none. Shards that are restored from files begin a later one.
    pub generation: u64,
    /// Whether a snapshot that was ordered, or the one at the end of the run, is not done yet.
    pub snapshot_ordered: bool,
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

impl From<ShardFiles> for proto::ShardFiles {
    fn from(ShardFiles { run: RunId(run), shards }: ShardFiles) -> proto::ShardFiles {
        proto::ShardFiles { run_high: (run >> 64) as u64, run_low: run as u64, shards }
    }
}

impl TryFrom<proto::ShardFiles> for ShardFiles {
    type Error = FieldError;

    fn try_from(files: proto::ShardFiles) -> Result<ShardFiles, FieldError> {
        let proto::ShardFiles { run_high, run_low, shards } = files;
        let shards = listed(shards, MOST_SHARDS as usize, "shards", "ShardFiles", "shards")?;
        Ok(ShardFiles { run: RunId(u128::from(run_high) << 64 | u128::from(run_low)), shards })
    }
}

impl From<RegisterRequest> for proto::RegisterRequest {
    fn from(request: RegisterRequest) -> proto::RegisterRequest {
        let RegisterRequest { protocol, address, shards, holds, files, stopping } = request;
        let (holds, files) = (holds.map(proto::Holding::from), files.map(proto::ShardFiles::from));
        proto::RegisterRequest { protocol, address, shards, holds, files, stopping }
    }
}

impl TryFrom<proto::RegisterRequest> for RegisterRequest {
    type Error = FieldError;

    fn try_from(request: proto::RegisterRequest) -> Result<RegisterRequest, FieldError> {
        let proto::RegisterRequest { protocol, address, shards, holds, files, stopping } = request;
        let address = name(address, "RegisterRequest", "address")?;
        let holds = holds.map(Holding::try_from).transpose()?;
        let files = files.map(ShardFiles::try_from).transpose()?;
        Ok(RegisterRequest { protocol, address, shards, holds, files, stopping })
    }
}

impl From<RegisterReply> for proto::Registration {
    fn from(reply: RegisterReply) -> proto::Registration {
        proto::Registration {
            first_shard: reply.first_shard,
            total_shards: reply.total_shards,
            restore: reply.restore.map(proto::Snapshot::from),
            life: Some(reply.life.into()),
            again: reply.again,
            rule: reply.rule.map(proto::UpdateRule::from),
            roster: Some(reply.roster.into()),
            generation: reply.generation,
            snapshot_ordered: reply.snapshot_ordered,
        }
    }
}

impl TryFrom<proto::Registration> for RegisterReply {
    type Error = FieldError;

    fn try_from(registration: proto::Registration) -> Result<RegisterReply, FieldError> {
        let &proto::Registration { first_shard, total_shards, .. } = &registration;
        if !(1..=MOST_SHARDS).contains(&total_shards) {
            let expected = format!("1 to {MOST_SHARDS}");
            return Err(FieldError::new("Registration", "total_shards", expected, total_shards));
        }
        if first_shard >= total_shards {
            let expected = format!("below total_shards ({total_shards})");
            return Err(FieldError::new("Registration", "first_shard", expected, first_shard));
        }
        Ok(RegisterReply {
            first_shard,
            total_shards,
            restore: registration.restore.map(Snapshot::try_from).transpose()?,
            life: life::life(registration.life, "Registration")?,
            again: registration.again,
            rule: registration.rule.map(UpdateRule::try_from).transpose()?,
            roster: required(registration.roster, "Registration", "roster")?.try_into()?,
            generation: registration.generation,
            snapshot_ordered: registration.snapshot_ordered,
        })
    }
}

answer!(RegisterReply, proto::RegisterReply, register_reply::Registration);
