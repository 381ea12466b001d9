//! Ten steps of one worker through a server follow `torch.optim.SGD` in float64.
//!
//! The golden file, the script that made it and its reader are those of the network's own test of the same
//! ten steps.

use std::sync::{Arc, Mutex};

use ::process::Exit;
use dataset::{DataAway, LoaderRange, Minibatch, Split};
use kernels::{Isa, Pool};
use network::{Engine, GoogLeNet, Losses, Precision};
use parameters::Layout;
use parameters::checkpoint::Checkpoint;
use protocol::{
    AdoptRequest, BlockPush, BlockValues, CoordinatorCalls as _, CoordinatorClient, DataDescription,
    FetchRequest, JoinReply, JoinRequest, Kind, PROTOCOL_VERSION, Patience, PushForm, PushReply, RunStatus,
    ShardCalls as _, ShardClient, Version, Wire, WorstMistakes, until_ready,
};
use settings::RunConfiguration;
use setup::Tally;
use tokio::sync::mpsc;
use worker::actor::Place;
use worker::replica::{self, ReplicaOptions};
use worker::workload::{Model, Pass, Samples, Workload};
use worker::{FetchOptions, fetch};

use crate::golden::TenSteps;
use crate::server::{Server, small};

const STEPS: u64 = 10;

/// The golden file's network and minibatches; notes each step's loss.
struct GoldenWork {
    network: Arc<GoogLeNet>,
    losses: Arc<Mutex<Vec<f32>>>,
}

struct Noting {
    engine: Engine,
    losses: Arc<Mutex<Vec<f32>>>,
}

#[derive(Default)]
struct Minibatches {
    step: u64,
    requested: u64,
}

impl Workload for GoldenWork {
    type Model = Noting;
    type Samples = Minibatches;

    async fn data(&self, _: &CoordinatorClient, _: &RunStatus) -> anyhow::Result<DataDescription> {
        Ok(data())
    }

    fn model(&self, _: &RunConfiguration) -> anyhow::Result<Noting> {
        let pool = Arc::new(Pool::new(2)?);
        let engine = Engine::new(self.network.clone(), TenSteps::BATCH, Precision::F32, Isa::detect(), pool);
        Ok(Noting { engine, losses: self.losses.clone() })
    }

    fn samples(&self, _: &RunConfiguration) -> Minibatches {
        Minibatches::default()
    }
}

impl Samples for Minibatches {
    type Batch = Minibatch;

    fn request(&mut self, range: LoaderRange) {
        assert_eq!((range.split, range.epoch), (Split::Train, 0));
        self.requested += (range.end - range.start) / TenSteps::BATCH as u64;
    }

    fn next(&mut self) -> Result<Option<Minibatch>, DataAway> {
        let Some(left) = self.requested.checked_sub(1) else { return Ok(None) };
        self.requested = left;
        self.step += 1;
        let (images, labels) = TenSteps::minibatch(self.step);
        let samples = (0..TenSteps::BATCH as u32).collect();
        Ok(Some(Minibatch {
            images,
            views: Vec::new(),
            labels,
            samples,
            skipped: Vec::new(),
            positions: TenSteps::BATCH as u64,
        }))
    }
}

impl Model for Noting {
    type Batch = Minibatch;
    type Tally = Tally;

    fn layout(&self) -> &Layout {
        self.engine.network().layout()
    }

    fn load_tensor(&mut self, tensor: usize, values: &[f32]) {
        self.engine.load_tensor(tensor, values);
    }

    fn train(&mut self, minibatch: &Minibatch, pass: Pass<'_>) -> Losses {
        let losses = Model::train(&mut self.engine, minibatch, pass);
        self.losses.lock().unwrap().push(losses.total);
        losses
    }

