//! Join: the messages by which a worker becomes a member of the run.

use settings::RunConfiguration;

use super::{configuration, data::DataDescription, member::Member, register::MOST_SHARDS};
use crate::{
    fields::{FieldError, answer, name, names, required},
    proto,
};

/// A worker's request to become a member of the run.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// Version of the worker's protocol, which must equal [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION).
    pub protocol: u32,
    /// Name of the worker in logs: host and process.
    pub name: String,
    /// Description of the worker's data set, which must be the same for all workers of a run.
    pub data: DataDescription,
}

/// The reply to a join: what a new member needs to take part in the run.
#[derive(Clone, Debug)]
pub struct JoinReply {
    /// The worker's new membership, by which it names itself in later calls.
    pub member: Member,
    /// The run's complete configuration, including the number of classes and of epochs.
    pub configuration: RunConfiguration,
    /// Address of each shard, by shard number ("host:port"; several shards may share one).
    pub shards: Vec<String>,
}

impl From<JoinRequest> for proto::JoinRequest {
    fn from(JoinRequest { protocol, name, data }: JoinRequest) -> proto::JoinRequest {
        proto::JoinRequest { protocol, name, data: Some(data.into()) }
    }
}

impl TryFrom<proto::JoinRequest> for JoinRequest {
    type Error = FieldError;

    fn try_from(request: proto::JoinRequest) -> Result<JoinRequest, FieldError> {
        Ok(JoinRequest {
            protocol: request.protocol,
            data: required(request.data, "JoinRequest", "data")?.try_into()?,
            name: name(request.name, "JoinRequest", "name")?,
        })
    }
}

impl From<JoinReply> for proto::Membership {
    fn from(JoinReply { member, configuration, shards }: JoinReply) -> proto::Membership {
        proto::Membership {
            member: Some(member.into()),
            configuration: configuration::write(&configuration),
            shards,
        }
    }
}

impl TryFrom<proto::Membership> for JoinReply {
    type Error = FieldError;

    fn try_from(membership: proto::Membership) -> Result<JoinReply, FieldError> {
        Ok(JoinReply {
            member: required(membership.member, "Membership", "member")?.try_into()?,
            configuration: configuration::read(&membership.configuration, "Membership")?,
            shards: names(membership.shards, MOST_SHARDS as usize, "Membership", "shards")?,
        })
    }
}

answer!(JoinReply, proto::JoinReply, join_reply::Membership);
