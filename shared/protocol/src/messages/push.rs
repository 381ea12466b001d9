//! Pushes: the blocks of a gradient, and the reply to each.

use super::{
    block::{BlockAnswer, write_block, write_differences},
    member::Member,
    refusal::Refusal,
    version::Version,
};
use parameters::BLOCK_VALUES;

use crate::{
    Values, Wire, codec,
    fields::{FieldError, required},
    proto,
};

/// Largest absolute value that an element of a gradient may have for a shard to apply it. Gradients of
/// networks that learn are smaller by many orders of magnitude; with a larger one the parameters, which are
/// updated in place, could overflow.
pub const LARGEST_GRADIENT: f32 = 1e18;

/// Most blocks of one request.
const MOST_PUSHED: usize = 1 << 12;

/// What a worker pushes to the shards, which depends on where the momentum is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum PushForm {
    /// A gradient: the shard keeps the momentum and adds the gradient to its own velocity.
    #[default]
    Gradient,
    /// A step: the worker keeps the momentum and combines the gradient with its own velocity and weight
    /// decay; the shard subtracts the step times the learning rate.
    Step,
}

/// A push: the gradient of one block of the parameters (a piece of one tensor), sent to the shard that owns
/// the block.
#[derive(Clone, Debug)]
pub struct BlockPush {
    /// Number of the shard that owns the block.
    pub shard: u32,
    /// Membership of the worker that pushes.
    pub member: Member,
    /// Number of the worker's minibatch that the push comes from, counted since the worker joined.
    pub step: u64,
    /// Index of the block among all blocks of the network's parameters, in the order of their layout.
    pub block: u32,
    /// The version of the block that the gradient was computed from, which is not ahead of the shard's.
    pub version: Version,
    /// Number of samples that the gradient is the mean over, at most those of a minibatch; 0 if it is what was left over
    /// of gradients before.
    pub samples: u32,
    /// Form of the push, which says what `gradient` holds.
    pub form: PushForm,
    /// Format of the published log that the worker follows: it has the log's values of `version` and wants what
    /// has changed since. `None` asks for the newest values whole.
    pub log: Option<Wire>,
    /// The mean gradient, or a step made of it: one value per weight of the block, each finite and of
    /// magnitude at most [`LARGEST_GRADIENT`].
    pub gradient: Values,
}

/// The answer to one pushed block.
#[derive(Clone, Debug, PartialEq)]
pub struct PushReply {
    /// Index of the block among all blocks of the network's parameters, in the order of their layout.
    pub block: u32,
    /// The values of the block from which the next gradient is to be computed, or what has changed of them
    /// (also if the push repeats one that was applied), or the refusal of the push.
    pub outcome: Result<BlockAnswer, Refusal>,
    /// Staleness: the number of updates of the block between the version that the gradient was computed from
    /// and this push; 0 if the push was not applied.
    pub staleness: u64,
}

impl From<PushForm> for proto::PushForm {
    fn from(form: PushForm) -> proto::PushForm {
        match form {
            PushForm::Gradient => proto::PushForm::Gradient,
            PushForm::Step => proto::PushForm::Step,
        }
    }
}

/// Reads the form of a push from its number in `message`.
pub(super) fn form(number: i32, message: &'static str) -> Result<PushForm, FieldError> {
    match proto::PushForm::try_from(number) {
        Ok(proto::PushForm::Gradient) => Ok(PushForm::Gradient),
        Ok(proto::PushForm::Step) => Ok(PushForm::Step),
        Err(_) => Err(FieldError::new(message, "form", "0 or 1", number.to_string())),
    }
}

/// Encodes pushes, with gradients in the format `wire` unless they are encoded already, and asks for replies
/// in that format, or from the log that a push names: one request for each run of consecutive pushes of the
/// same step, or more if the run is long.
pub(crate) fn push_requests(pushes: Vec<BlockPush>, wire: Wire) -> Vec<proto::PushRequest> {
    let mut requests: Vec<proto::PushRequest> = Vec::new();
    for BlockPush { shard, member, step, block, version, samples, form, log, gradient } in pushes {
        let form = proto::PushForm::from(form).into();
        let (member, answer) = (Some(member.into()), codec::number(log.unwrap_or(wire)));
        let same = requests.last().filter(|request| request.blocks.len() < MOST_PUSHED).is_some_and(|r| {
            (r.member, r.step, r.samples, r.form, r.wire) == (member, step, samples, form, answer)
        });
        if !same {
            let blocks = Vec::new();
            requests.push(proto::PushRequest { member, step, samples, wire: answer, form, blocks });
        }
        let (wire, gradient) = gradient.encode(wire);
        let block = proto::GradientBlock { shard, block, version: Some(version.into()), gradient, wire };
        requests.last_mut().expect("there is one for this step").blocks.push(block);
    }
    requests
}

