//! A server that runs in the test's own process, and a worker that minimises a quadratic function, a bowl,
//! over real connections.

use std::{collections::BTreeMap, path::Path, time::Duration};

use kernels::Isa;
use parameter_server::{Door, Options, Timing};
use parameters::{Initialiser, Layout, Tensor, assign};
use process::{Exit, RunFlags};
use protocol::{
    AdoptRequest, Assignment, BlockPush, BlockValues, Connector, CoordinatorCalls as _, CoordinatorClient,
    DataDescription, Ending, EvaluationOrder, EvaluationPart, FetchRequest, JoinReply, JoinRequest, Kind,
    Lease, LeaseProgress, PROTOCOL_VERSION, Patience, PushForm, Refusal, Report, RunStatus, Scores,
    ShardCalls as _, ShardClient, StepMetrics, Wire, until_ready,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::sleep,
};

/// Training images of the tests' data.
pub const IMAGES: u64 = 100;
/// Coordinate of the bowl's lowest point, the same in every direction.
pub const TARGET: f32 = 0.25;

/// A layout of three tensors in four blocks.
pub fn layout() -> Layout {
    let tensor = |name: &str, shape: &[usize]| Tensor {
        name: name.into(),
        shape: shape.into(),
        initialiser: Initialiser::Uniform { bound: 0.5 },
        rate_multiplier: 1.0,
        decay_multiplier: 0.0,
    };
    Layout::new(vec![
        tensor("a/weights", &[300, 1000]),
        tensor("a/bias", &[300]),
        tensor("b/weights", &[20, 30]),
    ])
    .unwrap()
}

/// A data set of ten classes.
pub fn data() -> DataDescription {
    let classes = (0..10).map(|class| class.to_string()).collect();
    DataDescription { images: IMAGES, validation: 10, hash: "5eed".into(), classes }
}

/// The recipe `quick` for 3 epochs of [`IMAGES`] in minibatches of 10.
pub fn flags() -> RunFlags {
    RunFlags {
        recipe: Some("quick".into()),
        epochs: Some(3.0),
        batch: Some(10),
        learning_rate: Some(0.05),
        ..RunFlags::default()
    }
}

/// Options of a server of one process with two shards that takes a snapshot only at the end.
pub fn options(snapshots: &Path) -> Options {
    Options {
        flags: flags(),
        default_recipe: "quick".into(),
        advertise: None,
        coordinator: None,
        shards: 2,
        processes: 1,
        snapshots: snapshots.into(),
        metrics: None,
        tensorboard: None,
        output: None,
        fresh: false,
        door: Door::Open,
        isa: Isa::detect(),
        connector: Patience::default().into(),
        timing: Timing { snapshots: Duration::from_secs(3600), ..Timing::default() },
        http: None,
        lend: None,
        warnings: Default::default(),
    }
}

/// A process of a server that is running.
pub struct Process {
    pub address: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<anyhow::Result<Exit>>,
}

