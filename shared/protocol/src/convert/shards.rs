//! Conversion of the messages of `shards.proto`.

use super::{Answer, FieldError, required};
use crate::{Values, messages::*, proto, wire};

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

impl From<PushForm> for proto::PushForm {
    fn from(form: PushForm) -> proto::PushForm {
        match form {
            PushForm::Gradient => proto::PushForm::Gradient,
            PushForm::Step => proto::PushForm::Step,
        }
    }
}

pub(crate) fn push_form(number: i32, message: &'static str) -> Result<PushForm, FieldError> {
    match proto::PushForm::try_from(number) {
        Ok(proto::PushForm::Gradient) => Ok(PushForm::Gradient),
        Ok(proto::PushForm::Step) => Ok(PushForm::Step),
        Err(_) => Err(FieldError::new(message, "form", "0 or 1", number.to_string())),
    }
}

/// Encodes pushes: one request for each row of pushes that belong to the same step.
pub(crate) fn push_requests(pushes: Vec<BlockPush>, wire: Wire) -> Vec<proto::PushRequest> {
    let mut requests: Vec<proto::PushRequest> = Vec::new();
    for BlockPush { shard, member, step, block, version, samples, form, gradient } in pushes {
        let form = proto::PushForm::from(form).into();
        let member = Some(member.into());
        let same = requests
            .last()
            .is_some_and(|r| (r.member, r.step, r.samples, r.form) == (member, step, samples, form));
        if !same {
            let wire = proto::Wire::from(wire).into();
            requests.push(proto::PushRequest { member, step, samples, wire, form, blocks: Vec::new() });
        }
        let gradient = wire::encode(wire, gradient);
        let block = proto::GradientBlock { shard, block, version: Some(version.into()), gradient };
        requests.last_mut().expect("there is one for this step").blocks.push(block);
    }
    requests
}

/// Decodes the block pushes of a request, each on its own: one that is unusable leaves the others as they
/// are.
pub(crate) fn block_pushes(
    request: proto::PushRequest,
) -> impl Iterator<Item = (u32, Result<BlockPush, FieldError>)> {
    let proto::PushRequest { member, step, samples, wire, form, blocks } = request;
    let read = move |block: proto::GradientBlock| {
        let wire = wire::format(wire, "PushRequest")?;
        let gradient = Values::decode(wire, block.gradient, "GradientBlock", "gradient")?;
        Ok(BlockPush {
            shard: block.shard,
            member: required(member, "PushRequest", "member")?.into(),
            step,
            block: block.block,
            version: required(block.version, "GradientBlock", "version")?.into(),
            samples,
            form: push_form(form, "PushRequest")?,
            gradient: gradient.into_vec(),
        })
    };
    blocks.into_iter().map(move |block| (block.block, read(block)))
}

/// Encodes the reply to one pushed block.
pub(crate) fn block_reply(reply: PushReply, wire: Wire) -> proto::BlockReply {
    use proto::block_reply::Outcome;
    let outcome = match reply.outcome {
        Ok(block) => Outcome::Block(block_values(block, wire)),
        Err(refusal) => {
            Outcome::Refused(proto::RefusedBlock { block: reply.block, refusal: Some(refusal.into()) })
        }
    };
    proto::BlockReply { outcome: Some(outcome), staleness: reply.staleness }
}

impl TryFrom<proto::BlockReply> for PushReply {
    type Error = FieldError;

    fn try_from(reply: proto::BlockReply) -> Result<PushReply, FieldError> {
        use proto::block_reply::Outcome;
        let (block, outcome) = match required(reply.outcome, "BlockReply", "outcome")? {
            Outcome::Block(block) => (block.block, Ok(block.try_into()?)),
            Outcome::Refused(proto::RefusedBlock { block, refusal }) => {
                (block, Err(required(refusal, "RefusedBlock", "refusal")?.try_into()?))
            }
        };
        Ok(PushReply { block, outcome, staleness: reply.staleness })
    }
}

/// Returns the evaluation whose average a fetch names, or none for the parameters.
pub(crate) fn average_of(kind: Kind) -> Option<u64> {
    match kind {
        Kind::Parameters => None,
        Kind::Average { evaluation } => Some(evaluation),
    }
}

/// Returns which values a fetch asks for, by the evaluation that it names.
pub(crate) fn kind_of(average: Option<u64>) -> Kind {
    match average {
        None => Kind::Parameters,
        Some(evaluation) => Kind::Average { evaluation },
    }
}

/// Encodes a block.
fn block_values(BlockValues { block, version, values }: BlockValues, wire: Wire) -> proto::BlockValues {
    proto::BlockValues {
        block,
        version: Some(version.into()),
        wire: proto::Wire::from(wire).into(),
        values: values.encode(wire),
    }
}

impl TryFrom<proto::BlockValues> for BlockValues {
    type Error = FieldError;

    fn try_from(block: proto::BlockValues) -> Result<BlockValues, FieldError> {
        let wire = wire::format(block.wire, "BlockValues")?;
        Ok(BlockValues {
            block: block.block,
            version: required(block.version, "BlockValues", "version")?.into(),
            values: Values::decode(wire, block.values, "BlockValues", "values")?,
        })
    }
}

/// Encodes a block, or the refusal to send it.
pub(crate) fn fetch_reply(answer: Answer<BlockValues>, wire: Wire) -> proto::FetchReply {
    use proto::fetch_reply::Outcome;
    let outcome = match answer {
        Ok(block) => Outcome::Block(block_values(block, wire)),
        Err(refusal) => Outcome::Refusal(refusal.into()),
    };
    proto::FetchReply { outcome: Some(outcome) }
}

impl TryFrom<proto::FetchReply> for Answer<BlockValues> {
    type Error = FieldError;

    fn try_from(reply: proto::FetchReply) -> Result<Answer<BlockValues>, FieldError> {
        use proto::fetch_reply::Outcome;
        Ok(match required(reply.outcome, "FetchReply", "outcome")? {
            Outcome::Block(block) => Ok(block.try_into()?),
            Outcome::Refusal(refusal) => Err(refusal.try_into()?),
        })
    }
}

impl From<ShardOrder> for proto::OrderRequest {
    fn from(order: ShardOrder) -> proto::OrderRequest {
        use proto::order_request::Order;
        let order = match order {
            ShardOrder::Snapshot { id } => Order::Snapshot(id),
            ShardOrder::Finish { interrupted } => Order::Finish(proto::Finish { interrupted }),
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
            Order::Finish(proto::Finish { interrupted }) => ShardOrder::Finish { interrupted },
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
            samples: s.samples,
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
            samples: s.samples,
        };
        statuses.shards.into_iter().map(status).collect()
    }
}
