//! Blocks in bulk: exact, rounded, slow readers, broken connections, a server that goes and comes back.

use std::{sync::Arc, time::Duration};

use crate::support::{
    memory::{ADDRESS, Memory},
    *,
};
use half::bf16;
use protocol::*;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

fn parameters(blocks: Vec<u32>) -> FetchRequest {
    FetchRequest { shard: 0, blocks, kind: Kind::Parameters, wire: Wire::F32, life: LIFE }
}

fn all_blocks() -> Vec<u32> {
    (0..layout().blocks().len() as u32).collect()
}

#[tokio::test]
async fn coded_gradients_arrive_as_they_decode_and_are_answered_in_f32() {
    for wire in [Wire::Bits8, Wire::Bits4, Wire::Bits1, Wire::TopPercent, Wire::TopPermille] {
        let shards = Arc::new(Adder::holding_zeros());
        let server = Server::shards(&shards);
        let client = ShardClient::connect(&server.address, patience()).await.unwrap();
        let (to, pushes) = mpsc::channel(8);
        let (replies, mut from) = mpsc::channel::<PushReply>(8);
        let mut expected = Vec::new();
        for block in all_blocks() {
            let push = block_push(block, 1);
            let gradient = Values::encoded(wire, &mut push.gradient.to_vec());
            expected.push(gradient.to_vec());
            to.send(vec![BlockPush { gradient, ..push }]).await.unwrap();
        }
        drop(to);
        let drain = async {
            let mut all = Vec::new();
            while let Some(reply) = from.recv().await {
                all.push(reply.outcome.unwrap().into_values().unwrap().values.to_vec());
            }
            all
        };
        let (carried, answered) = tokio::join!(client.push(Wire::F32, pushes, replies), drain);
        assert!(answered == expected, "{wire}");
        let most: u64 = expected.iter().map(|values| encoded_size(wire, values.len()) as u64).sum();
        let Carried { sent, received } = carried.unwrap();
        let varies = wire.is_of_largest();
        assert!(sent == most || varies && sent > 0 && sent < most, "{wire}: {sent}, at most {most}");
        assert_eq!(received, 4 * layout().len() as u64, "{wire}");
        server.stop().await;
    }
}

#[tokio::test]
async fn f32_arrives_exact_and_bf16_rounded() {
    for wire in [Wire::F32, Wire::Bf16] {
        let shards = Arc::new(Adder::holding_zeros());
        let server = Server::shards(&shards);
        let client = ShardClient::connect(&server.address, patience()).await.unwrap();
        let replies = push_all(&client, wire, 1).await.unwrap();
        let version = Version { generation: 0, counter: 1 };
        let expected = |block: u32| -> Vec<f32> {
            let pushed = block_push(block, 1).gradient.to_vec();
            match wire {
                Wire::F32 => pushed,
                _ => pushed.iter().map(|&v| bf16::from_f32(v).to_f32()).collect(),
            }
        };
        for (reply, block) in replies.into_iter().zip(all_blocks()) {
            assert_eq!((reply.block, reply.staleness), (block, 34));
            let values = reply.outcome.unwrap().into_values().unwrap();
            assert_eq!((values.block, values.version), (block, version));
            assert!(
                values.values.to_vec() == expected(block),
                "the reply for block {block} differs over {wire:?}"
            );
        }

        // In another order than the flat one, which must be kept.
        let order: Vec<u32> = all_blocks().into_iter().rev().collect();
        let fetched = fetch(&client, wire, &order, Kind::Parameters).await.unwrap();
        assert_eq!(fetched.iter().map(|values| values.block).collect::<Vec<_>>(), order);
        for values in fetched {
            assert_eq!(values.version, version);
            assert!(
                values.values.to_vec() == expected(values.block),
                "block {} differs over {wire:?}",
                values.block
            );
        }
        let bytes = (layout().len() * if wire == Wire::F32 { 4 } else { 2 }) as u64;
        let carried = shards.state.lock().unwrap().carried;
        assert_eq!(
            carried,
            Carried { received: bytes, sent: 2 * bytes },
            "pushed once, sent twice, over {wire:?}"
        );
        let average = fetch(&client, wire, &[0], Kind::Average { evaluation: 5 }).await.unwrap();
        assert_eq!(average[0].values.to_vec()[0], 5.0);
        server.stop().await;
    }
}

#[tokio::test]
async fn nothing_to_do_is_done() {
    let server = Server::shards(&Arc::new(Adder::holding_zeros()));
    let client = ShardClient::connect(&server.address, patience()).await.unwrap();
    assert_eq!(fetch(&client, Wire::F32, &[], Kind::Parameters).await.unwrap(), []);
    let (_, pushes) = mpsc::channel(1);
    let (replies, _reader) = mpsc::channel(1);
    client.push(Wire::F32, pushes, replies).await.unwrap();
}

