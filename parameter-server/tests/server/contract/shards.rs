//! What shards promise: adopting, pushing, fetching, orders and counts.

use parameters::{Layout, assign};
use protocol::{
    AdoptRequest, BlockAnswer, BlockPush, BlockValues, Carried, ClientError, CoordinatorCalls, FetchRequest,
    JoinRequest, Kind, Member, PROTOCOL_VERSION, PushForm, PushReply, Refusal, Roster, RosterEntry,
    ShardCalls, ShardOrder, ShardStatus, StalenessCounts, Values, Version, Wire, encoded_size,
};
use tokio::sync::mpsc;

use crate::{
    common::{data, layout},
    contract::forms::{Form, LIFE, SHARDS},
    contract::in_every_form,
};

in_every_form!(
    nothing_is_fetched_or_pushed_before_a_layout,
    a_layout_is_adopted_once_and_then_compared,
    a_push_is_applied_once_however_often_it_comes,
    staleness_is_what_came_in_between,
    an_unusable_push_is_refused_and_the_others_are_applied,
    replies_come_in_order_and_hold_up_no_push,
    blocks_come_in_the_order_asked_for_up_to_the_first_refusal,
    an_average_is_frozen_for_its_evaluation,
    bytes_are_counted_as_they_travel,
    a_gradient_of_few_bits_is_answered_with_all_bits,
    a_gradient_of_all_bits_is_answered_in_bf16,
    who_follows_a_log_gets_what_changed_and_knows_what_all_followers_know,
    a_snapshot_is_written_for_every_shard,
);

/// The blocks of a shard.
fn blocks_of(shard: u32) -> Vec<u32> {
    let owners = assign(&layout(), SHARDS as usize);
    (0..owners.len() as u32).filter(|&block| owners[block as usize] == shard).collect()
}

/// Has every shard adopt the layout; returns the membership under which it is pushed.
async fn adopted<C: CoordinatorCalls, S: ShardCalls>(form: &Form<C, S>) -> Member {
    let request = JoinRequest { protocol: PROTOCOL_VERSION, name: "test".into(), data: data() };
    let joined = form.coordinator.join(request).await.unwrap();
    for shard in 0..SHARDS {
        let request = AdoptRequest { shard, member: joined.member, layout: layout() };
        assert_eq!(form.shards.adopt(request).await.unwrap().fingerprint, layout().fingerprint());
    }
    joined.member
}

/// A push of ones to a block, computed from its version `counter`.
fn push(member: Member, step: u64, block: u32, counter: u64) -> BlockPush {
    BlockPush {
        shard: assign(&layout(), SHARDS as usize)[block as usize],
        member,
        step,
        block,
        version: Version { generation: 1, counter },
        samples: 10,
        form: PushForm::Gradient,
        log: None,
        gradient: vec![1.0; layout().blocks()[block as usize].range.len()].into(),
    }
}

/// Pushes the groups and returns all replies and what they took on the wire.
async fn push_all(
    shards: &impl ShardCalls,
    wire: Wire,
    groups: Vec<Vec<BlockPush>>,
) -> (Vec<PushReply>, Carried) {
    let (to, pushes) = mpsc::channel(1);
    let (replies, mut from) = mpsc::channel(1);
    let feed = async move {
        for group in groups {
            to.send(group).await.unwrap();
        }
    };
    let drain = async move {
        let mut all = Vec::new();
        while let Some(reply) = from.recv().await {
            all.push(reply);
        }
        all
    };
    let (carried, (), all) = tokio::join!(shards.push(wire, pushes, replies), feed, drain);
    (all, carried.unwrap())
}

async fn push_one(shards: &impl ShardCalls, push: BlockPush) -> PushReply {
    push_all(shards, Wire::F32, vec![vec![push]]).await.0.remove(0)
}

/// Fetches blocks of a shard; returns those that came, and how the call ended.
async fn fetch(
    shards: &impl ShardCalls,
    wire: Wire,
    shard: u32,
    blocks: Vec<u32>,
    kind: Kind,
) -> (Vec<BlockValues>, Result<(), ClientError>) {
    let (values, mut from) = mpsc::channel(1);
    let drain = async move {
        let mut all = Vec::new();
        while let Some(block) = from.recv().await {
            all.push(block);
        }
        all
    };
    let (done, all) =
        tokio::join!(shards.fetch(FetchRequest { shard, blocks, kind, wire, life: LIFE }, values), drain);
    (all, done)
}

