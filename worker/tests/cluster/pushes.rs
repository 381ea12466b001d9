//! What a shard refuses, as a worker is told of it over the wire.

use crate::linear::layout;
use crate::server::{LIFE, Server, small};
use protocol::{
    AdoptRequest, BlockPush, BlockValues, CoordinatorCalls as _, CoordinatorClient, DataDescription,
    FetchRequest, JoinRequest, Kind, PROTOCOL_VERSION, Patience, PushForm, PushReply, Refusal,
    ShardCalls as _, ShardClient, Wire,
};
use tokio::sync::mpsc;

struct Case {
    push: fn(BlockPush) -> BlockPush,
    expected: &'static str,
}

#[tokio::test]
async fn unusable_gradients_are_refused_counted_and_the_worker_is_told() {
    let server = Server::start(small(600), 1, 1).await;
    let coordinator = CoordinatorClient::connect(&server.address, Patience::default()).await.unwrap();
    let classes = vec!["a".to_string(), "b".to_string(), "c".to_string()];
    let data = DataDescription { images: 300, validation: 90, hash: "points".into(), classes };
    let request = JoinRequest { protocol: PROTOCOL_VERSION, name: "test".into(), data };
    let joined = coordinator.join(request).await.unwrap();
    let shard = ShardClient::connect(&joined.shards[0], Patience::default()).await.unwrap();
    shard.adopt(AdoptRequest { shard: 0, member: joined.member, layout: layout() }).await.unwrap();
    let before = fetch(&shard).await;

    let cases = [
        Case {
            push: |push| with_value(push, 5, f32::NAN),
            expected: "gradient of block 0 (weights) of worker 0 at step 1 has NaN at position 5, expected finite numbers",
        },
        Case {
            push: |push| with_value(push, 0, f32::NEG_INFINITY),
            expected: "gradient of block 0 (weights) of worker 0 at step 1 has -inf at position 0, expected finite numbers",
        },
        Case {
            push: |push| with_value(push, 23, 3e38),
            expected: "gradient of block 0 (weights) of worker 0 at step 1 has 3e38 at position 23, expected finite \
                       numbers of at most 1e18",
        },
        Case {
            push: |push| BlockPush { gradient: vec![0.5; 7].into(), ..push },
            expected: "gradient of block 0 (weights) has 7 values, expected 24",
        },
        Case { push: |push| BlockPush { block: 9, ..push }, expected: "block 9 is unknown, expected 0 to 1" },
    ];
    let good = BlockPush {
        shard: 0,
        member: joined.member,
        step: 1,
        block: 0,
        version: before.version,
        samples: 16,
        log: None,
        form: PushForm::Gradient,
        gradient: vec![0.5; 24].into(),
    };
    let refused = cases.len() as u64;
    for Case { push, expected } in cases {
        let reply = send(&shard, push(good.clone())).await;
        let Err(Refusal::Invalid(text)) = reply.outcome else {
            panic!("expected {expected:?}, found {reply:?}")
        };
        assert!(text.contains(expected), "expected {expected:?} in {text:?}");
    }
    let status = server.shards().await;
    assert_eq!((status[0].refused, status[0].updates), (refused, 0));
    assert_eq!(fetch(&shard).await, before, "nothing was applied");
    let reply = send(&shard, good).await;
    assert_eq!(reply.outcome.unwrap().version().counter, 1, "a refused push does not use up its identity");
}

async fn send(shard: &ShardClient, push: BlockPush) -> PushReply {
    let (pushes, to_push) = mpsc::channel(1);
    let (replies, mut replied) = mpsc::channel(1);
    pushes.send(vec![push]).await.unwrap();
    drop(pushes);
    shard.push(Wire::F32, to_push, replies).await.unwrap();
    replied.recv().await.unwrap()
}

async fn fetch(shard: &ShardClient) -> BlockValues {
    let (values, mut fetched) = mpsc::channel(1);
    let request =
        FetchRequest { shard: 0, blocks: vec![0], kind: Kind::Parameters, wire: Wire::F32, life: LIFE };
    shard.fetch(request, values).await.unwrap();
    fetched.recv().await.unwrap()
}

/// Returns the push with `value` at one place of its gradient.
fn with_value(push: BlockPush, place: usize, value: f32) -> BlockPush {
    let mut gradient = push.gradient.to_vec();
    gradient[place] = value;
    BlockPush { gradient: gradient.into(), ..push }
}