#[tokio::test]
async fn a_block_that_is_unknown_is_refused_by_number() {
    let server = Server::shards(&Arc::new(Adder::holding_zeros()));
    let client = ShardClient::connect(&server.address, patience()).await.unwrap();
    let error = fetch(&client, Wire::F32, &[0, 99], Kind::Parameters).await.unwrap_err();
    assert_eq!(error.refusal(), Some(&Refusal::Invalid("shard 0: block 99 is unknown".into())));
    let (to, pushes) = mpsc::channel(1);
    let (replies, mut from) = mpsc::channel(1);
    to.send(vec![BlockPush { block: 99, ..block_push(0, 1) }]).await.unwrap();
    drop(to);
    client.push(Wire::F32, pushes, replies).await.unwrap();
    assert_eq!(from.recv().await.unwrap().outcome, Err(Refusal::Invalid("block 99 is unknown".into())));
}

#[tokio::test]
async fn a_reply_comes_while_the_step_goes_on() {
    let server = Server::shards(&Arc::new(Adder::holding_zeros()));
    let client = ShardClient::connect(&server.address, patience()).await.unwrap();
    let (to, pushes) = mpsc::channel(1);
    let (replies, mut from) = mpsc::channel::<PushReply>(1);
    let work = async {
        for block in all_blocks() {
            to.send(vec![block_push(block, 1)]).await.unwrap();
            // The next one is only pushed when this one has its reply.
            assert_eq!(from.recv().await.unwrap().block, block);
        }
        drop(to);
    };
    let (done, ()) = tokio::join!(client.push(Wire::F32, pushes, replies), work);
    done.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_up_nobody_else() {
    let network = Memory::default();
    let _server = ServerInMemory::start(&network, &Arc::new(Adder::holding_zeros()));
    let client = ShardClient::connect(ADDRESS, network.connector(patience())).await.unwrap();
    // A fetch of far more than any window, of which one block is read and then no more.
    let many: Vec<u32> = all_blocks().repeat(40);
    let (values, mut slow) = mpsc::channel(1);
    let fetching = {
        let client = client.clone();
        tokio::spawn(async move { client.fetch(parameters(many), values).await })
    };
    slow.recv().await.unwrap();
    // Pushes whose replies nobody reads until all is pushed.
    let (to, pushes) = mpsc::channel(1);
    let (replies, mut from) = mpsc::channel(1);
    let pushing = {
        let client = client.clone();
        tokio::spawn(async move { client.push(Wire::F32, pushes, replies).await })
    };
    for step in 0..4 {
        for block in all_blocks() {
            to.send(vec![block_push(block, step)]).await.unwrap();
        }
    }
    drop(to);
    // And beside both, another fetch.
    assert_eq!(fetch(&client, Wire::F32, &all_blocks(), Kind::Parameters).await.unwrap().len(), 6);
    for _ in 0..4 {
        for block in all_blocks() {
            assert_eq!(from.recv().await.unwrap().block, block);
        }
    }
    pushing.await.unwrap().unwrap();
    // The slow reader goes away: its fetch ends.
    drop(slow);
    timeout(Duration::from_secs(5), fetching).await.unwrap().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_costs_the_server_a_bounded_amount_of_memory() {
    let shards = Arc::new(Adder::holding_zeros());
    let network = Memory::default();
    let _server = ServerInMemory::start(&network, &shards);
    let client = ShardClient::connect(ADDRESS, network.connector(patience())).await.unwrap();
    let many: Vec<u32> = all_blocks().repeat(40);
    let (values, mut stopped) = mpsc::channel(1);
    let asked = many.len();
    let fetching = tokio::spawn(async move { client.fetch(parameters(many), values).await });
    stopped.recv().await.unwrap();
    let read = || shards.state.lock().unwrap().fetched;
    // The clock moves only when nobody has anything left to do.
    sleep(Duration::from_millis(1)).await;
    // The window of the stream, and the blocks queued before the connection and inside of it.
    assert!(read() <= 32 << 20, "{} bytes were read for a reader that has stopped", read());
    let mut rest = 1;
    while rest < asked && stopped.recv().await.is_some() {
        rest += 1;
    }
    assert_eq!(rest, asked);
    fetching.await.unwrap().unwrap();
    assert!(read() > 100 << 20);
}

/// The step's gradients, each exactly `steps` times in the shard.
fn assert_applied(shards: &Adder, steps: usize) {
    let state = shards.state.lock().unwrap();
    for (block, (version, values)) in state.blocks.iter().enumerate() {
        assert_eq!(version.counter, steps as u64, "block {block}");
        let mut expected = vec![0.0; values.len()];
        for _ in 0..steps {
            for (value, gradient) in expected.iter_mut().zip(block_push(block as u32, 1).gradient.to_vec()) {
                *value += gradient;
            }
        }
        assert!(*values == expected, "block {block}");
    }
}

#[tokio::test]
async fn a_server_killed_and_started_again_in_the_middle_of_pushes_applies_each_once() {
    let shards = Arc::new(Adder { push_takes: Duration::from_millis(10), ..Adder::holding_zeros() });
    let mut server = Server::shards(&shards);
    let client = ShardClient::connect(&server.address, patience()).await.unwrap();
    let address = server.address.parse().unwrap();
    let steps = 12;
    let pushing = tokio::spawn({
        let client = client.clone();
        async move {
            for step in 0..steps {
                assert_eq!(push_all(&client, Wire::F32, step).await.unwrap().len(), 6);
            }
        }
    });
    let came = || shards.state.lock().unwrap().came;
    for _ in 0..4 {
        // In the middle of a group, of which the first push is applied and the second under way.
        let before = came();
        while came() < before + 3 && !pushing.is_finished() {
            sleep(Duration::from_millis(1)).await;
        }
        tokio::task::spawn_blocking(move || server.kill()).await.unwrap();
        server = Server::start_on(address, None, Some(shards.clone()));
    }
    pushing.await.unwrap();
    assert_applied(&shards, steps as usize);
    assert!(shards.repeated() > 0, "no kill hit between a push and its reply");
}

#[tokio::test]
async fn a_fetch_goes_on_with_what_is_missing_when_the_server_comes_back() {
    let shards = Arc::new(Adder::holding_zeros());
    let server = Server::shards(&shards);
    let client = ShardClient::connect(&server.address, patience()).await.unwrap();
    push_all(&client, Wire::F32, 1).await.unwrap();
    let address = server.address.parse().unwrap();
    // More than all windows and queues hold, so that the kill finds the stream open.
    let wanted: Vec<u32> = all_blocks().repeat(40);
    let (values, mut from) = mpsc::channel(1);
    let fetching = tokio::spawn({
        let (client, wanted) = (client.clone(), wanted.clone());
        async move { client.fetch(parameters(wanted), values).await }
    });
    let mut came = vec![from.recv().await.unwrap().block];
    tokio::task::spawn_blocking(move || server.kill()).await.unwrap();
    let _server = Server::start_on(address, None, Some(shards.clone()));
    while let Some(values) = from.recv().await {
        assert!(values.values == block_push(values.block, 1).gradient);
        came.push(values.block);
    }
    fetching.await.unwrap().unwrap();
    assert_eq!(came, wanted);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_open_streams_and_they_go_on_with_the_next_server() {
    let shards = Arc::new(Adder::holding_zeros());
    let network = Memory::default();
    let server = ServerInMemory::start(&network, &shards);
    let client = ShardClient::connect(ADDRESS, network.connector(patience())).await.unwrap();
    let (to, pushes) = mpsc::channel(1);
    let (replies, mut from) = mpsc::channel(1);
    let pushing = tokio::spawn(async move { client.push(Wire::F32, pushes, replies).await });
    to.send(vec![block_push(0, 1)]).await.unwrap();
    from.recv().await.unwrap().outcome.unwrap();
    // The step is not over: the stream is open and silent. That must not hold up the end.
    timeout(Duration::from_secs(1), server.stop()).await.unwrap();
    let _server = ServerInMemory::start(&network, &shards);
    for block in 1..6 {
        to.send(vec![block_push(block, 1)]).await.unwrap();
        assert_eq!(from.recv().await.unwrap().block, block);
    }
    drop(to);
    pushing.await.unwrap().unwrap();
    assert_applied(&shards, 1);
}

#[tokio::test]
async fn a_stream_that_stands_still_is_begun_again() {
    let first_push_takes = Some(Duration::from_millis(900));
    let shards = Arc::new(Adder { first_push_takes, ..Adder::holding_zeros() });
    let server = Server::shards(&shards);
    let hasty =
        Patience { stall: Duration::from_millis(300), give_up_after: Duration::from_secs(60), ..patience() };
    let client = ShardClient::connect(&server.address, hasty).await.unwrap();
    let replies = push_all(&client, Wire::F32, 1).await.unwrap();
    assert_eq!(replies.len(), 6);
    assert!(replies.iter().all(|reply| reply.outcome.is_ok()));
    // The push that took so long ends as a repeated one.
    while shards.busy() {
        sleep(Duration::from_millis(5)).await;
    }
    assert_applied(&shards, 1);
    assert!(shards.repeated() > 0);
}