async fn fetch_one(shards: &impl ShardCalls, block: u32, kind: Kind) -> BlockValues {
    let shard = assign(&layout(), SHARDS as usize)[block as usize];
    let (mut all, done) = fetch(shards, Wire::F32, shard, vec![block], kind).await;
    done.unwrap();
    all.remove(0)
}

async fn nothing_is_fetched_or_pushed_before_a_layout<C: CoordinatorCalls, S: ShardCalls>(
    start: impl AsyncFnOnce() -> Form<C, S>,
) {
    let form = start().await;
    let (came, done) = fetch(&form.shards, Wire::F32, 0, vec![0], Kind::Parameters).await;
    assert_eq!(came, []);
    assert!(matches!(done.unwrap_err().refusal(), Some(Refusal::NotReady(_))));
    let member = Member { worker: 0, incarnation: 1, life: LIFE };
    let reply = push_one(&form.shards, push(member, 1, 0, 0)).await;
    assert!(matches!(reply.outcome, Err(Refusal::NotReady(_))), "{reply:?}");
    for (id, expected) in [(1, Refusal::NotReady as fn(String) -> Refusal), (0, Refusal::Invalid)] {
        let error = form.shards.order(LIFE, ShardOrder::Snapshot { id }).await.unwrap_err();
        let refusal = error.refusal().unwrap();
        assert_eq!(*refusal, expected(refusal.to_string()));
    }
}

async fn a_layout_is_adopted_once_and_then_compared<C: CoordinatorCalls, S: ShardCalls>(
    start: impl AsyncFnOnce() -> Form<C, S>,
) {
    let form = start().await;
    let member = adopted(&form).await;
    let before = fetch_one(&form.shards, 0, Kind::Parameters).await;
    // A second worker brings the same, and changes nothing.
    adopted(&form).await;
    assert_eq!(fetch_one(&form.shards, 0, Kind::Parameters).await, before);
    let mut tensors = layout().tensors().to_vec();
    tensors[1].shape = vec![301];
    let request = AdoptRequest { shard: 1, member, layout: Layout::new(tensors).unwrap() };
    let error = form.shards.adopt(request).await.unwrap_err();
    let Some(Refusal::Mismatch(text)) = error.refusal() else { panic!("expected a mismatch, found {error}") };
    assert!(text.contains("a/bias"), "{text}");
}

async fn a_push_is_applied_once_however_often_it_comes<C: CoordinatorCalls, S: ShardCalls>(
    start: impl AsyncFnOnce() -> Form<C, S>,
) {
    let form = start().await;
    let member = adopted(&form).await;
    let first = push_one(&form.shards, push(member, 1, 2, 0)).await;
    let applied = first.outcome.unwrap().into_values().unwrap();
    assert_eq!((applied.version.counter, first.staleness), (1, 0));
    let again = push_one(&form.shards, push(member, 1, 2, 0)).await;
    let held = again.outcome.unwrap().into_values().unwrap();
    assert_eq!(held.version, applied.version);
    assert_eq!(held, fetch_one(&form.shards, 2, Kind::Parameters).await);
    let statuses = form.shards.status().await.unwrap();
    assert_eq!(statuses.iter().map(|shard| (shard.updates, shard.repeated)).sum_pairs(), (1, 1));
}

async fn staleness_is_what_came_in_between<C: CoordinatorCalls, S: ShardCalls>(
    start: impl AsyncFnOnce() -> Form<C, S>,
) {
    let form = start().await;
    let member = adopted(&form).await;
    for step in 1..=3 {
        let reply = push_one(&form.shards, push(member, step, 3, 0)).await;
        assert_eq!((reply.outcome.unwrap().version().counter, reply.staleness), (step, step - 1));
    }
    let statuses = form.shards.status().await.unwrap();
    let largest = |shard: &ShardStatus| shard.staleness_counts.largest_since(&StalenessCounts::default());
    assert_eq!(statuses.iter().map(|shard| (shard.staleness_sum, largest(shard))).sum_pairs(), (3, 2));
}

