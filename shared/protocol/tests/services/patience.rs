//! Servers that are not there, come late, or never answer.

use std::{sync::Arc, time::Duration};

use crate::support::{
    log::Log,
    memory::{ADDRESS, Memory},
    *,
};
use protocol::*;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_there_is_waited_for_and_then_given_up() {
    let log = Log::default();
    let _guard = log.start();
    let short = Patience { give_up_after: Duration::from_millis(1200), ..patience() };
    let start = Instant::now();
    let error = CoordinatorClient::connect(ADDRESS, Memory::default().connector(short)).await.unwrap_err();
    assert!((1200..1210).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("cannot reach {ADDRESS}: tried for 1 s")) && text.contains("refused"),
        "{text}"
    );
    assert!(text.ends_with("then start again"), "{text}");
    let log = log.text();
    assert!(log.contains("WARN") && log.contains(&format!("waiting for {ADDRESS}, for ")), "{log}");
    assert_eq!(log.lines().count(), 1, "the same is said once in a while only: {log}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_late_is_found() {
    let log = Log::default();
    let _guard = log.start();
    let network = Memory::default();
    let late = tokio::spawn({
        let network = network.clone();
        async move {
            sleep(Duration::from_millis(300)).await;
            ServerInMemory::start(&network, &Arc::new(Adder::holding_zeros()))
        }
    });
    let short = Patience { give_up_after: Duration::from_millis(400), ..patience() };
    let client = ShardClient::connect(ADDRESS, network.connector(short)).await.unwrap();
    assert_eq!(client.status().await.unwrap().len(), 1);
    assert!(log.text().contains(&format!("{ADDRESS} answers again after 0.3 s")), "{}", log.text());
    late.await.unwrap().stop().await;

    // Gone, it is given up by every call, and by streams too.
    for error in [
        client.status().await.unwrap_err(),
        fetch(&client, Wire::F32, &[0], Kind::Parameters).await.unwrap_err(),
        push_one(&client).await.unwrap_err(),
    ] {
        assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    }
}

async fn push_one(client: &ShardClient) -> Result<Carried, ClientError> {
    let (to, pushes) = mpsc::channel(1);
    let (replies, _from) = mpsc::channel(1);
    to.send(vec![block_push(1, 1)]).await.unwrap();
    drop(to);
    client.push(Wire::F32, pushes, replies).await
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_meets_the_deadline() {
    // Connections are opened, and nobody speaks on them.
    let network = Memory::default();
    let _silent = network.listen();
    let deadline = Duration::from_millis(250);
    let short = Patience {
        give_up_after: Duration::from_millis(600),
        control: deadline,
        order: deadline,
        stall: deadline,
        ..patience()
    };
    let coordinator = CoordinatorClient::connect(ADDRESS, network.connector(short)).await.unwrap();
    let shards = ShardClient::connect(ADDRESS, network.connector(short)).await.unwrap();
    let start = Instant::now();
    let errors = tokio::join!(
        async { coordinator.assign(MEMBER).await.unwrap_err() },
        async { shards.order(LIFE, ShardOrder::Finish { interrupted: false }).await.unwrap_err() },
        async { fetch(&shards, Wire::F32, &[0], Kind::Parameters).await.unwrap_err() },
        async { push_one(&shards).await.unwrap_err() },
    );
    // The first silence, patience, and an attempt that begins just before its end.
    assert!((850..1110).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    for error in [errors.0, errors.1, errors.2, errors.3] {
        let text = error.to_string();
        assert!(text.contains("last: no answer within 0.25 s"), "{text}");
    }
}

#[tokio::test]
async fn an_address_that_is_none_is_told_at_once() {
    for (address, reason) in [
        ("nonsense", "it has no port"),
        ("host:", "it has no port"),
        ("host:0", "it has no port"),
        ("", "it is not a host and a port"),
        ("a b:1", "it is not a host and a port"),
        ("http://host:1", "it is not a host and a port"),
    ] {
        let text = ShardClient::connect(address, patience()).await.unwrap_err().to_string();
        let expected =
            format!("address {address:?} is not usable: {reason}; expected host:port, as 127.0.0.1:7070");
        assert_eq!(text, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_wrong_server_is_told_at_once() {
    let network = Memory::default();
    let server = ServerInMemory::start(&network, &Arc::new(Adder::holding_zeros()));
    let client = CoordinatorClient::connect(ADDRESS, network.connector(patience())).await.unwrap();
    let start = Instant::now();
    let text = client.assign(MEMBER).await.unwrap_err().to_string();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(text.contains("answered assign with something unusable: status Unimplemented"), "{text}");
    server.stop().await;
}
