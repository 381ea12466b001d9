//! Both services in memory, small enough to see through, and a server that can be killed.

pub mod log;
pub mod memory;
pub mod raw;

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread::sleep,
    time::Duration,
};

use parameters::{Initialiser, Layout, Tensor};
use protocol::*;
use tokio::{net::TcpListener, runtime::Runtime, sync::mpsc, sync::oneshot, task::JoinHandle};

use self::memory::Memory;

pub const LIFE: Life = Life { run: RunId(7), count: 2, nonce: 5 };
pub const MEMBER: Member = Member { worker: 3, incarnation: 17, life: LIFE };

/// One tensor of a few blocks: 3 MiB and a bit.
pub fn layout() -> Layout {
    let tensor = |name: &str, shape: &[usize], initialiser| Tensor {
        name: name.into(),
        shape: shape.to_vec(),
        initialiser,
        rate_multiplier: 1.0,
        decay_multiplier: 0.1,
    };
    Layout::new(vec![
        tensor("first/weights", &[400, 2000], Initialiser::Uniform { bound: 0.1 }),
        tensor("first/bias", &[10], Initialiser::Constant(0.2)),
        tensor("last/weights", &[3, 2, 1, 1], Initialiser::Normal { deviation: 0.01 }),
    ])
    .unwrap()
}

/// An order as a text that is short enough for a hash.
pub fn named(order: &ShardOrder) -> String {
    format!("{order:?}").chars().take(200).collect()
}

pub fn rule() -> UpdateRule {
    UpdateRule {
        seed: u64::MAX,
        optimizer: settings::Optimizer::Adagrad,
        learning_rate: 0.1 + 0.2,
        stair_factor: 0.96,
        stair_samples: 8,
        ramp_samples: 5,
        momentum: 0.9,
        weight_decay: 2e-4,
        average_decay: 0.9999,
        total_samples: 1 << 40,
        batch: Some(64),
        init_sha256: Some("5eed".into()),
        init_except: vec!["fc/*".into()],
        staleness: Some(settings::Staleness::Root),
    }
}

/// Patience for tests: nothing takes long unless it is broken.
pub fn patience() -> Patience {
    Patience {
        give_up_after: Duration::from_secs(10),
        first_pause: Duration::from_millis(5),
        longest_pause: Duration::from_millis(50),
        ..Patience::default()
    }
}

/// A coordinator that gives the answers it was given and remembers what it was asked.
pub struct Script {
    pub join: Result<JoinReply, Refusal>,
    pub assign: Result<Assignment, Refusal>,
    pub report: Result<Option<Ending>, Refusal>,
    pub register: Result<RegisterReply, Refusal>,
    pub status: RunStatus,
    pub overview: Overview,
    pub steer: Result<Steered, Refusal>,
    pub pictures: Option<Arc<dyn Pictures>>,
    pub asked: Mutex<Vec<String>>,
}

impl Script {
    fn note(&self, question: impl std::fmt::Debug) {
        self.asked.lock().unwrap().push(format!("{question:?}"));
    }
}

impl Coordinator for Script {
    fn join(&self, request: JoinRequest) -> Result<JoinReply, Refusal> {
        self.note(request);
        self.join.clone()
    }
    fn assign(&self, member: Member, call: u64) -> Result<Assignment, Refusal> {
        self.note((member, call));
        self.assign.clone()
    }
    fn report(&self, report: Report, call: u64) -> Result<Option<Ending>, Refusal> {
        self.note((report, call));
        self.report.clone()
    }
    fn register(&self, request: RegisterRequest) -> Result<RegisterReply, Refusal> {
        self.note(request);
        self.register.clone()
    }
    fn status(&self) -> RunStatus {
        self.status.clone()
    }
    fn overview(&self) -> Overview {
        self.overview.clone()
    }
    fn steer(&self, order: Steering, caller: Caller) -> Result<Steered, Refusal> {
        // The port is drawn anew for each connection.
        self.note((order, caller.role, caller.address.map(|address| address.ip())));
        self.steer.clone()
    }
    fn pictures(&self) -> Option<Arc<dyn Pictures>> {
        self.pictures.clone()
    }
}

/// The overview of a run that has not begun.
pub fn empty_overview() -> Overview {
    Overview {
        life: LIFE,
        time: 0.25,
        state: RunState::Waiting,
        detail: String::new(),
        recipe: "quick".into(),
        training_images: 0,
        validation_images: 0,
        classes: 0,
        data_hash: String::new(),
        samples: 0,
        total_samples: 0,
        epoch: 0,
        epochs: 0,
        latest: None,
        evaluation: None,
        members: 0,
        workers: Vec::new(),
        total_shards: 1,
        shards: Vec::new(),
        leases: 0,
        rate_factor: 1.0,
        snapshot: 0,
        snapshot_ordered: false,
        unreadable: 0,
        warnings: Vec::new(),
    }
}

