//! A bench of a server with many members: made-up workers of one server process, which speak the real protocol
//! over loopback with tokens, push gradients to a network of 0.2 million values, and compute nothing. Each
//! member lives for a random time; then it leaves or falls silent, one as often as the other, and a new one
//! joins in its place.
//!
//! The bench prints the server's resident memory, early and at the end (bar: at most 5 % more), the pushes a minute
//! of the slowest member beside the median's (bar: at least half), the time from a push to its last reply, and the
//! time that the server takes to give out its metrics, of which Prometheus asks for them every 15 s (bar: for each 100
//! members at most 0.1 % of it). At the end all members leave, and the server's account must add up. Linux only, as it reads /proc;
//! each member has two connections, so `ulimit -n` must be above twice their number here and at the server.
//!
//! `cargo bench --package downpour --bench members -- --members 1000 --seconds 600`; `--pause MS` is a member's
//! time between two pushes, `--life S` a member's mean time in the run, and `--seed N` decides who goes when.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use access::Token;
use parameters::{Initialiser, Layout, Tensor};
use protocol::{
    AdoptRequest, Assignment, BlockPush, ClientError, Connector, CoordinatorCalls as _, CoordinatorClient,
    DataDescription, JoinReply, JoinRequest, LeaseProgress, PROTOCOL_VERSION, Patience, PushForm, PushReply,
    Refusal, Report, ShardCalls as _, ShardClient, StepMetrics, Version, Wire,
};
use rand::RngExt;
use settings::random::{self, Random};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{sleep, sleep_until},
};

/// Tensors of the network, and values of each.
const TENSORS: usize = 20;
const VALUES: usize = 10_000;
/// Images of a minibatch.
const BATCH: u64 = 16;
/// Members that are about to join at a time: they all connect.
const JOINING: usize = 32;
/// Shortest time in the run of a member whose pushes are compared with others'.
const COMPARED: Duration = Duration::from_secs(60);
/// Largest growth of memory from early to the end, and least pushes of the slowest member, as parts.
const MOST_GROWTH: f64 = 0.05;
const LEAST_SHARE: f64 = 0.5;
/// Number of times that the bench asks for the server's metrics, seconds between two times in which Prometheus does, and
/// the largest part of these that giving them out takes, for each 100 members.
const SCRAPES: usize = 25;
const SCRAPE_EVERY: f64 = 15.0;
const MOST_SCRAPED: f64 = 0.001;

/// The arguments.
#[derive(Clone, Copy)]
struct Plan {
    members: u64,
    length: Duration,
    pause: Duration,
    /// Mean time of a member in the run, in seconds.
    life: f64,
    /// Time, in seconds, for which the server lets a member be silent.
    lease: u64,
    seed: u64,
    /// True in the bench; false under `cargo test`, which only looks whether the program still runs.
    bench: bool,
}

/// Measurements and counts of all members together.
#[derive(Default)]
struct Seen {
    /// Time from each push to its last reply.
    latencies: Vec<Duration>,
    /// Pushes a minute of each member that was there for long enough.
    rates: Vec<f64>,
    joins: u64,
    left: u64,
    silent: u64,
    /// Members whose calls came so late that they were out.
    late: u64,
}

type Shared = Arc<Mutex<Seen>>;

