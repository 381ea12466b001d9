//! What the parameter server costs, beside what the machine can do at best, in alternating pairs:
//!
//! - the update of the whole model by a shard, beside STREAM's triad, in bytes that must at least be moved a second;
//! - the whole model fetched, and a whole gradient exchanged for the updated model, beside plain TCP moving the same bytes;
//! - that exchange over TLS beside the same one unencrypted, in time, in bytes and (on Linux) in processor time
//!   of both sides together.
//!
//! `cargo bench --package worker --bench exchange`

use std::{
    hint::black_box,
    io::{self, IoSlice, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    thread,
    time::Instant,
};

use access::{Folder, Role};
use kernels::{Buffer, Isa, peak::triad};
use network::{Architecture, GoogLeNet};
use parameter_server::{Shard, ShardHost};
use parameters::Layout;
use protocol::{
    Access, BlockPush, Connector, FetchRequest, Kind, Life, Member, Network, Patience, PushForm, Roster,
    RosterEntry, RunId, ShardCalls as _, ShardClient, UpdateRule, Version, Wire,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Runtime,
    sync::mpsc,
};
use worker::{exchange::Step, outgoing::OutgoingBlock, store::Store};

const LIFE: Life = Life { run: RunId(1), count: 0, nonce: 1 };
const MEMBER: Member = Member { worker: 0, incarnation: 1, life: LIFE };
/// Bytes of one call of plain TCP.
const CHUNK: usize = 1 << 20;

fn main() {
    kernels::memory::retain_freed_memory();
    let isa = Isa::detect();
    let network = GoogLeNet::new(&Architecture::paper()).expect("the paper's network");
    let layout = Arc::new(network.layout().clone());
    println!(
        "{} values in {} blocks, {}; medians of {} pairs",
        layout.len(),
        layout.blocks().len(),
        isa.name(),
        pairs()
    );
    update(isa, &layout);
    let runtime = Runtime::new().expect("a runtime");
    let mut exchanges = Exchanges::connect(&runtime, isa, layout.clone(), None);
    let mut plain = Plain::connect(4 * layout.len());
    fetch(&runtime, exchanges.store.first(), &mut plain, &layout);
    exchange(&mut exchanges, &mut plain);
    encrypted(&runtime, isa, &layout);
}

/// Reads gradient, weights, velocity and average, writes the last three and the reply: 32 bytes a value.
fn update(isa: Isa, layout: &Layout) {
    let mut shard = Shard::empty(0, 1, 1, isa);
    shard.begin(&rule()).expect("an empty shard takes a rule");
    shard.adopt(layout.clone()).expect("an empty shard adopts");
    let mut gradients: Vec<Vec<f32>> =
        layout.blocks().iter().map(|block| vec![1e-4; block.range.len()]).collect();
    let mut step = 0;
    let update = || {
        step += 1;
        for (block, place) in layout.blocks().iter().zip(&mut gradients) {
            let (index, version) = (block.index, Version { generation: 1, counter: step - 1 });
            let gradient = std::mem::take(place);
            let push = BlockPush {
                shard: 0,
                member: MEMBER,
                step,
                block: index,
                version,
                samples: 16,
                form: PushForm::Gradient,
                log: None,
                gradient: gradient.into(),
            };
            // The reply is as good a gradient as any.
            *place = shard
                .push(push)
                .outcome
                .expect("a sound push")
                .into_values()
                .expect("whole values")
                .values
                .into_vec();
        }
    };
    let [b, c] = [1.0, 2.0].map(|value| filled(layout.len(), value));
    let mut a = filled(layout.len(), 0.0);
    let triad = || triad(isa, 0.5, &b, &c, black_box(&mut a));
    let rate = |bytes: usize| (bytes * layout.len()) as f64 / 1e9;
    compare("update beside the triad", ("update", rate(32), update), ("triad", rate(12), triad));
}

fn filled(len: usize, value: f32) -> Buffer {
    let mut buffer = Buffer::zeroed(len);
    buffer.fill(value);
    buffer
}

fn fetch(runtime: &Runtime, client: &ShardClient, plain: &mut Plain, layout: &Layout) {
    let gigabytes = (4 * layout.len()) as f64 / 1e9;
    let mut model = filled(layout.len(), 0.0);
    let ours = || {
        let (values, mut received) = mpsc::channel(8);
        let blocks = (0..layout.blocks().len() as u32).collect();
        let fetching = client.fetch(
            FetchRequest { shard: 0, blocks, kind: Kind::Parameters, wire: Wire::F32, life: LIFE },
            values,
        );
        let taking = async {
            while let Some(block) = received.recv().await {
                block.values.copy_to(&mut model[layout.blocks()[block.block as usize].range.clone()]);
            }
        };
        runtime.block_on(async { tokio::join!(fetching, taking) }).0.expect("a fetch");
    };
    let theirs = || plain.fetch();
    compare("fetch beside plain TCP", ("fetch", gigabytes, ours), ("TCP", gigabytes, theirs));
}

fn exchange(exchanges: &mut Exchanges, plain: &mut Plain) {
    let gigabytes = exchanges.gigabytes();
    let ours = || exchanges.exchange();
    let theirs = || {
        plain.push();
        plain.fetch();
    };
    compare(
        "gradient out, updated model back, beside plain TCP there and back",
        ("exchange", gigabytes, ours),
        ("TCP", gigabytes, theirs),
    );
}

/// The same exchange with two servers, of which one asks for a token and is thus spoken to over TLS.
fn encrypted(runtime: &Runtime, isa: Isa, layout: &Arc<Layout>) {
    let home = tempfile::tempdir().expect("a folder");
    let folder = Folder::make(&home.path().join("access"), None).expect("a run's tokens");
    let mut over_tls = Exchanges::connect(runtime, isa, layout.clone(), Some(&folder));
    let mut without = Exchanges::connect(runtime, isa, layout.clone(), None);
    let gigabytes = without.gigabytes();
    // The bytes of connecting and adopting the layout are not those of an exchange.
    let before = [&over_tls, &without].map(|exchanges| exchanges.bytes.load(Relaxed));
    compare(
        "exchange over TLS beside the same one without",
        ("TLS", gigabytes, || over_tls.exchange()),
        ("without", gigabytes, || without.exchange()),
    );
    let [tls, none] = [(&over_tls, before[0]), (&without, before[1])]
        .map(|(exchanges, before)| (exchanges.bytes.load(Relaxed) - before) as f64 / exchanges.step as f64);
    println!("bytes of an exchange: TLS {tls:.0}, without {none:.0}, ratio {:.4}", tls / none);
    let [tls, none] = [&over_tls, &without].map(|exchanges| 1e3 * exchanges.busy / exchanges.step as f64);
    println!("processor time of an exchange: TLS {tls:.0} ms, without {none:.0} ms, ratio {:.2}", tls / none);
}

/// A worker's exchanges with a server of its own.
struct Exchanges<'a> {
    runtime: &'a Runtime,
    store: Store,
    layout: Arc<Layout>,
    gradient: Buffer,
    model: Buffer,
    /// Exchanges so far.
    step: u64,
    /// Bytes that went over the connection, in both directions.
    bytes: Arc<AtomicU64>,
    /// Seconds that processors were busy with the exchanges.
    busy: f64,
}