    fn score(&mut self, minibatch: &Minibatch, tally: &mut Tally, mistakes: &mut WorstMistakes) {
        self.engine.score(minibatch, tally, mistakes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_steps_of_one_worker_follow_torch() {
    let golden = TenSteps::read();
    let network = Arc::new(GoogLeNet::new(&TenSteps::architecture()).unwrap());
    let server = Server::start(configuration(), 2, 1).await;
    start_from(&golden.parameters(&network), network.layout(), &server).await;

    let losses = Arc::new(Mutex::new(Vec::new()));
    let work = GoldenWork { network: network.clone(), losses: losses.clone() };
    let options = ReplicaOptions {
        coordinator: server.address.clone(),
        name: "golden".into(),
        connector: Patience::default().into(),
        place: Place::Thread,
        telemetry: None,
    };
    assert_eq!(replica::run(&work, &options, std::future::pending()).await.unwrap(), Exit::Done);

    let losses = losses.lock().unwrap().clone();
    assert_eq!(losses.len() as u64, STEPS);
    let mut worst: f64 = 0.0;
    for ((step, &found), &expected) in (1..).zip(&losses).zip(&golden.losses) {
        let distance = (f64::from(found) - expected).abs() / expected;
        assert!(distance <= 1e-3, "step {step}: expected {expected}, found {found}");
        worst = worst.max(distance);
    }
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("end.safetensors");
    let (coordinator, patience) = (server.address.clone(), Patience::default());
    fetch(FetchOptions {
        coordinator,
        output: output.clone(),
        last_iterate: true,
        connector: patience.into(),
    })
    .await
    .unwrap();
    let end = Checkpoint::read(&output).unwrap().to_flat(network.layout()).unwrap();
    let farthest = golden.farthest(&network, &end);
    assert!(farthest.1 <= 1e-4, "{farthest:?}");
    println!("losses within {worst:.1e}, tensors within {farthest:?}");
}

fn configuration() -> RunConfiguration {
    let mut configuration = small(STEPS * TenSteps::BATCH as u64);
    configuration.run.batch = TenSteps::BATCH;
    // Without an average no evaluation compares gradients, so that every pass of the model is a step.
    configuration.optimisation.average_decay = 0.0;
    configuration.optimisation.learning_rate = f64::from(TenSteps::RATE);
    configuration.optimisation.momentum = f64::from(TenSteps::MOMENTUM);
    configuration.optimisation.weight_decay = f64::from(TenSteps::DECAY);
    configuration
}

fn data() -> DataDescription {
    let classes = (0..TenSteps::architecture().classes).map(|class| class.to_string()).collect();
    let images = STEPS * TenSteps::BATCH as u64;
    DataDescription { images, validation: 0, hash: "golden".into(), classes }
}

/// Brings the shards' parameters, which were drawn from the run's seed, to `target`, with velocity zero: the
/// first push moves them there, the second takes back what the first left in the velocity.
async fn start_from(target: &[f32], layout: &Layout, server: &Server) {
    let coordinator = CoordinatorClient::connect(&server.address, Patience::default()).await.unwrap();
    let request = JoinRequest { protocol: PROTOCOL_VERSION, name: "start".into(), data: data() };
    let joined = coordinator.join(request).await.unwrap();
    let owners = parameters::assign(layout, joined.shards.len());
    let initial = layout.initial(joined.configuration.run.seed);
    let velocity: Vec<f32> =
        initial.iter().zip(target).map(|(from, to)| (from - to) / TenSteps::RATE).collect();
    for step in [1, 2] {
        for (shard, address) in (0..).zip(&joined.shards) {
            let client = ShardClient::connect(address, Patience::default()).await.unwrap();
            if step == 1 {
                // The coordinator has told a process of its own the update rule by then or a little later.
                let request = AdoptRequest { shard, member: joined.member, layout: layout.clone() };
                let patience = Patience::default().give_up_after;
                until_ready(patience, || client.adopt(request.clone())).await.unwrap();
            }
            let (pushes, to_push) = mpsc::channel(1);
            let (replies, mut replied) = mpsc::channel::<PushReply>(1);
            let send = async {
                let own = layout.blocks().iter().filter(|block| owners[block.index as usize] == shard);
                for block in own {
                    let decay = TenSteps::DECAY * layout.tensors()[block.tensor].decay_multiplier;
                    let gradient = block.range.clone().map(|value| match step {
                        1 => velocity[value] - decay * initial[value],
                        _ => -TenSteps::MOMENTUM * velocity[value] - decay * target[value],
                    });
                    let gradient = gradient.collect();
                    pushes.send(vec![push(&joined, shard, step, block.index, gradient)]).await.unwrap();
                }
                drop(pushes);
            };
            let count = async {
                while let Some(reply) = replied.recv().await {
                    assert!(reply.outcome.is_ok(), "{reply:?}");
                }
            };
            let (pushed, (), ()) = tokio::join!(client.push(Wire::F32, to_push, replies), send, count);
            pushed.unwrap();
        }
    }
    let far = fetched(&joined, layout, &owners)
        .await
        .iter()
        .zip(target)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(far < 1e-6, "the shards start {far} from the golden parameters");
    let farewell = protocol::Report {
        member: joined.member,
        progress: Vec::new(),
        metrics: protocol::StepMetrics::default(),
        evaluation: None,
        leaving: Some("asked to".into()),
        sends_largest: false,
    };
    coordinator.report(farewell).await.unwrap();
}

fn push(joined: &JoinReply, shard: u32, step: u64, block: u32, gradient: Vec<f32>) -> BlockPush {
    // Nobody else pushes: nothing came in between.
    let version = Version { generation: 0, counter: step - 1 };
    BlockPush {
        shard,
        member: joined.member,
        step,
        block,
        version,
        samples: 1,
        log: None,
        form: PushForm::Gradient,
        gradient: gradient.into(),
    }
}

async fn fetched(joined: &JoinReply, layout: &Layout, owners: &[u32]) -> Vec<f32> {
    let mut flat = vec![0.0; layout.len()];
    for (shard, address) in (0..).zip(&joined.shards) {
        let client = ShardClient::connect(address, Patience::default()).await.unwrap();
        let own = (0..owners.len() as u32).filter(|&block| owners[block as usize] == shard).collect();
        let (values, mut received) = mpsc::channel::<BlockValues>(1);
        let take = async {
            while let Some(block) = received.recv().await {
                block.values.copy_to(&mut flat[layout.blocks()[block.block as usize].range.clone()]);
            }
        };
        let request = FetchRequest {
            shard,
            blocks: own,
            kind: Kind::Parameters,
            wire: Wire::F32,
            life: joined.member.life,
        };
        let (done, ()) = tokio::join!(client.fetch(request, values), take);
        done.unwrap();
    }
    flat
}
