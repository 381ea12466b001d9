//! A server that answers as no right one does: what the worker makes of it is an error that says what was
//! found.

use std::sync::Arc;
use std::time::Duration;

use ::process::Exit;
use parameters::Layout;
use protocol::{
    Access, AdoptReply, AdoptRequest, Assignment, BlockPush, BlockValues, Caller, Ending, JoinReply,
    JoinRequest, Kind, Lease, Life, Member, Overview, Patience, PushForm, PushReply, Refusal, RegisterReply,
    RegisterRequest, Report, RunState, RunStatus, ShardOrder, ShardStatus, Steered, Steering, Version,
};
use setup::exit_of;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use worker::actor::Place;
use worker::replica::{self, ReplicaOptions};
use worker::{FetchOptions, fetch};

use crate::linear::{Linear, layout};
use crate::server::{LIFE, small};

const IMAGES: u64 = 300;

/// Coordinator and shard in one, for the linear model.
struct Fake {
    /// The lease that every worker gets.
    lease: Lease,
    /// Addresses of the shards.
    shards: Vec<String>,
    /// The value of every parameter.
    value: f32,
}

impl Fake {
    /// Serves it until the handle is dropped; its address.
    async fn serve(lease: Lease, value: f32, shards: usize) -> (String, Served) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let fake = Arc::new(Fake { lease, shards: vec![address.clone(); shards], value });
        let coordinator = fake.clone() as Arc<dyn protocol::Coordinator>;
        let task = tokio::spawn(async move {
            protocol::serve(listener, Access::Open, Some(coordinator), Some(fake), std::future::pending())
                .await
                .unwrap();
        });
        (address, Served(task))
    }
}

struct Served(JoinHandle<()>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl protocol::Coordinator for Fake {
    fn join(&self, _: JoinRequest) -> Result<JoinReply, Refusal> {
        let configuration = small(600);
        let member = Member { worker: 0, incarnation: 1, life: LIFE };
        Ok(JoinReply { member, configuration, shards: self.shards.clone() })
    }

    fn assign(&self, _: Member, _: u64) -> Result<Assignment, Refusal> {
        Ok(Assignment::Train(self.lease.clone()))
    }

    fn report(&self, _: Report, _: u64) -> Result<Option<Ending>, Refusal> {
        Ok(None)
    }

    fn register(&self, _: RegisterRequest) -> Result<RegisterReply, Refusal> {
        Err(Refusal::Internal("no process registers here".into()))
    }

    fn status(&self) -> RunStatus {
        RunStatus {
            state: RunState::Training,
            detail: String::new(),
            samples: 16,
            total_samples: 600,
            epoch: 0,
            workers: 1,
            leases: 1,
            latest: None,
            evaluations: Vec::new(),
            layout: Some(layout()),
            configuration: small(600),
            classes: vec!["a".into(), "b".into(), "c".into()],
            shards: self.shards.clone(),
            data_hash: "points".into(),
            unreadable: 0,
            life: LIFE,
        }
    }

    fn overview(&self) -> Overview {
        unreachable!("no worker looks at the whole run")
    }

    fn steer(&self, _: Steering, _: Caller) -> Result<Steered, Refusal> {
        Err(Refusal::Internal("nobody steers this run".into()))
    }
}

impl protocol::Shards for Fake {
    fn adopt(&self, _: AdoptRequest) -> Result<AdoptReply, Refusal> {
        Ok(AdoptReply { fingerprint: layout().fingerprint() })
    }

    fn push(&self, push: BlockPush) -> PushReply {
        PushReply { block: push.block, outcome: Err(Refusal::Invalid("none is taken".into())), staleness: 0 }
    }

    fn fetch(&self, _: Life, _: u32, block: u32, _: Kind) -> Result<BlockValues, Refusal> {
        let len = |layout: &Layout| layout.blocks()[block as usize].range.len();
        let values = vec![self.value; len(&layout())].into();
        Ok(BlockValues { block, version: Version::default(), values })
    }

    fn carried(&self, _: u32, _: u64, _: u64) {}

    fn order(&self, _: Life, _: ShardOrder) -> Result<Vec<ShardStatus>, Refusal> {
        Ok(Vec::new())
    }

    fn status(&self) -> Vec<ShardStatus> {
        Vec::new()
    }
}

/// Trains against the server; returns the error that ends it.
fn lease(start: u64, end: u64) -> Lease {
    Lease { id: 4, epoch: 0, start, end, form: PushForm::Gradient, takes_velocity: false }
}

async fn refused(address: String) -> String {
    let connector = Patience::default().into();
    let options = ReplicaOptions {
        coordinator: address,
        name: "only".into(),
        connector,
        place: Place::Inline,
        telemetry: None,
    };
    let work = Linear::new(IMAGES, Duration::ZERO);
    let error = replica::run(&work, &options, std::future::pending()).await.unwrap_err();
    assert_eq!(exit_of(&error), Exit::BadInput);
    format!("{error:#}")
}

#[tokio::test]
async fn a_lease_beyond_the_images_or_of_none_is_an_error_with_both_ranges() {
    for (start, end) in [(0, IMAGES + 1), (IMAGES - 1, u64::MAX), (u64::MAX - 1, u64::MAX), (7, 7)] {
        let (address, _served) = Fake::serve(lease(start, end), 0.0, 1).await;
        assert_eq!(
            refused(address).await,
            format!(
                "lease 4 of the coordinator: expected positions within 0..300, as many as there are training images here, \
                 found {start}..{end}; start worker and server from one release"
            )
        );
    }
}

#[tokio::test]
async fn a_run_without_shards_is_an_error() {
    let (address, _served) = Fake::serve(lease(0, 16), 0.0, 0).await;
    let expected = "the coordinator names no shards, expected the address of at least one; start worker and server from \
                    one release";
    assert_eq!(refused(address).await, expected);
}

#[tokio::test]
async fn parameters_that_are_not_finite_are_fetched_into_no_file() {
    let home = tempfile::tempdir().unwrap();
    let output = home.path().join("model.safetensors");
    let (address, _served) = Fake::serve(lease(0, 16), f32::NAN, 1).await;
    let (coordinator, connector) = (address, Patience::default().into());
    let options = FetchOptions { coordinator, output: output.clone(), last_iterate: false, connector };
    let text = format!("{:#}", fetch(options).await.unwrap_err());
    let expected = format!(
        "{} is not written: training has diverged, start it again with a lower --learning-rate: tensor weights holds 24 \
         values that are not finite (NaN or infinite), the first at 0: NaN",
        output.display()
    );
    assert_eq!(text, expected);
    assert!(!output.exists());
}