async fn an_unusable_push_is_refused_and_the_others_are_applied<C: CoordinatorCalls, S: ShardCalls>(
    start: impl AsyncFnOnce() -> Form<C, S>,
) {
    let form = start().await;
    let member = adopted(&form).await;
    let mut group: Vec<BlockPush> = (0..4).map(|block| push(member, 1, block, 0)).collect();
    let mut poisoned = group[1].gradient.to_vec();
    poisoned[7] = f32::NAN;
    group[1].gradient = poisoned.into();
    group[3].gradient = vec![1.0; 5].into();
    group.push(BlockPush { block: 99, ..push(member, 1, 0, 0) });
    group.push(BlockPush { shard: SHARDS, ..push(member, 2, 0, 0) });
    let (replies, _) = push_all(&form.shards, Wire::F32, vec![group]).await;
    assert_eq!(replies.iter().map(|reply| reply.block).collect::<Vec<_>>(), [0, 1, 2, 3, 99, 0]);
    for (reply, usable) in replies.into_iter().zip([true, false, true, false, false, false]) {
        match reply.outcome {
            Ok(block) => assert!(usable && block.version().counter == 1, "{block:?}"),
            Err(refusal) => assert!(!usable && matches!(refusal, Refusal::Invalid(_)), "{refusal}"),
        }
    }
    // A refused push does not use up its identity.
    let reply = push_one(&form.shards, push(member, 1, 1, 0)).await;
    assert_eq!(reply.outcome.unwrap().version().counter, 1);
}

async fn replies_come_in_order_and_hold_up_no_push<C: CoordinatorCalls, S: ShardCalls>(
    start: impl AsyncFnOnce() -> Form<C, S>,
) {
    let form = start().await;
    let member = adopted(&form).await;
    let (to, pushes) = mpsc::channel(1);
    let (replies, mut from) = mpsc::channel(1);
    let shards = form.shards.clone();
    let pushing = tokio::spawn(async move { shards.push(Wire::F32, pushes, replies).await });
    for step in 1..=5 {
        to.send((0..4).map(|block| push(member, step, block, step - 1)).collect()).await.unwrap();
    }
    drop(to);
    for step in 1..=5 {
        for block in 0..4 {
            let reply = from.recv().await.unwrap();
            assert_eq!((reply.block, reply.outcome.unwrap().version().counter), (block, step));
        }
    }
    pushing.await.unwrap().unwrap();
    // Replies that nobody takes are discarded, and the pushes are applied.
    let (to, pushes) = mpsc::channel(1);
    let (replies, _) = mpsc::channel(1);
    to.send(vec![push(member, 6, 2, 5)]).await.unwrap();
    drop(to);
    form.shards.push(Wire::F32, pushes, replies).await.unwrap();
    assert_eq!(fetch_one(&form.shards, 2, Kind::Parameters).await.version.counter, 6);
}

async fn blocks_come_in_the_order_asked_for_up_to_the_first_refusal<C: CoordinatorCalls, S: ShardCalls>(
    start: impl AsyncFnOnce() -> Form<C, S>,
) {
    let form = start().await;
    adopted(&form).await;
    for shard in 0..SHARDS {
        let mut asked: Vec<u32> = blocks_of(shard).into_iter().rev().collect();
        asked.push(asked[0]);
        let (came, done) = fetch(&form.shards, Wire::F32, shard, asked.clone(), Kind::Parameters).await;
        done.unwrap();
        assert_eq!(came.iter().map(|block| block.block).collect::<Vec<_>>(), asked);
    }
    // The second is another shard's.
    let asked = vec![blocks_of(0)[0], blocks_of(1)[0], blocks_of(0)[0]];
    let (came, done) = fetch(&form.shards, Wire::F32, 0, asked, Kind::Parameters).await;
    assert_eq!(came.len(), 1);
    assert!(matches!(done.unwrap_err().refusal(), Some(Refusal::Invalid(_))));
    // Whoever takes no more ends the fetch.
    let (values, from) = mpsc::channel(1);
    drop(from);
    let request =
        FetchRequest { shard: 0, blocks: blocks_of(0), kind: Kind::Parameters, life: LIFE, wire: Wire::F32 };
    form.shards.fetch(request, values).await.unwrap();
}

