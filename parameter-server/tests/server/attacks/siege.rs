//! A run in which an honest worker trains beside an attacker, who has a worker's token and is a member.

use std::{future::pending, sync::Arc, time::Duration};

use access::{Access, Folder, Role};
use kernels::Isa;
use parameter_server::{Balance, Coordinator, Shard, ShardHost, coordinator::Settings};
use parameters::assign;
use protocol::{
    Assignment, BlockPush, BlockValues, ClientError, Connector, CoordinatorCalls as _, CoordinatorClient,
    Ending, FetchRequest, JoinReply, JoinRequest, Kind, Life, Member, PROTOCOL_VERSION, Patience, PushForm,
    PushReply, Report, RunId, ShardCalls as _, ShardClient, StepMetrics, Version, Wire, serve,
};
use settings::recipe;
use tokio::{sync::mpsc, time::sleep};

use crate::{
    common::{Worker, data, layout},
    memory::{ADDRESS, Memory},
};

/// Shards of the server.
const SHARDS: u32 = 2;
/// Samples of a minibatch.
pub const BATCH: u32 = 10;
/// Samples of the whole run.
pub const TOTAL: u64 = 300;
/// The life of the server.
const LIFE: Life = Life { run: RunId(7), count: 0, nonce: 5 };
/// Time after which a silent member is out.
const LEASE_TIME: Duration = Duration::from_secs(30);

/// A server with tokens on a network in memory, whose run an honest worker has begun.
pub struct Siege {
    /// The server's coordinator, for calls with numbers that no client would choose.
    pub coordinator: Arc<Coordinator>,
    pub honest: Worker,
    host: Arc<ShardHost>,
    connector: Connector,
    _home: tempfile::TempDir,
}

/// An attacker who has joined the run.
pub struct Attacker {
    pub coordinator: CoordinatorClient,
    pub shards: ShardClient,
    pub member: Member,
}

impl Siege {
    /// Starts a server and a worker that has trained on one lease.
    pub async fn begin() -> Siege {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::make(&home.path().join("access"), None).unwrap();
        let mut configuration = recipe("quick").unwrap();
        configuration.run.images = Some(TOTAL);
        configuration.run.batch = BATCH as usize;
        configuration.run.lease_batches = 2;
        configuration.run.evaluate_epochs = 1.0;
        let settings = Settings {
            configuration,
            processes: 1,
            shards: SHARDS,
            address: ADDRESS.into(),
            lease_time: LEASE_TIME,
            life: LIFE,
        };
        let shards = (0..SHARDS).map(|number| Shard::empty(number, SHARDS, 1, Isa::detect())).collect();
        let host = Arc::new(ShardHost::new(0, shards, home.path().into()));
        let coordinator = Arc::new(Coordinator::new(settings, host.clone(), None));
        let (network, access) = (Memory::default(), Access::Tokens(folder.credentials().unwrap()));
        let token = Some(folder.token(Role::Worker).unwrap());
        let connector = Connector { token, ..network.connector(Patience::default()) };
        let (calls, shards) = (coordinator.clone(), host.clone());
        tokio::spawn(async move {
            serve(network.listen(), access, Some(calls), Some(shards), pending()).await.unwrap();
        });
        tokio::spawn(lead(coordinator.clone()));
        let mut honest = Worker::join_by(connector.clone(), ADDRESS, "honest").await;
        let Assignment::Train(lease) = honest.client.assign(honest.joined.member).await.unwrap() else {
            panic!("the first worker trains");
        };
        assert_eq!(honest.train(&lease).await, None);
        Siege { coordinator, honest, host, connector, _home: home }
    }

    /// Joins as an attacker.
    pub async fn attacker(&self) -> Attacker {
        let coordinator = CoordinatorClient::connect(ADDRESS, self.connector.clone()).await.unwrap();
        let shards = ShardClient::connect(ADDRESS, self.connector.clone()).await.unwrap();
        let request = JoinRequest { protocol: PROTOCOL_VERSION, name: "attacker".into(), data: data() };
        let JoinReply { member, .. } = coordinator.join(request).await.unwrap();
        Attacker { coordinator, shards, member }
    }

    /// Asserts that the honest worker trains to the end of the run, that each of its pushes is applied, that
    /// the account adds up, and that nothing is remembered of anybody who has left. Returns the balance.
    pub async fn withstand(mut self) -> Balance {
        // What the attacker holds goes back in time: the attacker calls no more.
        assert_eq!(self.honest.work().await, Ending::Completed);
        for kind in [Kind::Parameters, Kind::Average { evaluation: 0 }] {
            let distance = self.honest.distance(kind).await;
            assert!(distance.is_finite(), "{kind:?}: {distance}");
        }
        let balance = loop {
            match self.coordinator.balance() {
                Some(balance) => break balance,
                None => sleep(Duration::from_secs(1)).await,
            }
        };
        assert_eq!((balance.used, &balance.mismatch), (TOTAL, &None), "{balance}");
        let (_, roster) = self.coordinator.roster();
        assert!(roster.members.is_empty() && roster.departed.is_empty(), "{roster:?}");
        for shard in self.host.admit(&roster) {
            let ledger = shard.ledger.expect("a shard with a layout has one");
            assert!(ledger.members.is_empty(), "{ledger:?}");
        }
        balance
    }
}

impl Attacker {
    /// A sound push of the attacker to a block, from which attacks depart.
    pub fn push(&self, step: u64, block: u32) -> BlockPush {
        BlockPush {
            shard: assign(&layout(), SHARDS as usize)[block as usize],
            member: self.member,
            step,
            block,
            version: Version::default(),
            samples: BATCH,
            form: PushForm::Gradient,
            log: None,
            gradient: vec![0.01; layout().blocks()[block as usize].range.len()].into(),
        }
    }

    /// Sends a push; returns what became of it.
    pub async fn send(&self, push: BlockPush) -> PushReply {
        let (pushes, to_send) = mpsc::channel(1);
        let (replies, mut received) = mpsc::channel(1);
        pushes.send(vec![push]).await.unwrap();
        drop(pushes);
        let (pushed, reply) = tokio::join!(self.shards.push(Wire::F32, to_send, replies), received.recv());
        pushed.unwrap();
        reply.unwrap()
    }

    /// Fetches a block.
    pub async fn fetch(&self, block: u32, kind: Kind) -> Result<BlockValues, ClientError> {
        let shard = assign(&layout(), SHARDS as usize)[block as usize];
        let (values, mut received) = mpsc::channel(1);
        let request =
            FetchRequest { shard, blocks: vec![block], kind, wire: Wire::F32, life: self.member.life };
        let (fetched, block) = tokio::join!(self.shards.fetch(request, values), received.recv());
        fetched.map(|()| block.unwrap())
    }
}

/// A report of nothing, from which attacks depart.
pub fn report(member: Member) -> Report {
    let (progress, metrics) = (Vec::new(), StepMetrics::default());
    Report { member, progress, metrics, evaluation: None, leaving: None, sends_largest: false }
}

/// Does the periodic work of a server's first process, which takes no snapshots here.
async fn lead(coordinator: Arc<Coordinator>) {
    loop {
        coordinator.tick();
        if coordinator.ending().is_some() {
            coordinator.announce_completion();
        }
        sleep(Duration::from_millis(50)).await;
    }
}