fn main() {
    let bench = std::env::args().any(|flag| flag == "--bench");
    let number = |flag: &str, bench_has: u64, test_has: u64| {
        let mut words = std::env::args().skip_while(|word| word != flag);
        let given = words.nth(1).map(|text| text.parse().expect("a flag's value is a number"));
        given.unwrap_or(if bench { bench_has } else { test_has })
    };
    let plan = Plan {
        members: number("--members", 1000, 8),
        length: Duration::from_secs(number("--seconds", 600, 4)),
        pause: Duration::from_millis(number("--pause", 10_000, 50)),
        life: number("--life", 300, 2) as f64,
        lease: if bench { 60 } else { 3 },
        seed: number("--seed", 1, 1),
        bench,
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let well = runtime.block_on(run(plan));
    runtime.shutdown_background();
    if !well {
        std::process::exit(1);
    }
}

/// Runs the server and its members and prints what was seen; returns whether every bar holds.
async fn run(plan: Plan) -> bool {
    let mut server = Server::start(plan.lease);
    let connector = server.connector().await;
    let (seen, joining) = (Shared::default(), Arc::new(Semaphore::new(JOINING)));
    let begun = Instant::now();
    let end = begun + plan.length;
    let mut places = JoinSet::new();
    for place in 0..plan.members {
        let (connector, address) = (connector.clone(), server.address.clone());
        places.spawn(fill_place(place, plan, end, connector, address, joining.clone(), seen.clone()));
    }
    // All have joined by then, unless the machine is too slow for so many.
    let early = Duration::from_secs(120).min(plan.length / 5);
    sleep(early).await;
    let memory_early = server.memory();
    sleep_until((end - Duration::from_millis(500)).into()).await;
    let memory_last = server.memory();
    let scraped = server.scrape();
    places.join_all().await;
    // Those that fell silent are out by then.
    sleep(Duration::from_secs(plan.lease + 2)).await;
    let account = server.stop();

    let mut seen = std::mem::take(&mut *seen.lock().expect("no member panicked"));
    let Seen { joins, left, silent, late, ref latencies, .. } = seen;
    println!(
        "{} members for {} s: {joins} joins, {left} left, {silent} fell silent and {late} were too slow to stay, {} pushes",
        plan.members,
        plan.length.as_secs(),
        latencies.len()
    );
    let growth = memory_last / memory_early - 1.0;
    println!(
        "resident memory of the server: {memory_early:.1} MiB after {} s, {memory_last:.1} MiB at the end: {:+.1} %",
        early.as_secs(),
        100.0 * growth
    );
    seen.rates.sort_by(f64::total_cmp);
    let mut share = 1.0;
    if let (Some(least), Some(median)) = (seen.rates.first(), seen.rates.get(seen.rates.len() / 2)) {
        share = least / median;
        println!("pushes a minute: slowest member {least:.2}, median {median:.2}: {:.0} %", 100.0 * share);
    }
    seen.latencies.sort_unstable();
    let quantile = |part: f64| {
        let at = (seen.latencies.len() as f64 * part) as usize;
        seen.latencies.get(at).map_or(f64::NAN, |time| 1e3 * time.as_secs_f64())
    };
    println!("a push with its replies: median {:.1} ms, 99th {:.1} ms", quantile(0.5), quantile(0.99));
    let part = scraped.as_secs_f64() / SCRAPE_EVERY;
    println!(
        "a scrape of the metrics: {:.2} ms, {:.4} % of a core at one every {SCRAPE_EVERY} s",
        1e3 * scraped.as_secs_f64(),
        100.0 * part
    );
    let light = part <= MOST_SCRAPED * (plan.members as f64 / 100.0).max(1.0);
    println!("{account}");
    let adds_up = account.starts_with("account: ") && !account.contains("does not add up");
    adds_up && (!plan.bench || (growth <= MOST_GROWTH && share >= LEAST_SHARE && light))
}

/// Keeps one place filled until the end: member after member.
async fn fill_place(
    place: u64,
    plan: Plan,
    end: Instant,
    connector: Connector,
    address: String,
    joining: Arc<Semaphore>,
    seen: Shared,
) {
    let mut random = random::stream(plan.seed, "place", &[place]);
    for number in 0.. {
        let permit = joining.acquire().await.expect("never closed");
        // At the beginning all come at once, and none pushes at the same time as all others.
        let mut member = Member::join(&connector, &address, format!("member {place}.{number}")).await;
        drop(permit);
        note(&seen, |seen| seen.joins += 1);
        sleep(plan.pause.mul_f64(random.random_range(0.0..1.0))).await;
        let gone = Instant::now() + Duration::from_secs_f64(lifetime(&mut random, plan.life));
        let last = gone >= end;
        let leaves = last || random.random_range(0..2) == 0;
        let mut outcome = member.train(gone.min(end), plan.pause, &seen).await;
        if outcome.is_ok() && leaves {
            outcome = member.report(true).await;
        }
        match (outcome, leaves) {
            (Err(Late), _) => note(&seen, |seen| seen.late += 1),
            (Ok(()), true) => note(&seen, |seen| seen.left += u64::from(!last)),
            (Ok(()), false) => note(&seen, |seen| seen.silent += 1),
        }
        if last {
            return;
        }
    }
}

/// An error: a member was not heard of for so long that it is none any more.
struct Late;

/// Returns what a member was told, or that it is none any more.
///
/// # Panics
/// If the call failed for another reason.
fn told<T>(answer: Result<T, ClientError>) -> Result<T, Late> {
    match answer {
        Ok(told) => Ok(told),
        Err(error) if matches!(error.refusal(), Some(Refusal::Fenced(_))) => Err(Late),
        Err(error) => panic!("{error}"),
    }
}

/// Notes what a member saw.
fn note(seen: &Shared, what: impl FnOnce(&mut Seen)) {
    what(&mut seen.lock().expect("no member panicked"));
}

/// A time in seconds of which the chance to be over is the same at any moment.
fn lifetime(random: &mut Random, mean: f64) -> f64 {
    -mean * f64::ln(random.random_range(f64::MIN_POSITIVE..1.0))
}

/// A made-up worker.
struct Member {
    coordinator: CoordinatorClient,
    shards: ShardClient,
    joined: JoinReply,
    versions: Vec<Version>,
    step: u64,
    /// The lease that it trains on, with the positions of it, and how far it got.
    lease: Option<(u64, LeaseProgress)>,
}

impl Member {
    async fn join(connector: &Connector, address: &str, name: String) -> Member {
        let connected = CoordinatorClient::connect(address, connector.clone()).await;
        let coordinator = connected.expect("the server answers");
        let shards = ShardClient::connect(address, connector.clone()).await.expect("the server answers");
        let request = JoinRequest { protocol: PROTOCOL_VERSION, name, data: data() };
        let joined = coordinator.join(request).await.expect("a member may join");
        let request = AdoptRequest { shard: 0, member: joined.member, layout: layout() };
        shards.adopt(request).await.expect("all bring the same network");
        let versions = vec![Version::default(); TENSORS];
        Member { coordinator, shards, joined, versions, step: 0, lease: None }
    }

    /// Trains until a moment.
    async fn train(&mut self, until: Instant, pause: Duration, seen: &Shared) -> Result<(), Late> {
        let (begun, mut pushes) = (Instant::now(), 0);
        let mut next = begun;
        while next < until {
            self.take_lease().await?;
            let sent = Instant::now();
            self.push().await?;
            pushes += 1;
            note(seen, |seen| seen.latencies.push(sent.elapsed()));
            self.report(false).await?;
            next = Instant::now() + pause;
            sleep_until(next.min(until).into()).await;
        }
        if begun.elapsed() >= COMPARED {
            let rate = f64::from(pushes) / (begun.elapsed().as_secs_f64() / 60.0);
            note(seen, |seen| seen.rates.push(rate));
        }
        Ok(())
    }

    /// Takes a lease, unless it holds one.
    async fn take_lease(&mut self) -> Result<(), Late> {
        while self.lease.is_none() {
            match told(self.coordinator.assign(self.joined.member).await)? {
                Assignment::Train(lease) => {
                    let progress = LeaseProgress { lease: lease.id, ..LeaseProgress::default() };
                    self.lease = Some((lease.end - lease.start, progress));
                }
                Assignment::Wait { milliseconds, .. } => sleep(Duration::from_millis(milliseconds)).await,
                other => panic!("expected training in a run that does not end, found {other:?}"),
            }
        }
        Ok(())
    }

    /// Pushes a minibatch to all blocks, each from the version that the push before was answered with.
    async fn push(&mut self) -> Result<(), Late> {
        let (positions, progress) = self.lease.as_mut().expect("just taken");
        let samples = BATCH.min(*positions - progress.used);
        self.step += 1;
        let push = |block: u32| BlockPush {
            shard: 0,
            member: self.joined.member,
            step: self.step,
            block,
            version: self.versions[block as usize],
            samples: samples as u32,
            form: PushForm::Gradient,
            log: None,
            gradient: vec![1e-3; VALUES].into(),
        };
        let (pushes, to_send) = mpsc::channel(1);
        let (replies, mut received) = mpsc::channel::<PushReply>(TENSORS);
        pushes.send((0..TENSORS as u32).map(push).collect()).await.expect("it is being taken");
        drop(pushes);
        let receiving = async {
            while let Some(reply) = received.recv().await {
                let block = told(reply.outcome.map_err(ClientError::Refused))?;
                self.versions[block.block() as usize] = block.version();
            }
            Ok(())
        };
        let (pushed, answered) = tokio::join!(self.shards.push(Wire::F32, to_send, replies), receiving);
        told(pushed)?;
        answered?;
        progress.used += samples;
        progress.consumed += samples;
        progress.closed = progress.used == *positions;
        Ok(())
    }

    /// Reports what it did; with `leaving`, for the last time.
    async fn report(&mut self, leaving: bool) -> Result<(), Late> {
        let progress: Vec<_> = self.lease.iter().map(|(_, progress)| progress.clone()).collect();
        let steps = u64::from(!leaving);
        let metrics = StepMetrics { steps, images: steps * BATCH, ..StepMetrics::default() };
        let report = Report {
            member: self.joined.member,
            progress,
            metrics,
            evaluation: None,
            leaving: leaving.then(|| "its time is over".into()),
            sends_largest: false,
        };
        told(self.coordinator.report(report).await)?;
        self.lease.take_if(|(_, progress)| progress.closed);
        Ok(())
    }
}

fn layout() -> Layout {
    let tensor = |number| Tensor {
        name: format!("tensor {number}"),
        shape: vec![VALUES],
        initialiser: Initialiser::Uniform { bound: 0.1 },
        rate_multiplier: 1.0,
        decay_multiplier: 1.0,
    };
    Layout::new((0..TENSORS).map(tensor).collect()).expect("a usable layout")
}

/// So many images that no run over them ends here, and none is evaluated.
fn data() -> DataDescription {
    let classes = (0..10).map(|class| format!("class {class}")).collect();
    DataDescription { images: 4_000_000_000, validation: 10, hash: "5eed".into(), classes }
}

/// The server, a process of its own; killed with the bench.
struct Server {
    child: Child,
    address: String,
    home: tempfile::TempDir,
}

impl Server {
    fn start(lease: u64) -> Server {
        let home = tempfile::tempdir().expect("a folder");
        let log = File::create(home.path().join("log")).expect("a file for the log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_downpour"));
        command.env_remove("RUST_LOG").args(["role", "parameter-server", "--listen", "127.0.0.1:0"]);
        command.args(["--recipe", "quick", "--batch", &BATCH.to_string(), "--learning-rate", "0.0001"]);
        command.args(["--lease-time", &lease.to_string(), "--print-address", "--end-with-stdin"]);
        command.args(["--http", "127.0.0.1:0"]);
        command.arg("--snapshots").arg(home.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().expect("the program starts");
        let mut address = String::new();
        let output = child.stdout.take().expect("its output is piped");
        BufReader::new(output).read_line(&mut address).expect("it says where it listens");
        Server { child, address: address.trim().into(), home }
    }

    /// Returns the settings by which workers reach the server, with the token that it makes as it starts.
    async fn connector(&self) -> Connector {
        let path = self.home.path().join("access/worker/token");
        let flags = process::TokenFlags { token_file: Some(path) };
        let token: Option<Token> = flags.wait().await.expect("the server makes it");
        Connector { token, ..Patience::default().into() }
    }

    /// Resident memory in MiB.
    fn memory(&self) -> f64 {
        let path = Path::new("/proc").join(self.child.id().to_string()).join("status");
        let status = fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
        kibibytes.map_or(f64::NAN, |kibibytes| kibibytes / 1024.0)
    }

    /// Asks for the metrics several times, and returns the median time until all of them are here, all the while in which
    /// the server works on them and more.
    fn scrape(&self) -> Duration {
        let log = fs::read_to_string(self.home.path().join("log")).expect("it has a log");
        let said = log.split("http://").nth(1).expect("it says where its page is");
        let page = said.split('/').next().expect("an address stands before the path");
        let mut times: Vec<Duration> = (0..SCRAPES).map(|_| scrape(page)).collect();
        times.sort_unstable();
        times[SCRAPES / 2]
    }

    /// Stops the server in good order; returns the line of its log with the account, or what it says instead.
    fn stop(&mut self) -> String {
        drop(self.child.stdin.take());
        let status = self.child.wait().expect("it ends");
        let log = fs::read_to_string(self.home.path().join("log")).expect("it has a log");
        let account = log.lines().rev().find_map(|line| line.find("account: ").map(|at| &line[at..]));
        match account.filter(|_| status.code() == Some(130) && !log.contains(" ERROR ")) {
            Some(account) => account.into(),
            None => format!("the server ended with {status}:\n{log}"),
        }
    }
}

/// Asks for the metrics at the address `page`, and returns the time until they are here.
///
/// # Panics
/// If they are not given out, or are not of the workers.
fn scrape(page: &str) -> Duration {
    let begun = Instant::now();
    let mut connection = TcpStream::connect(page).expect("the page answers");
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {page}\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).expect("the page takes what it is asked");
    let mut metrics = String::new();
    connection.read_to_string(&mut metrics).expect("the metrics are text");
    assert!(metrics.contains("downpour_worker_images_total{"), "{metrics}");
    begun.elapsed()
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
