//! What does not come through to the services: malformed messages, and messages over the limit.

use prost::Message;
use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tonic::transport::Channel;

use super::*;
use crate::proto::{coordinator_client::CoordinatorClient, shards_client::ShardsClient};

/// Behind a server that checks what comes in, nothing of what follows may arrive.
struct Unreached;

impl Coordinator for Unreached {
    fn join(&self, _: JoinRequest) -> Answer<JoinReply> {
        unreachable!("a malformed message came through")
    }
    fn assign(&self, _: Member, _: u64) -> Answer<Assignment> {
        unreachable!("a malformed message came through")
    }
    fn report(&self, _: Report, _: u64) -> Answer<Option<Ending>> {
        unreachable!("a malformed message came through")
    }
    fn register(&self, _: RegisterRequest) -> Answer<RegisterReply> {
        unreachable!("a malformed message came through")
    }
    fn status(&self) -> RunStatus {
        unreachable!("a malformed message came through")
    }
    fn overview(&self) -> Overview {
        unreachable!("a malformed message came through")
    }
    fn steer(&self, _: Steering, _: Caller) -> Answer<Steered> {
        unreachable!("a malformed message came through")
    }
}

impl Shards for Unreached {
    fn adopt(&self, _: AdoptRequest) -> Answer<AdoptReply> {
        panic!("a shard that fails")
    }
    fn push(&self, _: BlockPush) -> PushReply {
        unreachable!("a malformed message came through")
    }
    fn fetch(&self, _: Life, _: u32, _: u32, _: Kind) -> Answer<BlockValues> {
        unreachable!("a malformed message came through")
    }
    fn order(&self, _: Life, _: ShardOrder) -> Answer<Vec<ShardStatus>> {
        unreachable!("a malformed message came through")
    }
    fn carried(&self, _: u32, _: u64, _: u64) {
        unreachable!("a malformed message came through")
    }
    fn status(&self) -> Vec<ShardStatus> {
        unreachable!("a malformed message came through")
    }
}

/// A membership as it travels.
fn member() -> Option<proto::Member> {
    Some(Member { worker: 0, incarnation: 1, life: Life::default() }.into())
}

/// A channel that knows nothing of this crate's own checks.
async fn channel() -> Channel {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (coordinator, shards) = (Arc::new(Unreached), Arc::new(Unreached));
    tokio::spawn(serve(listener, Access::Open, Some(coordinator), Some(shards), pending()));
    transport::endpoint(&address, Duration::from_secs(1)).unwrap().connect().await.unwrap()
}

fn invalid(text: &str) -> proto::Refusal {
    Refusal::Invalid(text.into()).into()
}

fn block(block: u32, bytes: usize) -> proto::GradientBlock {
    let version = Some(proto::Version::default());
    proto::GradientBlock { shard: 0, block, version, gradient: vec![0; bytes].into(), wire: 1 }
}

fn push(blocks: Vec<proto::GradientBlock>) -> proto::PushRequest {
    let member = member();
    proto::PushRequest { member, step: 1, samples: 1, wire: proto::Wire::F32.into(), form: 0, blocks }
}

#[tokio::test]
async fn a_malformed_push_is_refused_by_field_and_the_stream_goes_on() {
    let mut client = ShardsClient::new(channel().await);
    let pushes = vec![
        push(vec![block(7, 7), proto::GradientBlock { version: None, ..block(8, 8) }]),
        proto::PushRequest { wire: 99, ..push(vec![block(7, 8)]) },
        push(vec![proto::GradientBlock { wire: 9, ..block(7, 8) }]),
        proto::PushRequest { member: None, ..push(vec![block(8, 8)]) },
    ];
    let replies = client.push(tokio_stream::iter(pushes)).await.unwrap().into_inner();
    let replies: Vec<proto::PushReply> = replies.map(Result::unwrap).collect().await;
    let refused = |block, text| {
        let refused = proto::RefusedBlock { block, refusal: Some(invalid(text)) };
        let outcome = Some(proto::block_reply::Outcome::Refused(refused));
        proto::BlockReply { outcome, staleness: 0 }
    };
    let expected = [
        vec![
            refused(7, "GradientBlock.gradient: expected a multiple of 4 bytes, found 7 bytes"),
            refused(8, "GradientBlock.version: expected a value, found none"),
        ],
        vec![refused(
            7,
            "PushRequest.wire: expected 1 (f32) or 2 (bf16) or 3 (8bit) or 4 (4bit) or 5 (1bit) or 6 (top1%) or 7 (top0.1%), found 99",
        )],
        vec![refused(
            7,
            "GradientBlock.wire: expected 1 (f32) or 2 (bf16) or 3 (8bit) or 4 (4bit) or 5 (1bit) \
             or 6 (top1%) or 7 (top0.1%), found 9",
        )],
        vec![refused(8, "PushRequest.member: expected a value, found none")],
    ];
    assert_eq!(replies, expected.map(|blocks| proto::PushReply { blocks }));
}