impl<'a> Exchanges<'a> {
    /// Starts a server, which asks for a token if there are some in `folder`, and connects to it.
    fn connect(
        runtime: &'a Runtime,
        isa: Isa,
        layout: Arc<Layout>,
        folder: Option<&Folder>,
    ) -> Exchanges<'a> {
        let access = folder.map_or(Access::Open, |folder| {
            Access::Tokens(folder.credentials().expect("the run's credentials"))
        });
        let bytes = Arc::new(AtomicU64::new(0));
        let connector = Connector {
            network: counting_network(serve(isa, access), bytes.clone()),
            patience: Patience::default(),
            token: folder.map(|folder| folder.token(Role::Worker).expect("a worker's token")),
        };
        // A name that is not this machine's, or nothing would be encrypted; the network leads it here.
        let address = "server.example:7070".to_string();
        let store = runtime.block_on(async {
            let store = Store::connect(&[address], LIFE, layout.clone(), Wire::F32, &connector).await;
            let store = store.expect("connected");
            store.adopt(MEMBER, connector.patience).await.expect("adopted");
            store
        });
        let (gradient, model) = (filled(layout.len(), 1e-4), filled(layout.len(), 0.0));
        Exchanges { runtime, store, layout, gradient, model, step: 0, bytes, busy: 0.0 }
    }

    /// Number of bytes of an exchange's values, in units of 1e9.
    fn gigabytes(&self) -> f64 {
        (8 * self.layout.len()) as f64 / 1e9
    }

    fn exchange(&mut self) {
        self.step += 1;
        let before = busy();
        let (layout, gradient, model) = (&self.layout, &self.gradient, &mut self.model);
        let (blocks, gradients) = mpsc::unbounded_channel();
        let exchange = self.store.exchange(
            Step { member: MEMBER, step: self.step, samples: 16, form: PushForm::Gradient },
            gradients,
            |tensor, values| model[layout.range(tensor)].copy_from_slice(&values),
        );
        let exchanged = thread::scope(|scope| {
            // As backward does it, from the top.
            scope.spawn(|| {
                for block in layout.blocks().iter().rev() {
                    let values = gradient[block.range.clone()].to_vec().into();
                    let _ = blocks.send(OutgoingBlock { block: block.index, values, usable: true });
                }
                drop(blocks);
            });
            self.runtime.block_on(exchange).expect("an exchange")
        });
        assert_eq!(exchanged.applied as usize, layout.blocks().len());
        self.busy += busy() - before;
    }
}

/// Returns the seconds for which this process has kept processors busy so far; NaN where there is no /proc.
fn busy() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which is in parentheses, come the state and ten numbers, then the time in the program
    // and that in the system, in hundredths of a second.
    let numbers =
        stat.rsplit_once(')').map_or("", |(_, numbers)| numbers).split_whitespace().skip(11).take(2);
    let times: Vec<f64> = numbers.filter_map(|number| number.parse().ok()).collect();
    if times.len() == 2 { times.iter().sum::<f64>() / 100.0 } else { f64::NAN }
}

