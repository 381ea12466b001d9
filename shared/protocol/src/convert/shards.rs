//! shards.proto.

use super::{Answer, FieldError, required};
use crate::{messages::*, proto, wire};

impl From<Version> for proto::Version {
    fn from(Version { generation, counter }: Version) -> proto::Version {
        proto::Version { generation, counter }
    }
}

impl From<proto::Version> for Version {
    fn from(proto::Version { generation, counter }: proto::Version) -> Version {
        Version { generation, counter }
    }
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
            plan: required(request.plan, "AdoptRequest", "plan")?.into(),
        })
    }
}

impl From<Answer<AdoptReply>> for proto::AdoptReply {
    fn from(answer: Answer<AdoptReply>) -> proto::AdoptReply {
        use proto::adopt_reply::Outcome;
        let outcome = match answer {
            Ok(AdoptReply { fingerprint }) => {
                Outcome::Adopted(proto::Adopted { fingerprint: fingerprint.as_bytes().to_vec().into() })
            }
            Err(refusal) => Outcome::Refusal(refusal.into()),
        };
        proto::AdoptReply { outcome: Some(outcome) }
    }
}

impl TryFrom<proto::AdoptReply> for Answer<AdoptReply> {
    type Error = FieldError;

    fn try_from(reply: proto::AdoptReply) -> Result<Answer<AdoptReply>, FieldError> {
        use proto::adopt_reply::Outcome;
        Ok(match required(reply.outcome, "AdoptReply", "outcome")? {
            Outcome::Adopted(proto::Adopted { fingerprint }) => {
                let bytes = fingerprint.len();
                let fingerprint = fingerprint[..].try_into().map_err(|_| {
                    FieldError::new("Adopted", "fingerprint", "32 bytes", format!("{bytes} bytes"))
                })?;
                Ok(AdoptReply { fingerprint })
            }
            Outcome::Refusal(refusal) => Err(refusal.try_into()?),
        })
    }
}

/// A push as it travels.
pub(crate) fn push_request(push: BlockPush, wire: Wire) -> proto::PushRequest {
    proto::PushRequest {
        shard: push.shard,
        member: Some(push.member.into()),
        step: push.step,
        block: push.block,
        version: Some(push.version.into()),
        samples: push.samples,
        wire: proto::Wire::from(wire).into(),
        gradient: wire::encode(wire, push.gradient),
    }
}

impl TryFrom<proto::PushRequest> for BlockPush {
    type Error = FieldError;

    fn try_from(push: proto::PushRequest) -> Result<BlockPush, FieldError> {
        Ok(BlockPush {
            shard: push.shard,
            member: required(push.member, "PushRequest", "member")?.into(),
            step: push.step,
            block: push.block,
            version: required(push.version, "PushRequest", "version")?.into(),
            samples: push.samples,
            gradient: wire::decode(push.wire, &push.gradient, "PushRequest", "gradient")?,
        })
    }
}

impl From<PushReply> for proto::PushReply {
    fn from(PushReply { block, outcome, staleness }: PushReply) -> proto::PushReply {
        use proto::push_reply::Outcome;
        let outcome = match outcome {
            Ok(version) => Outcome::Version(version.into()),
            Err(refusal) => Outcome::Refusal(refusal.into()),
        };
        proto::PushReply { block, outcome: Some(outcome), staleness }
    }
}

impl TryFrom<proto::PushReply> for PushReply {
    type Error = FieldError;

    fn try_from(reply: proto::PushReply) -> Result<PushReply, FieldError> {
        use proto::push_reply::Outcome;
        let outcome = match required(reply.outcome, "PushReply", "outcome")? {
            Outcome::Version(version) => Ok(version.into()),
            Outcome::Refusal(refusal) => Err(refusal.try_into()?),
        };
        Ok(PushReply { block: reply.block, outcome, staleness: reply.staleness })
    }
}

/// The average that a fetch names, if it wants one.
pub(crate) fn average_of(kind: Kind) -> Option<u64> {
    match kind {
        Kind::Parameters => None,
        Kind::Average { evaluation } => Some(evaluation),
    }
}

/// What a fetch wants, by the average that it names.
pub(crate) fn kind_of(average: Option<u64>) -> Kind {
    match average {
        None => Kind::Parameters,
        Some(evaluation) => Kind::Average { evaluation },
    }
}

/// A block, or why not, as it travels.
pub(crate) fn fetch_reply(answer: Answer<BlockValues>, wire: Wire) -> proto::FetchReply {
    use proto::fetch_reply::Outcome;
    let outcome = match answer {
        Ok(BlockValues { block, version, values }) => Outcome::Block(proto::BlockValues {
            block,
            version: Some(version.into()),
            wire: proto::Wire::from(wire).into(),
            values: wire::encode(wire, values),
        }),
        Err(refusal) => Outcome::Refusal(refusal.into()),
    };
    proto::FetchReply { outcome: Some(outcome) }
}