/// One shard that holds every block of [`layout`] and adds each gradient to its block, once.
#[derive(Default)]
pub struct Adder {
    pub state: Mutex<State>,
    /// How long each push takes.
    pub push_takes: Duration,
    /// How long the very first push takes, instead.
    pub first_push_takes: Option<Duration>,
    /// What everything is answered with, if it is refused.
    pub refusal: Option<Refusal>,
}

#[derive(Default)]
pub struct State {
    pub blocks: Vec<(Version, Vec<f32>)>,
    pub seen: HashSet<(Member, u64, u32)>,
    /// Pushes that came, repeated ones included.
    pub came: usize,
    /// Those of them that have their reply.
    pub answered: usize,
    pub orders: Vec<ShardOrder>,
    /// Bytes of the blocks that were fetched.
    pub fetched: usize,
    /// What the server counted on the wire.
    pub carried: Carried,
}

impl Adder {
    /// Holds zeros.
    pub fn holding_zeros() -> Adder {
        let zeros = |block: &parameters::Block| (Version::default(), vec![0.0; block.range.len()]);
        let state = State { blocks: layout().blocks().iter().map(zeros).collect(), ..State::default() };
        Adder { state: Mutex::new(state), ..Adder::default() }
    }

    pub fn repeated(&self) -> usize {
        let state = self.state.lock().unwrap();
        state.came - state.seen.len()
    }

    /// Whether a push is under way.
    pub fn busy(&self) -> bool {
        let state = self.state.lock().unwrap();
        state.answered < state.came
    }

    fn status_line(&self) -> ShardStatus {
        let state = self.state.lock().unwrap();
        let mut staleness_counts = StalenessCounts::default();
        [3, 200].into_iter().for_each(|staleness| staleness_counts.record(staleness));
        ShardStatus {
            shard: 0,
            blocks: state.blocks.len() as u32,
            updates: state.seen.len() as u64,
            repeated: (state.came - state.seen.len()) as u64,
            refused: 1,
            limited: 6,
            staleness_sum: 2,
            staleness_counts,
            bytes_in: 4,
            bytes_out: 5,
            learning_rate: 0.1 + 0.2,
            snapshot_hash: state.orders.last().map(named),
            samples: 64,
            layout: Some("5eed".into()),
            ledger: Some(ShardLedger {
                generation: 3,
                samples: vec![64, 32],
                members: [(u64::MAX, vec![0, 32])].into(),
                limited: [(u64::MAX - 1, 6)].into(),
            }),
        }
    }

    fn refuse(&self) -> Result<(), Refusal> {
        self.refusal.clone().map_or(Ok(()), Err)
    }
}

impl Shards for Adder {
    fn adopt(&self, request: AdoptRequest) -> Result<AdoptReply, Refusal> {
        self.refuse()?;
        assert_eq!(request.layout, layout());
        Ok(AdoptReply { fingerprint: request.layout.fingerprint() })
    }

    fn push(&self, push: BlockPush) -> PushReply {
        let number = {
            let mut state = self.state.lock().unwrap();
            state.came += 1;
            state.came
        };
        sleep(self.first_push_takes.filter(|_| number == 1).unwrap_or(self.push_takes));
        let mut state = self.state.lock().unwrap();
        state.answered += 1;
        let fresh = state.seen.insert((push.member, push.step, push.block));
        let outcome = self.refuse().and_then(|()| {
            let held = state.blocks.get_mut(push.block as usize);
            let (version, values) =
                held.ok_or_else(|| Refusal::Invalid(format!("block {} is unknown", push.block)))?;
            if fresh {
                for (value, gradient) in values.iter_mut().zip(&push.gradient.to_vec()) {
                    *value += gradient;
                }
                version.counter += 1;
            }
            Ok(BlockValues { block: push.block, version: *version, values: values.clone().into() })
        });
        PushReply {
            block: push.block,
            outcome: outcome.map(BlockAnswer::Values),
            staleness: push.version.counter + u64::from(push.samples),
        }
    }

    fn fetch(&self, life: Life, shard: u32, block: u32, kind: Kind) -> Result<BlockValues, Refusal> {
        assert_eq!(life, LIFE);
        self.refuse()?;
        let mut state = self.state.lock().unwrap();
        state.fetched += 4 * state.blocks.get(block as usize).map_or(0, |(_, values)| values.len());
        let held = state.blocks.get(block as usize).filter(|_| shard == 0);
        let (version, values) =
            held.ok_or_else(|| Refusal::Invalid(format!("shard {shard}: block {block} is unknown")))?;
        let mut values = values.clone();
        if let Kind::Average { evaluation } = kind {
            values[0] = evaluation as f32;
        }
        Ok(BlockValues { block, version: *version, values: values.into() })
    }

    fn carried(&self, _: u32, received: u64, sent: u64) {
        let mut state = self.state.lock().unwrap();
        state.carried.received += received;
        state.carried.sent += sent;
    }

    fn order(&self, life: Life, order: ShardOrder) -> Result<Vec<ShardStatus>, Refusal> {
        assert_eq!(life, LIFE);
        self.refuse()?;
        self.state.lock().unwrap().orders.push(order);
        Ok(vec![self.status_line()])
    }