/// One block of a push as it arrived.
pub(crate) struct ArrivedBlock {
    /// Number of the shard.
    pub(crate) shard: u32,
    /// Index of the block in the layout.
    pub(crate) block: u32,
    /// Bytes of the encoded gradient.
    pub(crate) bytes: usize,
    /// The push, if it is usable.
    pub(crate) push: Result<BlockPush, FieldError>,
}

/// Decodes the block pushes of a request independently: an unusable one does not affect the others. Of a
/// request with too many none is usable, and those beyond the most are left out.
pub(crate) fn arrived_blocks(request: proto::PushRequest) -> impl Iterator<Item = ArrivedBlock> {
    let proto::PushRequest { member, step, samples, wire, form, blocks } = request;
    let found = blocks.len();
    let read = move |block: proto::GradientBlock| {
        if found > MOST_PUSHED {
            let expected = format!("at most {MOST_PUSHED} blocks");
            return Err(FieldError::new("PushRequest", "blocks", expected, found));
        }
        let answer = codec::any_format(wire, "PushRequest")?;
        let wire = codec::any_format(block.wire, "GradientBlock")?;
        let gradient = Values::decode(wire, block.gradient, "GradientBlock", "gradient")?;
        Ok(BlockPush {
            shard: block.shard,
            member: required(member, "PushRequest", "member")?.try_into()?,
            step,
            block: block.block,
            version: required(block.version, "GradientBlock", "version")?.into(),
            samples,
            form: self::form(form, "PushRequest")?,
            log: (!answer.is_whole()).then_some(answer),
            gradient,
        })
    };
    blocks.into_iter().take(MOST_PUSHED).map(move |arrived| {
        let (shard, block, bytes) = (arrived.shard, arrived.block, arrived.gradient.len());
        ArrivedBlock { shard, block, bytes, push: read(arrived) }
    })
}

/// Returns the format of whole values in the reply to a request for the format `wire`.
fn whole(wire: Wire) -> Wire {
    if wire.is_whole() { wire } else { Wire::F32 }
}

/// Encodes the reply to one pushed block, which was asked for in the format `wire`.
pub(crate) fn block_reply(reply: PushReply, wire: Wire) -> proto::BlockReply {
    use proto::block_reply::Outcome;
    let outcome = match reply.outcome {
        Ok(BlockAnswer::Values(block)) => Outcome::Block(write_block(block, whole(wire))),
        Ok(BlockAnswer::Differences(block)) => Outcome::Differences(write_differences(block, wire)),
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
            Outcome::Block(block) => (block.block, Ok(BlockAnswer::Values(block.try_into()?))),
            Outcome::Differences(block) => (block.block, Ok(BlockAnswer::Differences(block.try_into()?))),
            Outcome::Refused(proto::RefusedBlock { block, refusal }) => {
                (block, Err(required(refusal, "RefusedBlock", "refusal")?.try_into()?))
            }
        };
        Ok(PushReply { block, outcome, staleness: reply.staleness })
    }
}

impl proto::PushRequest {
    /// Returns the bytes of the encoded gradients.
    pub(crate) fn value_bytes(&self) -> u64 {
        self.blocks.iter().map(|block| block.gradient.len() as u64).sum()
    }

    /// Returns how many bytes of encoded parameters the reply may have: those of whole values.
    pub(crate) fn reply_bytes(&self) -> usize {
        let Ok(reply) = codec::any_format(self.wire, "PushRequest").map(whole) else { return 0 };
        let values = |block: &proto::GradientBlock| {
            let wire = codec::any_format(block.wire, "GradientBlock").ok()?;
            let values = codec::of(wire).count(&block.gradient).ok()?;
            (values <= BLOCK_VALUES).then(|| codec::encoded_size(reply, values))
        };
        self.blocks.iter().filter_map(values).sum()
    }
}

impl proto::PushReply {
    /// Returns the bytes of the encoded parameters.
    pub(crate) fn value_bytes(&self) -> u64 {
        self.blocks.iter().map(proto::BlockReply::value_bytes).sum()
    }
}

impl proto::BlockReply {
    /// Returns the bytes of the encoded parameters; none for a refusal.
    pub(crate) fn value_bytes(&self) -> u64 {
        match &self.outcome {
            Some(proto::block_reply::Outcome::Block(block)) => block.values.len() as u64,
            Some(proto::block_reply::Outcome::Differences(block)) => {
                block.differences.iter().map(|one| one.len() as u64).sum()
            }
            _ => 0,
        }
    }
}