impl Process {
    pub async fn start(options: Options) -> Process {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move {
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let task = tokio::spawn(parameter_server::run(options, listener, shutdown));
        Process { address, stop: Some(stop), task }
    }

    /// Stops the process as a signal does.
    pub fn stop(&mut self) {
        let _ = self.stop.take().expect("stopped once").send(());
    }

    /// Waits for the process to end and returns its result.
    pub async fn end(self) -> anyhow::Result<Exit> {
        let Process { task, stop: _stop, .. } = self;
        tokio::time::timeout(Duration::from_secs(30), task).await.expect("the process ends").unwrap()
    }
}

pub async fn coordinator(address: &str) -> CoordinatorClient {
    CoordinatorClient::connect(address, Patience::default()).await.unwrap()
}

/// Waits until `reached` accepts the run's status, and returns that status.
pub async fn until(address: &str, reached: impl Fn(&RunStatus) -> bool) -> RunStatus {
    let client = coordinator(address).await;
    for _ in 0..2000 {
        let status = client.status().await.unwrap();
        if reached(&status) {
            return status;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("the run never came so far: {:?}", client.status().await);
}

/// A member of a run.
pub struct Worker {
    pub client: CoordinatorClient,
    pub joined: JoinReply,
    layout: Layout,
    shards: BTreeMap<String, ShardClient>,
    step: u64,
    /// Pause before each minibatch.
    pub pause: Duration,
}

impl Worker {
    /// Joins as soon as the server is complete, and brings the layout.
    pub async fn join(address: &str, name: &str) -> Worker {
        Worker::join_by(Patience::default().into(), address, name).await
    }

    /// Joins as [`join`](Self::join) does, over a network and with a token of the test's choice.
    pub async fn join_by(connector: Connector, address: &str, name: &str) -> Worker {
        let client = CoordinatorClient::connect(address, connector.clone()).await.unwrap();
        let request = JoinRequest { protocol: PROTOCOL_VERSION, name: name.into(), data: data() };
        let joined = loop {
            match client.join(request.clone()).await {
                Ok(joined) => break joined,
                Err(error) if matches!(error.refusal(), Some(Refusal::NotReady(_))) => {
                    sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("{error}"),
            }
        };
        let mut shards = BTreeMap::new();
        for (shard, address) in joined.shards.iter().enumerate() {
            if !shards.contains_key(address) {
                let connected = ShardClient::connect(address, connector.clone()).await.unwrap();
                shards.insert(address.clone(), connected);
            }
            let request = AdoptRequest { shard: shard as u32, member: joined.member, layout: layout() };
            // A shard of another process waits for the update rule.
            while let Err(error) = shards[address].adopt(request.clone()).await {
                assert!(matches!(error.refusal(), Some(Refusal::NotReady(_))), "{error}");
                sleep(Duration::from_millis(10)).await;
            }
        }
        Worker { client, joined, layout: layout(), shards, step: 0, pause: Duration::ZERO }
    }

    /// The client of the process that holds a shard.
    pub fn shard(&self, number: u32) -> &ShardClient {
        &self.shards[&self.joined.shards[number as usize]]
    }

    /// Fetches all blocks, in the order of their numbers.
    pub async fn fetch(&self, kind: Kind) -> Vec<BlockValues> {
        let owners = assign(&self.layout, self.joined.shards.len());
        let mut all = Vec::new();
        for shard in 0..self.joined.shards.len() as u32 {
            let blocks: Vec<u32> =
                (0..owners.len() as u32).filter(|block| owners[*block as usize] == shard).collect();
            let request =
                FetchRequest { shard, blocks, kind, wire: Wire::F32, life: self.joined.member.life };
            // A shard may not have heard of an evaluation yet that the coordinator has just ordered.
            let fetched = until_ready(Patience::default().give_up_after, || async {
                let (values, mut received) = mpsc::channel(8);
                let fetching = self.shard(shard).fetch(request.clone(), values);
                let receiving = async {
                    let mut blocks = Vec::new();
                    while let Some(block) = received.recv().await {
                        blocks.push(block);
                    }
                    blocks
                };
                let (fetched, blocks) = tokio::join!(fetching, receiving);
                fetched.map(|()| blocks)
            });
            all.extend(fetched.await.unwrap());
        }
        all.sort_by_key(|block| block.block);
        all
    }

    /// Fetches, computes and pushes one minibatch of `samples`.
    async fn minibatch(&mut self, samples: u32) {
        sleep(self.pause).await;
        let owners = assign(&self.layout, self.joined.shards.len());
        for fetched in self.fetch(Kind::Parameters).await {
            let shard = owners[fetched.block as usize];
            let push = BlockPush {
                shard,
                member: self.joined.member,
                step: self.step,
                block: fetched.block,
                version: fetched.version,
                samples,
                form: PushForm::Gradient,
                log: None,
                gradient: fetched
                    .values
                    .to_vec()
                    .iter()
                    .map(|value| value - TARGET)
                    .collect::<Vec<_>>()
                    .into(),
            };
            let (pushes, to_send) = mpsc::channel(1);
            let (replies, mut received) = mpsc::channel(1);
            pushes.send(vec![push]).await.unwrap();
            drop(pushes);
            let pushing = self.shard(shard).push(Wire::F32, to_send, replies);
            let (pushed, reply) = tokio::join!(pushing, received.recv());
            pushed.unwrap();
            reply.unwrap().outcome.unwrap();
        }
        self.step += 1;
    }

    /// Trains on a lease and reports each minibatch; returns the end of the run, if that came first.
    pub async fn train(&mut self, lease: &Lease) -> Option<Ending> {
        let (positions, mut used) = (lease.end - lease.start, 0);
        loop {
            let samples = 10.min(positions - used);
            self.minibatch(samples as u32).await;
            used += samples;
            let metrics = StepMetrics {
                steps: 1,
                images: samples,
                main_loss: 2.0 * samples as f64,
                scores: Scores::new([("top1", samples as f64 / 2.0)]),
                ..StepMetrics::default()
            };
            let closed = used == positions;
            let progress =
                LeaseProgress { lease: lease.id, used, consumed: used, closed, skipped: Vec::new() };
            let ending =
                self.report(|report| (report.progress, report.metrics) = (vec![progress], metrics)).await;
            if closed || ending.is_some() {
                return ending;
            }
        }
    }

    /// Sends the report that `fill` fills in.
    pub async fn report(&self, fill: impl FnOnce(&mut Report)) -> Option<Ending> {
        let mut report = Report {
            member: self.joined.member,
            progress: Vec::new(),
            metrics: StepMetrics::default(),
            evaluation: None,
            leaving: None,
            sends_largest: false,
        };
        fill(&mut report);
        self.client.report(report).await.unwrap()
    }

    /// Mean square distance of the parameters from the bowl's lowest point.
    pub async fn distance(&self, kind: Kind) -> f64 {
        let square = |value: f32| f64::from(value - TARGET).powi(2);
        let sum: f64 =
            self.fetch(kind).await.iter().flat_map(|block| block.values.to_vec()).map(square).sum();
        sum / self.layout.len() as f64
    }

    /// Takes part in the run until its end, and leaves.
    pub async fn work(&mut self) -> Ending {
        let ending = loop {
            let ending = match self.client.assign(self.joined.member).await.unwrap() {
                Assignment::Train(lease) => self.train(&lease).await,
                Assignment::Evaluate(order) => {
                    let average = self.distance(Kind::Average { evaluation: order.id }).await;
                    let last_iterate = self.distance(Kind::Parameters).await;
                    // A cross-entropy is bounded.
                    let sums = |loss: f64, images: f64| {
                        let right = (1.0 - loss).clamp(0.0, 1.0);
                        Scores::new([("top1", right * images), ("loss", loss.min(87.0) * images)])
                    };
                    let mut part = scored(&order, |images| sums(average, images));
                    if let Some(scores) = &mut part.last_iterate {
                        *scores = sums(last_iterate, part.images as f64);
                    }
                    self.report(|report| report.evaluation = Some(part)).await
                }
                Assignment::Wait { .. } => {
                    sleep(Duration::from_millis(10)).await;
                    None
                }
                Assignment::Finished(ending) => Some(ending),
                Assignment::Leave { reason } => panic!("nobody drains a worker here: {reason}"),
            };
            if let Some(ending) = ending {
                break ending;
            }
        };
        self.report(|report| report.leaving = Some("asked to".into())).await;
        ending
    }
}

/// Part of an evaluation as a worker hands it in that can read all of its images: `sums` over so many of them, of
/// the average and, where it was ordered, of the last iterate.
pub fn scored(order: &EvaluationOrder, sums: impl Fn(f64) -> Scores) -> EvaluationPart {
    let &EvaluationOrder { id, start, end, last_iterate, .. } = order;
    let (images, sums) = (end - start, sums((end - start) as f64));
    let last_iterate = last_iterate.then(|| sums.clone());
    EvaluationPart { id, start, images, average: sums, last_iterate, ..EvaluationPart::default() }
}
