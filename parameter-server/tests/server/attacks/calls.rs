//! Every call of every service, made by whoever has a connection, with arguments that would do harm.

use std::{collections::BTreeSet, fs, path::Path};

use parameters::{Layout, assign};
use protocol::{
    AdoptRequest, BlockPush, ClientError, Connector, CoordinatorCalls as _, CoordinatorClient, FetchRequest,
    JoinRequest, Kind, LabelsRequest, MOST_PICTURES, Member, PROTOCOL_VERSION, PushForm, ReadRequest,
    RegisterRequest, Report, ShardCalls as _, ShardClient, ShardOrder, Steering, StepMetrics, Version, Wire,
};
use tokio::sync::mpsc;

use crate::common::{data, layout};

/// The calls that the files in `proto` define, each as `Service.Call`.
pub fn defined() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/downpour/v1");
    let mut calls = BTreeSet::new();
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let mut service = None;
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("service ") {
                service = name.split_whitespace().next();
            } else if let Some(call) = line.strip_prefix("rpc ") {
                let name = call.split('(').next().unwrap();
                calls.insert(format!("{}.{name}", service.expect("a call is in a service")));
            }
        }
    }
    assert!(calls.len() > 10, "{calls:?}");
    calls
}

/// Somebody who calls a server, and knows all of a member but its token.
pub struct Caller {
    coordinator: CoordinatorClient,
    shards: ShardClient,
    member: Member,
}

impl Caller {
    /// Connects to a server in which `member` is one.
    pub async fn connect(address: &str, connector: Connector, member: Member) -> Caller {
        let coordinator = CoordinatorClient::connect(address, connector.clone()).await.unwrap();
        let shards = ShardClient::connect(address, connector).await.unwrap();
        Caller { coordinator, shards, member }
    }

    /// Makes a call of those that are [`defined`].
    ///
    /// # Panics
    /// For a call that has no attack here: whoever defines a call says what it could do in wrong hands.
    pub async fn make(&self, call: &str) -> Result<(), ClientError> {
        let Caller { coordinator, shards, member } = self;
        match call {
            "Access.Credentials" => coordinator.credentials().await.map(drop),
            "Coordinator.Join" => {
                let request =
                    JoinRequest { protocol: PROTOCOL_VERSION, name: "attacker".into(), data: data() };
                coordinator.join(request).await.map(drop)
            }
            "Coordinator.Assign" => coordinator.assign(*member).await.map(drop),
            "Coordinator.Report" => coordinator.report(self.farewell()).await.map(drop),
            "Coordinator.Register" => coordinator.register(self.place()).await.map(drop),
            "Coordinator.Status" => coordinator.status().await.map(drop),
            "Coordinator.Overview" => coordinator.overview().await.map(drop),
            "Coordinator.Steer" => coordinator.steer(Steering::Stop).await.map(drop),
            "Pictures.Describe" => coordinator.lent_data().await.map(drop),
            "Pictures.Labels" => {
                let request = LabelsRequest { validation: true, start: u32::MAX };
                coordinator.lent_labels(request).await.map(drop)
            }
            "Pictures.Read" => {
                let request = ReadRequest { validation: false, images: vec![u32::MAX; MOST_PICTURES] };
                coordinator.read_lent(request, drop).await
            }
            "Shards.Adopt" => {
                let request = AdoptRequest { shard: 0, member: *member, layout: layout() };
                shards.adopt(request).await.map(drop)
            }
            "Shards.Push" => self.push().await,
            "Shards.Fetch" => self.fetch().await,
            "Shards.Order" => {
                shards.order(member.life, ShardOrder::Finish { interrupted: false }).await.map(drop)
            }
            "Shards.Status" => shards.status().await.map(drop),
            other => panic!("{other} is defined in proto/, and no attack makes it: add one here"),
        }
    }

    /// A report that puts the member out of the run, and ends the run as diverged.
    fn farewell(&self) -> Report {
        Report {
            member: self.member,
            progress: Vec::new(),
            metrics: StepMetrics { steps: 1, diverged: true, ..StepMetrics::default() },
            evaluation: None,
            leaving: Some("asked to".into()),
            sends_largest: false,
        }
    }

    /// A registration by which workers would push to the attacker.
    fn place(&self) -> RegisterRequest {
        RegisterRequest {
            protocol: PROTOCOL_VERSION,
            address: "attacker:1".into(),
            shards: 2,
            holds: None,
            files: None,
            stopping: false,
        }
    }

    async fn push(&self) -> Result<(), ClientError> {
        let push = BlockPush {
            shard: owner(&layout(), 0),
            member: self.member,
            step: 1000,
            block: 0,
            version: Version::default(),
            samples: 10,
            form: PushForm::Gradient,
            log: None,
            gradient: vec![1.0; layout().blocks()[0].range.len()].into(),
        };
        let (pushes, to_send) = mpsc::channel(1);
        let (replies, mut received) = mpsc::channel(1);
        pushes.send(vec![push]).await.unwrap();
        drop(pushes);
        let (pushed, reply) = tokio::join!(self.shards.push(Wire::F32, to_send, replies), received.recv());
        pushed?;
        reply.expect("what was sent is answered").outcome.map(drop).map_err(ClientError::Refused)
    }

    async fn fetch(&self) -> Result<(), ClientError> {
        let (values, mut received) = mpsc::channel(1);
        let request = FetchRequest {
            shard: owner(&layout(), 0),
            blocks: vec![0],
            kind: Kind::Parameters,
            wire: Wire::F32,
            life: self.member.life,
        };
        tokio::join!(self.shards.fetch(request, values), received.recv()).0
    }
}

/// The shard of two that holds a block.
fn owner(layout: &Layout, block: usize) -> u32 {
    assign(layout, 2)[block]
}
