//! Readers of messages as plain functions on bytes, for recorded traffic and for fuzzing.
//!
//! They are the readers that clients and servers use, and check every field of a message as on receipt.

use std::fmt::Display;

use bytes::Bytes;
use prost::Message;

use access::Credentials;

use crate::{
    client::frames::Frames,
    messages::{Answer, arrived_blocks, *},
    proto,
};

/// The reason why bytes cannot be read as a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReceiveError(String);

/// A function that decodes the bytes of one message and checks its fields as on receipt; it keeps no result
/// but whether the message can be used.
pub type Reader = fn(&[u8]) -> Result<(), ReceiveError>;

/// The readers of all requests and replies of the protocol that have fields, each with the message's name in
/// the `.proto` files; replies to fetches are missing, since [`fetched`] reads them.
pub const MESSAGES: [(&str, Reader); 26] = [
    ("JoinRequest", read::<proto::JoinRequest, JoinRequest>),
    ("JoinReply", read::<proto::JoinReply, Answer<JoinReply>>),
    ("AssignRequest", read::<proto::AssignRequest, (Member, u64)>),
    ("AssignReply", read::<proto::AssignReply, Answer<Assignment>>),
    ("ReportRequest", read::<proto::ReportRequest, (Report, u64)>),
    ("ReportReply", read::<proto::ReportReply, Answer<Option<Ending>>>),
    ("RegisterRequest", read::<proto::RegisterRequest, RegisterRequest>),
    ("RegisterReply", read::<proto::RegisterReply, Answer<RegisterReply>>),
    ("StatusReply", read::<proto::StatusReply, Answer<RunStatus>>),
    ("AdoptRequest", read::<proto::AdoptRequest, AdoptRequest>),
    ("AdoptReply", read::<proto::AdoptReply, Answer<AdoptReply>>),
    ("PushRequest", push_request),
    ("PushReply", push_reply),
    ("FetchRequest", read::<proto::FetchRequest, FetchRequest>),
    ("OrderRequest", read::<proto::OrderRequest, (Life, ShardOrder)>),
    ("OrderReply", read::<proto::OrderReply, Answer<Vec<ShardStatus>>>),
    ("ShardStatusReply", read::<proto::ShardStatusReply, Answer<Vec<ShardStatus>>>),
    ("CredentialsReply", read::<proto::CredentialsReply, Answer<Credentials>>),
    ("OverviewReply", read::<proto::OverviewReply, Answer<Overview>>),
    ("SteerRequest", read::<proto::SteerRequest, Steering>),
    ("SteerReply", read::<proto::SteerReply, Answer<Steered>>),
    ("DescribeReply", read::<proto::DescribeReply, Answer<Option<LentData>>>),
    ("LabelsRequest", read::<proto::LabelsRequest, LabelsRequest>),
    ("LabelsReply", read::<proto::LabelsReply, Answer<Vec<u32>>>),
    ("ReadRequest", read::<proto::ReadRequest, ReadRequest>),
    ("ReadReply", read::<proto::ReadReply, Answer<PicturePiece>>),
];

/// Reads the stream of replies to a fetch (a request for blocks of parameters) from its bytes, which may be
/// split into `parts` anywhere; returns, for each reply, the block or the refusal to send it.
///
/// # Errors
/// If the bytes are not the expected messages, or the stream ends in the middle of a message.
pub fn fetched<'a>(
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Result<BlockValues, Refusal>>, ReceiveError> {
    let mut frames = Frames::default();
    let mut blocks = Vec::new();
    for part in parts {
        frames.push(Bytes::copy_from_slice(part));
        while let Some(reply) = frames.message::<proto::FetchReply>().map_err(unusable)? {
            blocks.push(reply.try_into().map_err(unusable)?);
        }
    }
    frames.end().map_err(unusable)?;
    Ok(blocks)
}

fn unusable(reason: impl Display) -> ReceiveError {
    ReceiveError(reason.to_string())
}

fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, ReceiveError> {
    M::decode(Bytes::copy_from_slice(bytes)).map_err(unusable)
}

