//! Fetches: the request for blocks, and the reply with each block.

use super::{
    block::BlockValues,
    layout::MOST_BLOCKS,
    life::{self, Life},
    refusal::Answer,
};
use crate::{
    Wire, codec,
    fields::{FieldError, listed, required},
    proto,
};

/// Kind of values that a fetch asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The parameters that updates are applied to.
    Parameters,
    /// The parameters as those workers know them that follow a log which the shards publish: what a worker
    /// starts from to follow it. They are at most one round of the workers' pushes old.
    View {
        /// Format of the log.
        log: Wire,
        /// Number of the worker, by which shards that publish several logs in a format tell which is its own.
        worker: u32,
    },
    /// The velocity that the shards keep for momentum; refused if the run's optimizer has none.
    Velocity,
    /// The Polyak average of the parameters. The first fetch for an evaluation freezes a copy of it, which
    /// later fetches for the same evaluation read; refused for one that is not ordered or is done.
    Average {
        /// Number of the evaluation that the average is for; 0 reads the current average instead of a frozen
        /// copy.
        evaluation: u64,
    },
}

/// A request for the values of some blocks (pieces of tensors) of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// Number of the shard that owns the blocks.
    pub shard: u32,
    /// Indexes of the blocks among all blocks of the network's parameters, in the order in which the blocks
    /// are to be sent.
    pub blocks: Vec<u32>,
    /// Kind of the values that are asked for.
    pub kind: Kind,
    /// Number format in which the values are to be sent; those of a view are sent as 32-bit floats.
    pub wire: Wire,
    /// Life of the server that the caller knows of, from its membership or from the run's status.
    pub life: Life,
}

impl From<FetchRequest> for proto::FetchRequest {
    fn from(FetchRequest { shard, blocks, kind, wire, life }: FetchRequest) -> proto::FetchRequest {
        let average_of_evaluation = match kind {
            Kind::Parameters | Kind::View { .. } | Kind::Velocity => None,
            Kind::Average { evaluation } => Some(evaluation),
        };
        let (wire, worker) = match kind {
            Kind::View { log, worker } => (codec::number(log), worker),
            _ => (codec::number(wire), 0),
        };
        let velocity = kind == Kind::Velocity;
        let life = Some(life.into());
        proto::FetchRequest { shard, blocks, wire, average_of_evaluation, velocity, life, worker }
    }
}

impl TryFrom<proto::FetchRequest> for FetchRequest {
    type Error = FieldError;

    fn try_from(request: proto::FetchRequest) -> Result<FetchRequest, FieldError> {
        let parameters = request.average_of_evaluation.is_none() && !request.velocity;
        let asked = match parameters {
            true => codec::any_format(request.wire, "FetchRequest")?,
            false => codec::whole_format(request.wire, "FetchRequest")?,
        };
        Ok(FetchRequest {
            shard: request.shard,
            blocks: listed(request.blocks, MOST_BLOCKS, "blocks", "FetchRequest", "blocks")?,
            kind: match (request.average_of_evaluation, request.velocity) {
                (None, false) if asked.is_whole() => Kind::Parameters,
                (None, false) => Kind::View { log: asked, worker: request.worker },
                (None, true) => Kind::Velocity,
                (Some(evaluation), false) => Kind::Average { evaluation },
                (Some(_), true) => {
                    let expected = "no velocity where an average is asked for";
                    return Err(FieldError::new("FetchRequest", "velocity", expected, true));
                }
            },
            wire: if asked.is_whole() { asked } else { Wire::F32 },
            life: life::life(request.life, "FetchRequest")?,
        })
    }
}

/// Makes a reply of an encoded block, or of the refusal to send it.
pub(crate) fn fetch_reply(answer: Answer<proto::BlockValues>) -> proto::FetchReply {
    use proto::fetch_reply::Outcome;
    let outcome = match answer {
        Ok(block) => Outcome::Block(block),
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