/// Number of pairs: one under `cargo test`, which only looks whether the benchmark still runs.
fn pairs() -> usize {
    if std::env::args().any(|flag| flag == "--bench") { 9 } else { 1 }
}

/// Times two things in turn, each after one run that is not counted.
fn compare(what: &str, ours: (&str, f64, impl FnMut()), theirs: (&str, f64, impl FnMut())) {
    let seconds = |run: &mut dyn FnMut()| {
        let begun = Instant::now();
        run();
        begun.elapsed().as_secs_f64()
    };
    let (mut our, mut their) = (ours.2, theirs.2);
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    for pair in 0..=pairs() {
        let rate = ours.1 / seconds(&mut our);
        let beside = theirs.1 / seconds(&mut their);
        if pair > 0 {
            for (rates, rate) in rates.iter_mut().zip([rate, beside, rate / beside]) {
                rates.push(rate);
            }
        }
    }
    let [our, their, ratio] = rates.map(|mut rates| {
        rates.sort_unstable_by(f64::total_cmp);
        rates[pairs() / 2]
    });
    println!("{what}: {} {our:.2} GB/s, {} {their:.2} GB/s, ratio {ratio:.2}", ours.0, theirs.0);
}

fn rule() -> UpdateRule {
    UpdateRule {
        seed: 1,
        learning_rate: 1e-4,
        optimizer: settings::Optimizer::Momentum,
        stair_factor: 1.0,
        staleness: None,
        stair_samples: 1000,
        ramp_samples: 0,
        momentum: 0.9,
        weight_decay: 2e-4,
        average_decay: 0.9999,
        total_samples: 1_000_000,
        batch: None,
        init_sha256: None,
        init_except: Vec::new(),
    }
}

/// Starts a server of one shard on threads of its own; returns its address.
fn serve(isa: Isa, access: Access) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        let mut shard = Shard::empty(0, 1, 1, isa);
        shard.begin(&rule()).expect("an empty shard takes a rule");
        let host = ShardHost::new(0, vec![shard], "nowhere".into());
        host.live(LIFE);
        let Member { worker, incarnation, .. } = MEMBER;
        let members = vec![RosterEntry { worker, incarnation }];
        host.admit(&Roster { version: 1, next_worker: 1, members, ..Roster::default() });
        Runtime::new().expect("a runtime").block_on(async {
            listener.set_nonblocking(true).expect("a listener for tokio");
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener for tokio");
            protocol::serve(listener, access, None, Some(Arc::new(host)), std::future::pending())
                .await
                .expect("it serves");
        });
    });
    address
}

/// TCP to one address, which counts its bytes.
fn counting_network(address: SocketAddr, bytes: Arc<AtomicU64>) -> Network {
    Network::new(move |_| {
        let bytes = bytes.clone();
        async move {
            let stream = tokio::net::TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Counting { stream, bytes })
        }
    })
}

/// A connection that counts its bytes.
struct Counting {
    stream: tokio::net::TcpStream,
    bytes: Arc<AtomicU64>,
}

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.bytes.fetch_add((buffer.filled().len() - before) as u64, Relaxed);
        read
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.bytes.fetch_add(count as u64, Relaxed);
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        if let Poll::Ready(Ok(count)) = written {
            self.bytes.fetch_add(count as u64, Relaxed);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A plain exchange of the same bytes over TCP and nothing else.
struct Plain {
    stream: TcpStream,
    memory: Vec<u8>,
}

const FETCH: u8 = 1;
const PUSH: u8 = 2;

impl Plain {
    fn connect(bytes: usize) -> Plain {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the client");
            stream.set_nodelay(true).expect("a socket");
            let mut memory = vec![1; bytes];
            let mut call = [0];
            while stream.read_exact(&mut call).is_ok() {
                match call[0] {
                    FETCH => send(&mut stream, &memory),
                    _ => {
                        receive(&mut stream, &mut memory);
                        stream.write_all(&call).expect("an acknowledgement");
                    }
                }
            }
        });
        let stream = TcpStream::connect(address).expect("the server");
        stream.set_nodelay(true).expect("a socket");
        Plain { stream, memory: vec![1; bytes] }
    }

    fn fetch(&mut self) {
        self.stream.write_all(&[FETCH]).expect("a request");
        receive(&mut self.stream, &mut self.memory);
    }

    fn push(&mut self) {
        self.stream.write_all(&[PUSH]).expect("a request");
        send(&mut self.stream, &self.memory);
        self.stream.read_exact(&mut [0]).expect("an acknowledgement");
    }
}

fn send(stream: &mut TcpStream, bytes: &[u8]) {
    bytes.chunks(CHUNK).for_each(|chunk| stream.write_all(chunk).expect("sent"));
}

fn receive(stream: &mut TcpStream, bytes: &mut [u8]) {
    bytes.chunks_mut(CHUNK).for_each(|chunk| stream.read_exact(chunk).expect("received"));
}
