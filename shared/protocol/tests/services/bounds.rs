//! What limits whoever speaks to a server: counts, sizes and times of its connections and calls.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::support::{
    log::Log,
    memory::{ADDRESS, Memory, MemoryListener},
    raw::*,
    *,
};
use protocol::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

const PUSH: &str = "/downpour.v1.Shards/Push";
const FETCH: &str = "/downpour.v1.Shards/Fetch";
/// Settings with which nothing of any stream's answer is taken.
const TAKES_NOTHING: [(u16, u32); 1] = [(4, 0)];
const MIB: usize = 1 << 20;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A network with a server on it.
fn server() -> (Memory, Arc<Adder>, ServerInMemory) {
    let (network, shards) = (Memory::default(), Arc::new(Adder::holding_zeros()));
    let server = ServerInMemory::start(&network, &shards);
    (network, shards, server)
}

async fn raw(network: &Memory, settings: &[(u16, u32)]) -> Raw<DuplexStream> {
    Raw::begin(network.dial().unwrap(), settings).await
}

/// How a client reaches a server, and how many connections it has made.
fn counted(network: &Memory) -> (Connector, Arc<AtomicUsize>) {
    let (dials, network) = (Arc::new(AtomicUsize::new(0)), network.clone());
    let counted = dials.clone();
    let open = move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        let connection = network.dial();
        async move { connection.ok_or(io::Error::from(io::ErrorKind::ConnectionRefused)) }
    };
    let patience = Patience { give_up_after: seconds(300), ..patience() };
    (Connector { network: Network::new(open), patience, token: None }, dials)
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_told_how_much_it_may_send() {
    let (network, _, _server) = server();
    let mut raw = raw(&network, &[]).await;
    let settings = raw.next_of(SETTINGS).await.unwrap().payload;
    let told = |number| {
        let setting = settings.chunks(6).find(|setting| setting[..2] == [0, number]);
        u32::from_be_bytes(setting.unwrap()[2..].try_into().unwrap())
    };
    // Calls at a time; bytes unread of a stream; bytes of a frame; bytes of headers.
    assert_eq!([3, 4, 5, 6].map(told), [64, 2 << 20, 128 << 10, 16 << 10]);
    // A connection's window is grown from what it is where nothing is said.
    let window = raw.next_of(WINDOW).await.unwrap();
    assert_eq!((window.stream, &window.payload[..]), (0, &((4u32 << 20) - 65_535).to_be_bytes()[..]));
    // One that does not keep to it is sent away: FRAME_SIZE_ERROR.
    raw.send(&frame(0xfe, 0, 0, &vec![0; (128 << 10) + 1])).await.unwrap();
    assert_eq!(raw.end().await, Some(6));
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_64_calls_at_a_time() {
    let (network, _, _server) = server();
    let mut raw = raw(&network, &[]).await;
    for call in 0..70 {
        raw.open(1 + 2 * call, PUSH).await;
    }
    for call in 64..70 {
        let reset = raw.next_of(RESET).await.unwrap();
        // REFUSED_STREAM: the call was not made.
        assert_eq!((reset.stream, &reset.payload[..]), (1 + 2 * call, &7u32.to_be_bytes()[..]));
    }
    raw.data(1, &[], END).await;
    raw.trailers(1).await.unwrap();
    raw.call(141, FETCH, &fetch_request(&[4])).await;
    raw.trailers(141).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_begin_is_closed_after_ten_seconds() {
    let home = tempfile::tempdir().unwrap();
    let folder = access::Folder::make(&home.path().join("access"), None).unwrap();
    for access in [Access::Open, Access::Tokens(folder.credentials().unwrap())] {
        let network = Memory::default();
        let shards: Option<Arc<dyn Shards>> = Some(Arc::new(Adder::holding_zeros()));
        let listener = network.listen();
        let encrypts = matches!(access, Access::Tokens(_));
        tokio::spawn(serve(listener, access, None, shards, std::future::pending()));
        let tls = &[0x16, 3, 1, 1, 0][..];
        for said in [&[][..], &PREFACE[..1], &PREFACE[..23], tls] {
            if said == tls && !encrypts {
                continue;
            }
            let mut connection = network.dial().unwrap();
            let begun = Instant::now();
            connection.write_all(said).await.unwrap();
            let _ = connection.read_to_end(&mut Vec::new()).await;
            let took = begun.elapsed().as_secs_f32();
            assert!((9.9..10.1).contains(&took), "{took} s after {said:?}, encrypts: {encrypts}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_call_is_closed_after_five_minutes() {
    let (network, _, _server) = server();
    for call in [false, true] {
        let mut raw = raw(&network, &[]).await;
        let mut begun = Instant::now();
        if call {
            // Half of the time passes first, in which the pings are answered.
            let _ = timeout(seconds(150), raw.end()).await;
            begun = Instant::now();
            raw.call(1, FETCH, &fetch_request(&[4])).await;
        }
        raw.end().await;
        let took = begun.elapsed().as_secs_f32();
        assert!((299.9..300.1).contains(&took), "{took} s, with a call: {call}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_does_not_notice_that_its_idle_connection_was_closed() {
    let log = Log::default();
    let _guard = log.start();
    let (network, _, _server) = server();
    let (connector, dials) = counted(&network);
    let client = ShardClient::connect(ADDRESS, connector).await.unwrap();
    for call in 1..4 {
        client.status().await.unwrap();
        push_all(&client, Wire::F32, call).await.unwrap();
        assert_eq!(dials.load(Ordering::Relaxed), call as usize);
        sleep(seconds(310)).await;
    }
    assert!(!log.text().contains("WARN"), "{}", log.text());
}

/// Pushes two blocks with a pause in between; returns how many connections and pushes that took.
async fn push_with_a_pause(pause: Duration) -> (usize, usize) {
    let (network, shards, _server) = server();
    let (connector, dials) = counted(&network);
    let client = ShardClient::connect(ADDRESS, connector).await.unwrap();
    let (to, pushes) = mpsc::channel(1);
    let (replies, mut from) = mpsc::channel(1);
    let pushing = tokio::spawn(async move { client.push(Wire::F32, pushes, replies).await });
    for block in 0..2 {
        sleep(pause).await;
        to.send(vec![block_push(block, 1)]).await.unwrap();
        from.recv().await.unwrap().outcome.unwrap();
    }
    drop(to);
    pushing.await.unwrap().unwrap();
    (dials.load(Ordering::Relaxed), shards.state.lock().unwrap().came)
}

#[tokio::test(start_paused = true)]
async fn a_step_may_compute_for_long_before_it_pushes() {
    let log = Log::default();
    let _guard = log.start();
    assert_eq!(push_with_a_pause(seconds(29 * 60)).await, (1, 2));
    assert!(!log.text().contains("WARN"), "{}", log.text());
    // One that is silent for longer goes on over another stream.
    assert_eq!(push_with_a_pause(seconds(50 * 60)).await.1, 2);
    assert!(log.text().contains("no message within 1800 s"), "{}", log.text());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_begins_must_be_there_within_two_minutes() {
    let (network, shards, _server) = server();
    let mut raw = raw(&network, &[]).await;
    raw.open(1, PUSH).await;
    let _ = timeout(seconds(200), raw.end()).await;
    let begun = Instant::now();
    raw.data(1, &message(4 * MIB, &[0; 1000]), 0).await;
    let mut dripping = tokio::time::interval(seconds(10));
    let trailers = async {
        loop {
            tokio::select! {
                bytes = raw.trailers(1) => return bytes,
                _ = dripping.tick() => {}
            }
            raw.data(1, &[0; 1000], 0).await;
        }
    };
    assert_eq!(trailers.await, Some(0));
    let took = begun.elapsed().as_secs_f32();
    assert!((119.9..120.1).contains(&took), "{took} s");
    assert_eq!(shards.state.lock().unwrap().came, 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_takes_ends_with_its_connection() {
    let (network, _, _server) = server();
    let blocks = [0; 200];
    // Whoever begins to read after two minutes is told why it ends.
    let mut late = raw(&network, &TAKES_NOTHING).await;
    late.call(1, FETCH, &fetch_request(&blocks)).await;
    let begun = Instant::now();
    let _ = timeout(seconds(125), late.end()).await;
    late.send(&frame(WINDOW, 0, 1, &(100u32 << 20).to_be_bytes())).await.unwrap();
    late.send(&frame(WINDOW, 0, 0, &(100u32 << 20).to_be_bytes())).await.unwrap();
    let taken = late.trailers(1).await.unwrap();
    assert!((1..4 * MIB).contains(&taken), "{taken} bytes");

    let mut never = raw(&network, &TAKES_NOTHING).await;
    never.call(1, FETCH, &fetch_request(&blocks)).await;
    assert!(begun.elapsed() < seconds(130));
    let begun = Instant::now();
    never.end().await;
    let took = begun.elapsed().as_secs_f32();
    assert!((129.9..130.1).contains(&took), "{took} s");
}

#[tokio::test(start_paused = true)]
async fn what_all_calls_send_fits_in_one_budget_and_others_wait_for_it() {
    let (network, shards) = (Memory::default(), Arc::new(Adder::holding_zeros()));
    let room = Room { sent: 8 * MIB, ..Room::default() };
    let _server = ServerInMemory::within(room, network.listen(), &shards);
    let mut hog = raw(&network, &TAKES_NOTHING).await;
    // Seven of them leave less than a block.
    for call in 0..7 {
        hog.call(1 + 2 * call, FETCH, &fetch_request(&[0; 200])).await;
    }
    let hogging = tokio::spawn(async move { hog.end().await });
    sleep(Duration::from_millis(1)).await;
    let read = shards.state.lock().unwrap().fetched;
    assert!((4 * MIB..=8 * MIB).contains(&read), "{read} bytes were read for one that takes none");
    // Another is told to try again until the hog is gone.
    let log = Log::default();
    let _guard = log.start();
    let begun = Instant::now();
    let (connector, _) = counted(&network);
    let client = ShardClient::connect(ADDRESS, connector).await.unwrap();
    assert_eq!(fetch(&client, Wire::F32, &[0, 1], Kind::Parameters).await.unwrap().len(), 2);
    let waited = begun.elapsed().as_secs();
    assert!((100..200).contains(&waited), "{waited} s");
    assert!(log.text().contains("bytes of answers waiting to be sent; try again later"), "{}", log.text());
    hogging.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_all_calls_gather_fits_in_one_budget_and_others_wait_for_it() {
    let (network, shards) = (Memory::default(), Arc::new(Adder::holding_zeros()));
    let room = Room { received: 16 * MIB, ..Room::default() };
    let _server = ServerInMemory::within(room, network.listen(), &shards);
    let mut hog = raw(&network, &[]).await;
    for call in 0..5 {
        hog.open(1 + 2 * call, PUSH).await;
        hog.data(1 + 2 * call, &message(4 * MIB, &[0]), 0).await;
    }
    let begun = Instant::now();
    // There is room for four of them.
    hog.trailers(9).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 30);
    let hogging = tokio::spawn(async move { hog.trailers(1).await });
    let log = Log::default();
    let _guard = log.start();
    let (connector, _) = counted(&network);
    let client = ShardClient::connect(ADDRESS, connector).await.unwrap();
    // What needs no room goes on.
    client.status().await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert_eq!(push_all(&client, Wire::F32, 1).await.unwrap().len(), 6);
    let waited = begun.elapsed().as_secs();
    assert!((110..200).contains(&waited), "{waited} s");
    assert!(log.text().contains("bytes of messages being received; try again later"), "{}", log.text());
    assert_eq!(hogging.await.unwrap(), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_call_counts_though_it_says_nothing() {
    let (network, shards) = (Memory::default(), Arc::new(Adder::holding_zeros()));
    let room = Room { sent: MIB, ..Room::default() };
    let _server = ServerInMemory::within(room, network.listen(), &shards);
    let mut hog = raw(&network, &[]).await;
    let begun = Instant::now();
    for call in 0..17 {
        hog.open(1 + 2 * call, PUSH).await;
        let answer = hog.next_of(HEADERS).await.unwrap();
        assert_eq!((answer.stream, answer.flags & END != 0), (1 + 2 * call, call == 16));
        assert_eq!(begun.elapsed().as_secs(), if call < 16 { 0 } else { 30 });
    }
    // The health service is there all the same.
    hog.call(101, "/grpc.health.v1.Health/Check", &[]).await;
    hog.trailers(101).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn the_health_service_takes_small_requests_only() {
    let (network, _, _server) = server();
    let mut raw = raw(&network, &[]).await;
    let begun = Instant::now();
    raw.open(1, "/grpc.health.v1.Health/Check").await;
    raw.data(1, &message(5000, &[]), 0).await;
    raw.trailers(1).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_ninth_fetch_of_a_client_waits_for_one_of_eight() {
    let (network, _, _server) = server();
    let client = ShardClient::connect(ADDRESS, network.connector(patience())).await.unwrap();
    let request =
        FetchRequest { shard: 0, blocks: vec![4; 100], kind: Kind::Parameters, wire: Wire::F32, life: LIFE };
    let mut slow = Vec::new();
    for _ in 0..8 {
        let (values, mut from) = mpsc::channel(1);
        let (client, request) = (client.clone(), request.clone());
        tokio::spawn(async move { client.fetch(request, values).await });
        from.recv().await.unwrap();
        slow.push(from);
    }
    let ninth = fetch(&client, Wire::F32, &[4], Kind::Parameters);
    let mut ninth = std::pin::pin!(ninth);
    assert!(timeout(seconds(1), &mut ninth).await.is_err());
    slow.pop();
    assert_eq!(timeout(seconds(1), ninth).await.unwrap().unwrap().len(), 1);
}

/// A listener whose connections seem to come from one address, and which fails while it is told to.
struct Odd {
    listener: MemoryListener,
    from: SocketAddr,
    spent: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Odd {
    fn new(network: &Memory, from: &str, spent: bool) -> Odd {
        let spent = Arc::new(AtomicBool::new(spent));
        Odd { listener: network.listen(), from: from.parse().unwrap(), spent, asked: Arc::default() }
    }
}

impl Listener for Odd {
    type Connection = DuplexStream;

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.spent.load(Ordering::Relaxed) {
            // Linux's number for a process without free descriptors.
            return Err(io::Error::from_raw_os_error(24));
        }
        Ok((self.listener.accept().await?.0, self.from))
    }
}

#[tokio::test(start_paused = true)]
async fn one_address_has_512_connections_and_further_ones_are_closed_at_once() {
    let log = Log::default();
    let _guard = log.start();
    let (network, shards) = (Memory::default(), Arc::new(Adder::holding_zeros()));
    let listener = Odd::new(&network, "192.0.2.7:50000", false);
    let _server = ServerInMemory::within(Room::default(), listener, &shards);
    let begun = Instant::now();
    let mut open = Vec::new();
    for _ in 0..512 {
        let mut raw = raw(&network, &[]).await;
        raw.next_of(SETTINGS).await.expect("a connection");
        open.push(raw);
    }
    for _ in 0..100 {
        let mut closed = network.dial().unwrap();
        assert_eq!(closed.read(&mut [0]).await.unwrap(), 0);
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(log.text().matches("closed 1 connections at once, the last from 192.0.2.7").count(), 1);
    assert_eq!(log.text().lines().count(), 1, "{}", log.text());
    // A place that is left is free again.
    open.pop();
    sleep(seconds(1)).await;
    let mut raw = raw(&network, &[]).await;
    raw.next_of(SETTINGS).await.expect("a connection");
}

#[tokio::test(start_paused = true)]
async fn a_server_without_file_descriptors_pauses_and_goes_on() {
    let log = Log::default();
    let _guard = log.start();
    let (network, shards) = (Memory::default(), Arc::new(Adder::holding_zeros()));
    let listener = Odd::new(&network, "127.0.0.1:50000", true);
    let (spent, asked) = (listener.spent.clone(), listener.asked.clone());
    let _server = ServerInMemory::within(Room::default(), listener, &shards);
    sleep(seconds(119)).await;
    let asked = asked.load(Ordering::Relaxed);
    assert!((100..130).contains(&asked), "{asked} times");
    assert_eq!(log.text().matches("no connection could be accepted").count(), 2, "{}", log.text());
    spent.store(false, Ordering::Relaxed);
    let client = ShardClient::connect(ADDRESS, network.connector(patience())).await.unwrap();
    client.status().await.unwrap();
}