    fn status(&self) -> Vec<ShardStatus> {
        vec![self.status_line()]
    }
}

/// A server in a runtime of its own, so that it can be killed with all its connections.
pub struct Server {
    pub address: String,
    runtime: Option<Runtime>,
    shutdown: Option<oneshot::Sender<()>>,
    ended: oneshot::Receiver<()>,
}

impl Server {
    pub fn start(coordinator: Option<Arc<dyn Coordinator>>, shards: Option<Arc<dyn Shards>>) -> Server {
        Server::start_on("127.0.0.1:0".parse().unwrap(), coordinator, shards)
    }

    pub fn start_on(
        address: SocketAddr,
        coordinator: Option<Arc<dyn Coordinator>>,
        shards: Option<Arc<dyn Shards>>,
    ) -> Server {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (shutdown, asked) = oneshot::channel();
        let (over, ended) = oneshot::channel();
        let (bound, place) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            let listener = bind(address).await;
            bound.send(listener.local_addr().unwrap()).unwrap();
            let asked = async { asked.await.unwrap_or(()) };
            serve(listener, Access::Open, coordinator, shards, asked).await.unwrap();
            over.send(()).unwrap_or(());
        });
        let address = place.recv().unwrap().to_string();
        Server { address, runtime: Some(runtime), shutdown: Some(shutdown), ended }
    }

    pub fn shards(shards: &Arc<Adder>) -> Server {
        Server::start(None, Some(shards.clone()))
    }

    /// Ends everything in the middle of whatever it does.
    pub fn kill(mut self) {
        self.runtime.take().unwrap().shutdown_timeout(Duration::from_secs(1));
    }

    /// Shuts down in order and waits for the end.
    pub async fn stop(mut self) {
        self.shutdown.take().unwrap().send(()).unwrap();
        (&mut self.ended).await.unwrap();
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A server on a network in memory, in the test's own runtime and thus on its clock.
pub struct ServerInMemory {
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl ServerInMemory {
    pub fn start(network: &Memory, shards: &Arc<Adder>) -> ServerInMemory {
        ServerInMemory::within(Room::default(), network.listen(), shards)
    }

    /// Starts a server with this room for messages.
    pub fn within(room: Room, listener: impl Listener, shards: &Arc<Adder>) -> ServerInMemory {
        let (shutdown, asked) = oneshot::channel();
        let shards = shards.clone();
        let asked = async { asked.await.unwrap_or(()) };
        let task = tokio::spawn(async move {
            serve_within(room, listener, Access::Open, None, Some(shards), asked).await
        });
        ServerInMemory { shutdown, task }
    }

    /// Shuts down in order and waits for the end.
    pub async fn stop(self) {
        self.shutdown.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

/// Binds the address; one that was in use a moment ago may need another moment.
async fn bind(address: SocketAddr) -> TcpListener {
    for _ in 0..100 {
        if let Ok(listener) = TcpListener::bind(address).await {
            return listener;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    TcpListener::bind(address).await.unwrap()
}

/// The push of a block of [`layout`], with values that tell blocks and places apart.
pub fn block_push(block: u32, step: u64) -> BlockPush {
    let length = layout().blocks()[block as usize].range.len();
    let value = |place: usize| ((place % 1000) as f32 + block as f32) * 1.000_123;
    let gradient = (0..length).map(value).collect::<Vec<_>>().into();
    let version = Version { generation: 1, counter: 2 };
    BlockPush {
        shard: 0,
        member: MEMBER,
        step,
        block,
        version,
        samples: 32,
        form: PushForm::Gradient,
        log: None,
        gradient,
    }
}

/// Pushes every block of [`layout`] in one step, two in a message, and returns the replies.
pub async fn push_all(client: &ShardClient, wire: Wire, step: u64) -> Result<Vec<PushReply>, ClientError> {
    let (to, pushes) = mpsc::channel(2);
    let (replies, mut from) = mpsc::channel(2);
    let feed = async move {
        for block in (0..layout().blocks().len() as u32).step_by(2) {
            if to.send(vec![block_push(block, step), block_push(block + 1, step)]).await.is_err() {
                return; // the push has ended, and says why
            }
        }
    };
    let drain = async move {
        let mut all = Vec::new();
        while let Some(reply) = from.recv().await {
            all.push(reply);
        }
        all
    };
    let (done, (), all) = tokio::join!(client.push(wire, pushes, replies), feed, drain);
    done.map(|_| all)
}

/// Fetches the blocks and returns them as they came.
pub async fn fetch(
    client: &ShardClient,
    wire: Wire,
    blocks: &[u32],
    kind: Kind,
) -> Result<Vec<BlockValues>, ClientError> {
    let (values, mut from) = mpsc::channel(2);
    let drain = async move {
        let mut all = Vec::new();
        while let Some(block) = from.recv().await {
            all.push(block);
        }
        all
    };
    let request = FetchRequest { shard: 0, blocks: blocks.to_vec(), kind, wire, life: LIFE };
    let (done, all) = tokio::join!(client.fetch(request, values), drain);
    done.map(|()| all)
}
