//! The forms in which a server is called.

use std::{future::pending, sync::Arc, time::Duration};

use kernels::Isa;
use parameter_server::{Coordinator, Shard, ShardHost, coordinator::Settings};
use protocol::{
    Access, Connector, CoordinatorCalls, CoordinatorClient, InProcess, Life, Listener, Patience, RunId,
    ShardCalls, ShardClient, serve,
};
use settings::{RunConfiguration, recipe};
use tokio::net::TcpListener;

use crate::memory::{ADDRESS, Memory};

/// Shards of the server.
pub const SHARDS: u32 = 2;

/// Time after which a silent worker's leases go to others.
pub const LEASE_TIME: Duration = Duration::from_millis(500);

/// The life of the server.
pub const LIFE: Life = Life { run: RunId(7), count: 0, nonce: 5 };

/// A server and the clients that call it in one form.
pub struct Form<C, S> {
    pub coordinator: C,
    pub shards: S,
    /// The server itself, whose clock must be looked at now and then.
    pub server: Server,
}

/// A server of one process.
#[derive(Clone)]
pub struct Server {
    pub coordinator: Arc<Coordinator>,
    host: Arc<ShardHost>,
    _snapshots: Arc<tempfile::TempDir>,
}

/// The recipe `quick` for three epochs in minibatches of 10.
fn configuration() -> RunConfiguration {
    let mut configuration = recipe("quick").unwrap();
    configuration.run.epochs = 3.0;
    configuration.run.images = None;
    configuration.run.batch = 10;
    configuration.run.lease_batches = 2;
    configuration
}

fn server() -> Server {
    let snapshots = tempfile::tempdir().unwrap();
    let shards = (0..SHARDS).map(|number| Shard::empty(number, SHARDS, 1, Isa::detect())).collect();
    let host = Arc::new(ShardHost::new(0, shards, snapshots.path().into()));
    let settings = Settings {
        configuration: configuration(),
        processes: 1,
        shards: SHARDS,
        address: "server:1".into(),
        lease_time: LEASE_TIME,
        life: LIFE,
    };
    let coordinator = Arc::new(Coordinator::new(settings, host.clone(), None));
    Server { coordinator, host, _snapshots: Arc::new(snapshots) }
}

/// Calls a server of the same process.
pub async fn in_process() -> Form<impl CoordinatorCalls, impl ShardCalls> {
    let server = server();
    let (coordinator, shards) =
        (InProcess::new(server.coordinator.clone()), InProcess::new(server.host.clone()));
    Form { coordinator, shards, server }
}

/// Calls a server over TCP.
pub async fn over_tcp() -> Form<impl CoordinatorCalls, impl ShardCalls> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    over(listener, &address, Patience::default().into()).await
}

/// Calls a server over a network in memory.
pub async fn simulated() -> Form<impl CoordinatorCalls, impl ShardCalls> {
    let network = Memory::default();
    over(network.listen(), ADDRESS, network.connector(Patience::default())).await
}

async fn over(
    listener: impl Listener,
    address: &str,
    connector: Connector,
) -> Form<CoordinatorClient, ShardClient> {
    let server = server();
    let (coordinator, host) = (server.coordinator.clone(), server.host.clone());
    tokio::spawn(async move {
        serve(listener, Access::Open, Some(coordinator), Some(host), pending()).await.unwrap()
    });
    let coordinator = CoordinatorClient::connect(address, connector.clone()).await.unwrap();
    let shards = ShardClient::connect(address, connector).await.unwrap();
    Form { coordinator, shards, server }
}