#[tokio::test]
async fn malformed_requests_are_refused_by_field() {
    let channel = channel().await;
    let mut client = CoordinatorClient::new(channel.clone());
    let mut shards = ShardsClient::new(channel);

    let reply = client.join(proto::JoinRequest::default()).await.unwrap().into_inner();
    let refusal = invalid("JoinRequest.data: expected a value, found none");
    assert_eq!(reply.outcome, Some(proto::join_reply::Outcome::Refusal(refusal)));

    let reply = client.assign(proto::AssignRequest::default()).await.unwrap().into_inner();
    let refusal = invalid("AssignRequest.member: expected a value, found none");
    assert_eq!(reply.outcome, Some(proto::assign_reply::Outcome::Refusal(refusal)));

    let nameless = proto::Score { name: String::new(), value: 1.0 };
    let evaluation = proto::EvaluationPart { last_iterate: vec![nameless], ..Default::default() };
    let report = proto::ReportRequest {
        member: member(),
        metrics: Some(proto::Metrics::default()),
        evaluation: Some(evaluation),
        ..Default::default()
    };
    let reply = client.report(report).await.unwrap().into_inner();
    let refusal = invalid(
        "EvaluationPart.last_iterate: expected names of 1 to 64 letters a to z, digits and _, found ",
    );
    assert_eq!(reply.outcome, Some(proto::report_reply::Outcome::Refusal(refusal)));

    let reply = shards.order(proto::OrderRequest::default()).await.unwrap().into_inner();
    let refusal = invalid("OrderRequest.order: expected a value, found none");
    assert_eq!(reply.outcome, Some(proto::order_reply::Outcome::Refusal(refusal)));

    let fetch = proto::FetchRequest { blocks: vec![1, 2], wire: 5, velocity: true, ..Default::default() };
    let replies: Vec<_> = shards.fetch(fetch).await.unwrap().into_inner().collect().await;
    let refusal = invalid("FetchRequest.wire: expected 1 (f32) or 2 (bf16), found 5");
    let [Ok(reply)] = &replies[..] else { panic!("expected one reply, found {replies:?}") };
    assert_eq!(reply.outcome, Some(proto::fetch_reply::Outcome::Refusal(refusal)));
}

#[tokio::test]
async fn an_unusable_layout_is_refused_with_its_reason() {
    let mut shards = ShardsClient::new(channel().await);
    let tensor = |start| proto::Tensor {
        name: "a".into(),
        shape: vec![2],
        initialiser: start,
        rate_multiplier: 1.0,
        decay_multiplier: 1.0,
    };
    let constant = Some(proto::tensor::Initialiser::Constant(0.0));
    for (tensors, text) in [
        (vec![tensor(None)], "Tensor.initialiser: expected a value, found none"),
        (
            vec![tensor(constant), tensor(constant)],
            "Layout.tensors: expected a usable layout, found tensors 0 and 1 are both named a; expected \
             unique names",
        ),
    ] {
        let request =
            proto::AdoptRequest { shard: 0, member: member(), layout: Some(proto::Layout { tensors }) };
        let reply = shards.adopt(request).await.unwrap().into_inner();
        assert_eq!(reply.outcome, Some(proto::adopt_reply::Outcome::Refusal(invalid(text))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_panics_is_an_internal_refusal() {
    let mut shards = ShardsClient::new(channel().await);
    let request = proto::AdoptRequest { shard: 0, member: member(), layout: Some(proto::Layout::default()) };
    let reply = shards.adopt(request).await.unwrap().into_inner();
    let Some(proto::adopt_reply::Outcome::Refusal(refusal)) = reply.outcome else {
        panic!("expected a refusal, found {reply:?}");
    };
    assert_eq!(refusal.reason, i32::from(proto::refusal::Reason::Internal));
}

/// Blocks of which no value is sent are 8 bytes each, and their parameters 1 MiB.
#[tokio::test]
async fn a_push_whose_reply_would_be_over_the_limit_is_not_applied() {
    let mut shards = ShardsClient::new(channel().await);
    let gradient = [(BLOCK_VALUES as u32).to_le_bytes(), [0; 4]].concat().into();
    let empty = proto::GradientBlock { gradient, wire: proto::Wire::TopPercent.into(), ..block(7, 0) };
    let push = push(vec![empty; 5]);
    let mut replies = shards.push(tokio_stream::iter([push])).await.unwrap().into_inner();
    let status = replies.message().await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::OutOfRange);
    assert!(
        status.message().contains("at most 4194304 bytes of their parameters, found 5242880"),
        "{status}"
    );
}

#[tokio::test]
async fn a_message_over_the_limit_is_not_taken() {
    let mut shards = ShardsClient::new(channel().await);
    let push = push(vec![block(7, MESSAGE)]);
    assert!(push.encoded_len() > MESSAGE);
    let mut replies = shards.push(tokio_stream::iter([push])).await.unwrap().into_inner();
    assert_eq!(replies.message().await.unwrap_err().code(), tonic::Code::OutOfRange);
}