async fn an_average_is_frozen_for_its_evaluation<C: CoordinatorCalls, S: ShardCalls>(
    start: impl AsyncFnOnce() -> Form<C, S>,
) {
    let form = start().await;
    let member = adopted(&form).await;
    let Member { worker, incarnation, .. } = member;
    let asked = assign(&layout(), SHARDS as usize)[2];
    let kind = Kind::Average { evaluation: 1 };
    let (_, done) = fetch(&form.shards, Wire::F32, asked, vec![2], kind).await;
    assert!(matches!(done.unwrap_err().refusal(), Some(Refusal::NotReady(_) | Refusal::Invalid(_))));
    let roster = Roster {
        version: 100,
        next_worker: worker + 1,
        members: vec![RosterEntry { worker, incarnation }],
        next_evaluation: 3,
        evaluations: vec![1, 2],
        ..Roster::default()
    };
    form.shards.order(LIFE, ShardOrder::Roster(roster)).await.unwrap();
    let frozen = fetch_one(&form.shards, 2, Kind::Average { evaluation: 1 }).await;
    push_one(&form.shards, push(member, 1, 2, 0)).await.outcome.unwrap();
    assert_eq!(fetch_one(&form.shards, 2, Kind::Average { evaluation: 1 }).await, frozen);
    let next = fetch_one(&form.shards, 2, Kind::Average { evaluation: 2 }).await;
    assert_ne!(next, frozen);
    assert_eq!(fetch_one(&form.shards, 2, Kind::Average { evaluation: 0 }).await, next);
}

async fn bytes_are_counted_as_they_travel<C: CoordinatorCalls, S: ShardCalls>(
    start: impl AsyncFnOnce() -> Form<C, S>,
) {
    let form = start().await;
    let member = adopted(&form).await;
    let values = layout().blocks()[2].range.len() as u64;
    let mut expected = (0, 0);
    for (step, wire, width) in [(1, Wire::F32, 4), (2, Wire::Bf16, 2)] {
        let bytes = values * width;
        let (_, carried) = push_all(&form.shards, wire, vec![vec![push(member, step, 2, step - 1)]]).await;
        assert_eq!(carried, Carried { sent: bytes, received: bytes });
        let shard = assign(&layout(), SHARDS as usize)[2];
        fetch(&form.shards, wire, shard, vec![2], Kind::Parameters).await.1.unwrap();
        expected = (expected.0 + bytes, expected.1 + 2 * bytes);
        let statuses = form.shards.status().await.unwrap();
        assert_eq!(statuses.iter().map(|shard| (shard.bytes_in, shard.bytes_out)).sum_pairs(), expected);
    }
}

async fn a_gradient_of_few_bits_is_answered_with_all_bits<C: CoordinatorCalls, S: ShardCalls>(
    start: impl AsyncFnOnce() -> Form<C, S>,
) {
    let form = start().await;
    let member = adopted(&form).await;
    for (step, wire) in (1..).zip(Wire::ALL[1..].iter().copied()) {
        let exact = push(member, step, 0, step - 1);
        let mut rest: Vec<f32> = (0..exact.gradient.len()).map(|i| (i as f32).sin()).collect();
        let gradient = Values::encoded(wire, &mut rest);
        let decoded = gradient.to_vec();
        let before = fetch_one(&form.shards, 0, Kind::Parameters).await.values.to_vec();
        let (replies, carried) =
            push_all(&form.shards, Wire::F32, vec![vec![BlockPush { gradient, ..exact.clone() }]]).await;
        let after = replies[0].outcome.clone().unwrap().into_values().unwrap().values.to_vec();
        assert_eq!(fetch_one(&form.shards, 0, Kind::Parameters).await.values.to_vec(), after);
        let most = encoded_size(wire, after.len()) as u64;
        let varies = wire.is_of_largest();
        assert!(carried.sent == most || varies && carried.sent < most, "{wire}: {}", carried.sent);
        assert_eq!(carried.received, 4 * after.len() as u64);
        // The same push, now with all bits, is a repetition: nothing moves.
        let repeated = push_one(&form.shards, BlockPush { gradient: decoded.into(), ..exact }).await;
        assert_eq!(repeated.outcome.unwrap().into_values().unwrap().values.to_vec(), after);
        assert_ne!(before, after);
    }
}

/// A gradient in its own format, the answer in that of parameters.
async fn a_gradient_of_all_bits_is_answered_in_bf16<C: CoordinatorCalls, S: ShardCalls>(
    start: impl AsyncFnOnce() -> Form<C, S>,
) {
    let form = start().await;
    let push = push(adopted(&form).await, 1, 2, 0);
    let values = push.gradient.len() as u64;
    let push = BlockPush { gradient: Values::exact(push.gradient.to_vec()), ..push };
    let (_, carried) = push_all(&form.shards, Wire::Bf16, vec![vec![push]]).await;
    assert_eq!(carried, Carried { sent: 4 * values, received: 2 * values });
}

