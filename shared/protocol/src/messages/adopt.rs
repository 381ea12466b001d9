//! How a shard learns which network it holds a part of.

use parameters::{Fingerprint, Layout};

use super::update_rule::UpdateRule;
use crate::{
    fields::{FieldError, answer, required},
    proto,
};

/// The layout and update rule that each joining worker sends to each shard: an empty shard adopts them, any
/// other compares them with its own.
#[derive(Clone, Debug)]
pub struct AdoptRequest {
    /// Number of the shard.
    pub shard: u32,
    /// Layout of the network's parameters.
    pub layout: Layout,
    /// The run's update rule.
    pub plan: UpdateRule,
}

/// A shard's answer to an adoption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptReply {
    /// Fingerprint of the shard's layout.
    pub fingerprint: Fingerprint,
}

impl From<AdoptRequest> for proto::AdoptRequest {
    fn from(AdoptRequest { shard, layout, plan }: AdoptRequest) -> proto::AdoptRequest {
        proto::AdoptRequest { shard, layout: Some(layout.into()), plan: Some(plan.into()) }
    }
}

impl TryFrom<proto::AdoptRequest> for AdoptRequest {
    type Error = FieldError;

    fn try_from(request: proto::AdoptRequest) -> Result<AdoptRequest, FieldError> {
        Ok(AdoptRequest {
            shard: request.shard,
            layout: required(request.layout, "AdoptRequest", "layout")?.try_into()?,
            plan: required(request.plan, "AdoptRequest", "plan")?.try_into()?,
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