impl TryFrom<proto::FetchReply> for Answer<BlockValues> {
    type Error = FieldError;

    fn try_from(reply: proto::FetchReply) -> Result<Answer<BlockValues>, FieldError> {
        use proto::fetch_reply::Outcome;
        Ok(match required(reply.outcome, "FetchReply", "outcome")? {
            Outcome::Block(block) => Ok(BlockValues {
                block: block.block,
                version: required(block.version, "BlockValues", "version")?.into(),
                values: wire::decode(block.wire, &block.values, "BlockValues", "values")?,
            }),
            Outcome::Refusal(refusal) => Err(refusal.try_into()?),
        })
    }
}

impl From<ShardOrder> for proto::OrderRequest {
    fn from(order: ShardOrder) -> proto::OrderRequest {
        use proto::order_request::Order;
        let order = match order {
            ShardOrder::Snapshot { id } => Order::Snapshot(id),
            ShardOrder::Finish => Order::Finish(proto::Finish {}),
        };
        proto::OrderRequest { order: Some(order) }
    }
}

impl TryFrom<proto::OrderRequest> for ShardOrder {
    type Error = FieldError;

    fn try_from(request: proto::OrderRequest) -> Result<ShardOrder, FieldError> {
        use proto::order_request::Order;
        Ok(match required(request.order, "OrderRequest", "order")? {
            Order::Snapshot(id) => ShardOrder::Snapshot { id },
            Order::Finish(proto::Finish {}) => ShardOrder::Finish,
        })
    }
}

impl From<Answer<Vec<ShardStatus>>> for proto::OrderReply {
    fn from(answer: Answer<Vec<ShardStatus>>) -> proto::OrderReply {
        use proto::order_reply::Outcome;
        let outcome = match answer {
            Ok(shards) => Outcome::Shards(shards.into()),
            Err(refusal) => Outcome::Refusal(refusal.into()),
        };
        proto::OrderReply { outcome: Some(outcome) }
    }
}

impl TryFrom<proto::OrderReply> for Answer<Vec<ShardStatus>> {
    type Error = FieldError;

    fn try_from(reply: proto::OrderReply) -> Result<Answer<Vec<ShardStatus>>, FieldError> {
        use proto::order_reply::Outcome;
        Ok(match required(reply.outcome, "OrderReply", "outcome")? {
            Outcome::Shards(shards) => Ok(shards.into()),
            Outcome::Refusal(refusal) => Err(refusal.try_into()?),
        })
    }
}

impl From<Vec<ShardStatus>> for proto::ShardStatusReply {
    fn from(shards: Vec<ShardStatus>) -> proto::ShardStatusReply {
        proto::ShardStatusReply { shards: Some(shards.into()) }
    }
}

impl TryFrom<proto::ShardStatusReply> for Answer<Vec<ShardStatus>> {
    type Error = FieldError;

    fn try_from(reply: proto::ShardStatusReply) -> Result<Answer<Vec<ShardStatus>>, FieldError> {
        Ok(Ok(required(reply.shards, "ShardStatusReply", "shards")?.into()))
    }
}

impl From<Vec<ShardStatus>> for proto::ShardStatuses {
    fn from(shards: Vec<ShardStatus>) -> proto::ShardStatuses {
        let status = |s: ShardStatus| proto::ShardStatus {
            shard: s.shard,
            blocks: s.blocks,
            updates: s.updates,
            repeated_pushes: s.repeated,
            refused: s.refused,
            staleness_sum: s.staleness_sum,
            staleness_max: s.staleness_max,
            bytes_in: s.bytes_in,
            bytes_out: s.bytes_out,
            learning_rate: s.learning_rate,
            snapshot_hash: s.snapshot_hash,
        };
        proto::ShardStatuses { shards: shards.into_iter().map(status).collect() }
    }
}

impl From<proto::ShardStatuses> for Vec<ShardStatus> {
    fn from(statuses: proto::ShardStatuses) -> Vec<ShardStatus> {
        let status = |s: proto::ShardStatus| ShardStatus {
            shard: s.shard,
            blocks: s.blocks,
            updates: s.updates,
            repeated: s.repeated_pushes,
            refused: s.refused,
            staleness_sum: s.staleness_sum,
            staleness_max: s.staleness_max,
            bytes_in: s.bytes_in,
            bytes_out: s.bytes_out,
            learning_rate: s.learning_rate,
            snapshot_hash: s.snapshot_hash,
        };
        statuses.shards.into_iter().map(status).collect()
    }
}