async fn who_follows_a_log_gets_what_changed_and_knows_what_all_followers_know<
    C: CoordinatorCalls,
    S: ShardCalls,
>(
    start: impl AsyncFnOnce() -> Form<C, S>,
) {
    let form = start().await;
    let one = adopted(&form).await;
    // Eight workers on, whose log is the same.
    for _ in 1..8 {
        adopted(&form).await;
    }
    let other = adopted(&form).await;
    assert_eq!((one.worker, other.worker), (0, 8));
    let wire = Wire::Bits4;
    let view = async || fetch_one(&form.shards, 2, Kind::View { log: wire, worker: 0 }).await;
    let exact = async || fetch_one(&form.shards, 2, Kind::Parameters).await;
    let (mut known, mut others) = (view().await, view().await);
    assert_eq!(known, exact().await);
    let size = known.values.len();
    let ask = async |member, step, known: &mut BlockValues| {
        let pushed = BlockPush { log: Some(wire), ..push(member, step, 2, known.version.counter) };
        let (mut replies, carried) = push_all(&form.shards, Wire::F32, vec![vec![pushed]]).await;
        let answer = replies.remove(0).outcome.unwrap();
        assert_eq!(carried.received, answer.encoded_size(Wire::F32) as u64);
        let mut values = known.values.to_vec();
        answer.apply(&mut values);
        *known = BlockValues { block: 2, version: answer.version(), values: values.into() };
        match answer {
            BlockAnswer::Values(_) => None,
            BlockAnswer::Differences(block) => {
                assert_eq!(carried.received, (block.differences.len() * encoded_size(wire, size)) as u64);
                Some(block.differences.len())
            }
        }
    };
    for step in 1..=2 {
        assert_eq!(ask(one, step, &mut known).await, Some(1));
        assert_eq!(known.version.counter, 2 * step - 1);
        assert_eq!(ask(other, step, &mut others).await, Some(1));
        assert_eq!(others, known);
        assert_eq!(exact().await.version.counter, 2 * step);
    }
    // A push that comes again: it asks from where it asked, for what there is by now.
    let mut again = BlockValues { version: Version { generation: 1, counter: 1 }, ..known.clone() };
    assert_eq!(ask(other, 2, &mut again).await, Some(1));
    assert_eq!(again.version, known.version);
    // Who names a version that the log does not have gets all of what the others know.
    again.version.counter = 2;
    assert_eq!(ask(other, 3, &mut again).await, None);
    assert_eq!(again, view().await);
    // Another format has another log; and one of all bits goes on beside them.
    let bits = fetch_one(&form.shards, 2, Kind::View { log: Wire::Bits1, worker: 0 }).await;
    assert_eq!(bits, exact().await);
    let plain = push_one(&form.shards, push(one, 3, 2, 5)).await.outcome.unwrap().into_values();
    assert_eq!(plain, Some(exact().await));
}

async fn a_snapshot_is_written_for_every_shard<C: CoordinatorCalls, S: ShardCalls>(
    start: impl AsyncFnOnce() -> Form<C, S>,
) {
    let form = start().await;
    adopted(&form).await;
    let written = form.shards.order(LIFE, ShardOrder::Snapshot { id: 3 }).await.unwrap();
    assert_eq!(written.len(), SHARDS as usize);
    assert!(written.iter().all(|shard| shard.snapshot_hash.is_some()), "{written:?}");
    // Written again under the same number, it is the same.
    assert_eq!(form.shards.order(LIFE, ShardOrder::Snapshot { id: 3 }).await.unwrap(), written);
    let ended = form.shards.order(LIFE, ShardOrder::Finish { interrupted: true }).await.unwrap();
    assert!(ended.iter().all(|shard| shard.snapshot_hash.is_none()), "{ended:?}");
}

/// Sums of pairs, one for each shard.
trait SumPairs: Iterator<Item = (u64, u64)> + Sized {
    fn sum_pairs(self) -> (u64, u64) {
        self.fold((0, 0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1))
    }
}

impl<I: Iterator<Item = (u64, u64)>> SumPairs for I {}