/// Reads a message and converts it to a `T`.
fn read<M: Message + Default, T: TryFrom<M, Error: Display>>(bytes: &[u8]) -> Result<(), ReceiveError> {
    T::try_from(decode(bytes)?).map(drop).map_err(unusable)
}

/// Reads every block of a push, also behind one that is unusable, as a server does.
fn push_request(bytes: &[u8]) -> Result<(), ReceiveError> {
    let blocks = arrived_blocks(decode(bytes)?).map(|arrived| arrived.push.map(drop).map_err(unusable));
    blocks.fold(Ok(()), Result::and)
}

fn push_reply(bytes: &[u8]) -> Result<(), ReceiveError> {
    let proto::PushReply { blocks } = decode(bytes)?;
    blocks.into_iter().try_for_each(|block| PushReply::try_from(block).map(drop).map_err(unusable))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `bytes` as the message of that name.
    fn text(name: &str, bytes: &[u8]) -> String {
        let (_, reader) = MESSAGES.iter().find(|(known, _)| *known == name).unwrap();
        reader(bytes).map_or_else(|error| error.to_string(), |()| "read".into())
    }

    #[test]
    fn every_message_says_what_it_lacks() {
        let empty = |name| text(name, &[]);
        assert_eq!(empty("JoinRequest"), "JoinRequest.data: expected a value, found none");
        assert_eq!(
            empty("FetchRequest"),
            "FetchRequest.wire: expected 1 (f32) or 2 (bf16) or 3 (8bit) or 4 (4bit) or 5 (1bit) or 6 (top1%) or 7 (top0.1%), found 0"
        );
        let without: Vec<&str> =
            MESSAGES.iter().map(|(name, _)| *name).filter(|name| empty(name) == "read").collect();
        assert_eq!(without, ["PushRequest", "PushReply", "LabelsRequest", "ReadRequest"], "may be empty");
        for (name, reader) in MESSAGES {
            let text = reader(&[0xff]).unwrap_err().to_string();
            assert!(text.starts_with("failed to decode Protobuf message"), "{name}: {text}");
        }
    }

    #[test]
    fn every_block_of_a_push_is_looked_at() {
        let block = |gradient: &[u8], version| proto::GradientBlock {
            gradient: gradient.to_vec().into(),
            version,
            wire: 1,
            ..Default::default()
        };
        let version = Some(proto::Version::default());
        let request = |blocks| {
            let member = Some(Member { worker: 0, incarnation: 1, life: Life::default() }.into());
            proto::PushRequest { member, wire: 1, blocks, ..Default::default() }.encode_to_vec()
        };
        assert_eq!(text("PushRequest", &request(vec![block(&[0; 4], version)])), "read");
        let (short, anonymous) = (block(&[0; 3], version), block(&[0; 4], None));
        assert_eq!(
            text("PushRequest", &request(vec![short, anonymous])),
            "GradientBlock.gradient: expected a multiple of 4 bytes, found 3 bytes"
        );
    }

    #[test]
    fn a_stream_is_read_however_it_was_cut() {
        let reply = |block| {
            let values = vec![0u8; 4].into();
            let version = Some(proto::Version::default());
            let outcome =
                proto::fetch_reply::Outcome::Block(proto::BlockValues { block, version, wire: 1, values });
            let message = proto::FetchReply { outcome: Some(outcome) }.encode_to_vec();
            [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat()
        };
        let stream = [reply(7), reply(8)].concat();
        for cut in [1, 4, 5, stream.len()] {
            let blocks = fetched(stream.chunks(cut)).unwrap();
            let numbers: Vec<u32> = blocks.into_iter().map(|block| block.unwrap().block).collect();
            assert_eq!(numbers, [7, 8], "parts of {cut} bytes");
        }
        let text = fetched([&stream[..stream.len() - 1]]).unwrap_err().to_string();
        assert!(text.contains("the stream ended"), "{text}");
        let text = fetched([&stream[..stream.len() / 2 + 5]]).unwrap_err().to_string();
        assert!(text.contains("the stream ended 5 bytes into a message"), "{text}");
    }
}
