//! Adoption: the messages by which a shard learns the layout of the network.

use parameters::{Fingerprint, Layout};

use super::member::Member;
use crate::{
    fields::{FieldError, answer, required},
    proto,
};

/// The network's layout (the list of its tensors), as each joining worker sends it to each shard: a shard
/// without a layout adopts it, any other compares it with its own.
#[derive(Clone, Debug)]
pub struct AdoptRequest {
    /// Number of the shard that is to adopt the layout.
    pub shard: u32,
    /// Membership of the worker that brings the layout.
    pub member: Member,
    /// Layout of the network's parameters.
    pub layout: Layout,
}

/// A shard's answer to a worker that sent it the network's layout: the shard has the same layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptReply {
    /// Fingerprint of the shard's layout: a hash over all tensors of the network.
    pub fingerprint: Fingerprint,
}

impl From<AdoptRequest> for proto::AdoptRequest {
    fn from(AdoptRequest { shard, member, layout }: AdoptRequest) -> proto::AdoptRequest {
        proto::AdoptRequest { shard, layout: Some(layout.into()), member: Some(member.into()) }
    }
}

impl TryFrom<proto::AdoptRequest> for AdoptRequest {
    type Error = FieldError;

    fn try_from(request: proto::AdoptRequest) -> Result<AdoptRequest, FieldError> {
        Ok(AdoptRequest {
            shard: request.shard,
            member: required(request.member, "AdoptRequest", "member")?.try_into()?,
            layout: required(request.layout, "AdoptRequest", "layout")?.try_into()?,
        })
    }
}

impl From<AdoptReply> for proto::Adopted {
    fn from(AdoptReply { fingerprint }: AdoptReply) -> proto::Adopted {
        proto::Adopted { fingerprint: fingerprint.as_bytes().to_vec().into() }
    }
}

impl TryFrom<proto::Adopted> for AdoptReply {
    type Error = FieldError;

    fn try_from(proto::Adopted { fingerprint }: proto::Adopted) -> Result<AdoptReply, FieldError> {
        let unusable =
            |_| FieldError::new("Adopted", "fingerprint", "32 bytes", format!("{} bytes", fingerprint.len()));
        Ok(AdoptReply { fingerprint: fingerprint[..].try_into().map_err(unusable)? })
    }
}

answer!(AdoptReply, proto::AdoptReply, adopt_reply::Adopted);
