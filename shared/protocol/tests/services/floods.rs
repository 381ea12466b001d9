//! Floods of HTTP/2 frames, each of which once brought servers down: the other clients are answered at once, and
//! whoever floods is sent away, or held up by the server's reading no further.

use std::{io, sync::Arc, time::Duration};

use crate::support::{
    memory::{ADDRESS, Memory},
    raw::*,
    *,
};
use protocol::*;
use tokio::{
    io::DuplexStream,
    time::{Instant, timeout},
};

const STATUS: &str = "/downpour.v1.Shards/Status";
/// Number of the HTTP/2 error ENHANCE_YOUR_CALM.
const CALM: u32 = 11;

/// What became of a flood.
#[derive(Debug)]
struct Course {
    /// Bytes that were taken.
    taken: usize,
    /// Whether the server stopped reading, or else closed the connection.
    held_up: bool,
}

/// A server and a connection to it that floods.
struct Flood {
    network: Memory,
    _server: ServerInMemory,
    raw: Raw<DuplexStream>,
}

impl Flood {
    async fn begin() -> Flood {
        let network = Memory::default();
        let _server = ServerInMemory::start(&network, &Arc::new(Adder::holding_zeros()));
        let raw = Raw::begin(network.dial().unwrap(), &[]).await;
        Flood { network, _server, raw }
    }

    /// Sends what `next` makes, by number, until it is not taken any more, or 8 MiB are.
    async fn send(&mut self, mut next: impl FnMut(u32) -> Vec<u8>) -> Course {
        let mut taken = 0;
        for number in 0.. {
            let bytes = next(number);
            match timeout(Duration::from_secs(5), self.raw.send(&bytes)).await {
                Ok(Ok(())) if taken >= 8 << 20 => return Course { taken, held_up: false },
                Ok(Ok(())) => taken += bytes.len(),
                Ok(Err(error)) => {
                    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
                    return Course { taken, held_up: false };
                }
                Err(_) => return Course { taken, held_up: true },
            }
            self.others_are_answered().await;
        }
        unreachable!("the numbers do not end")
    }

    /// Checks that another client is answered, and at once.
    async fn others_are_answered(&self) {
        let begun = Instant::now();
        let client = ShardClient::connect(ADDRESS, self.network.connector(patience())).await.unwrap();
        client.status().await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    /// Waits for the end of the connection; returns its reason and how long it took.
    async fn end(mut self) -> (Option<u32>, u64) {
        let begun = Instant::now();
        (self.raw.end().await, begun.elapsed().as_secs())
    }
}

#[tokio::test(start_paused = true)]
async fn streams_that_are_reset_as_soon_as_they_are_open() {
    let mut flood = Flood::begin().await;
    let course = flood
        .send(|number| {
            let pair = |stream| {
                let open = frame(HEADERS, END_HEADERS, stream, &call_headers(STATUS));
                [open, frame(RESET, 0, stream, &8u32.to_be_bytes())].concat()
            };
            (0..100).flat_map(|place| pair(1 + 2 * (100 * number + place))).collect()
        })
        .await;
    assert!(course.taken < 1 << 20, "{course:?}");
    assert_eq!(flood.end().await, (Some(CALM), 0));
}

#[tokio::test(start_paused = true)]
async fn frames_that_are_to_be_answered_by_one_that_reads_nothing() {
    for one in [frame(PING, 0, 0, b"12345678"), frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255])] {
        let mut flood = Flood::begin().await;
        let course = flood.send(|_| one.repeat(1000)).await;
        // What lies on the network in both directions, and little more.
        assert!(course.held_up && course.taken < 4 << 20, "{course:?}");
        flood.others_are_answered().await;
        // It does not hold its place by this for ever.
        let closed = timeout(Duration::from_secs(200), async {
            while timeout(Duration::from_secs(1), flood.raw.send(&one)).await.is_err() {}
            flood.raw.send(&one).await
        });
        assert!(closed.await.expect("it is closed").is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn headers_that_do_not_end() {
    let fields = [header("a", &"b".repeat(100)), Vec::new(), header("a", "")];
    for field in fields {
        let mut flood = Flood::begin().await;
        let course = flood
            .send(|number| match number {
                0 => frame(HEADERS, 0, 1, &call_headers(STATUS)),
                _ => frame(CONTINUATION, 0, 1, &field.repeat(10)).repeat(10),
            })
            .await;
        assert!(!course.held_up && course.taken < 1 << 20, "{course:?}");
        let (reason, seconds) = flood.end().await;
        assert!(reason.is_some_and(|reason| reason != 0) && seconds == 0, "{reason:?} after {seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn headers_of_more_than_their_size_are_not_taken() {
    let mut flood = Flood::begin().await;
    let many = header("name", &"v".repeat(100)).repeat(300);
    let headers = [call_headers(STATUS), many].concat();
    flood.raw.send(&frame(HEADERS, END_HEADERS | END, 1, &headers)).await.unwrap();
    // The call ends without an answer, as one that the server does not know.
    let answer = flood.raw.next_of(HEADERS).await.unwrap();
    assert_eq!((answer.stream, answer.flags & END), (1, END));
    flood.others_are_answered().await;
}

#[tokio::test(start_paused = true)]
async fn data_of_nothing() {
    let mut flood = Flood::begin().await;
    flood.raw.open(1, "/downpour.v1.Shards/Push").await;
    let course = flood.send(|_| frame(DATA, 0, 1, &[]).repeat(100)).await;
    assert!(course.taken < 1 << 20, "{course:?}");
    assert_eq!(flood.end().await, (Some(CALM), 0));
}

#[tokio::test(start_paused = true)]
async fn frames_that_mean_nothing_cost_nothing() {
    let priority = frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 16]);
    let unknown = frame(0xfe, 0, 0, &[0; 1000]);
    for one in [priority, unknown] {
        let mut flood = Flood::begin().await;
        let bytes = one.repeat((1 << 20) / one.len());
        let course = flood.send(|_| bytes.clone()).await;
        assert!(!course.held_up, "{course:?}");
        flood.others_are_answered().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_that_grows_without_end() {
    let mut flood = Flood::begin().await;
    let course = flood.send(|_| frame(WINDOW, 0, 0, &(1u32 << 20).to_be_bytes()).repeat(100)).await;
    assert!(course.taken < 1 << 20, "{course:?}");
    // FLOW_CONTROL_ERROR: the window overflows.
    assert_eq!(flood.end().await, (Some(3), 0));
}
