//! A whole parameter server inside the test's own process, on ports that the system chooses.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kernels::Isa;
use parameter_server::coordinator::Settings;
use parameter_server::{Coordinator, Shard, ShardHost};
use parameters::checkpoint::Checkpoint;
use protocol::{
    Access, CoordinatorCalls as _, CoordinatorClient, Life, PROTOCOL_VERSION, Patience, Pictures,
    RegisterRequest, RunId, RunStatus, ShardCalls as _, ShardClient, ShardStatus,
};
use settings::{RunConfiguration, recipe};
use setup::Lender;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use worker::{FetchOptions, fetch};

/// The life of every server here.
pub const LIFE: Life = Life { run: RunId(7), count: 0, nonce: 5 };

/// Coordinator and shard processes; they end with it.
pub struct Server {
    /// Address of the coordinator.
    pub address: String,
    pub coordinator: Arc<Coordinator>,
    addresses: Vec<String>,
    tasks: Vec<JoinHandle<()>>,
    _snapshots: tempfile::TempDir,
}

impl Server {
    /// Starts `processes` of `shards` shards each.
    pub async fn start(configuration: RunConfiguration, processes: u32, shards: u32) -> Server {
        Server::start_at("127.0.0.1:0", configuration, processes, shards).await
    }

    /// Starts a server with the coordinator at an address.
    pub async fn start_at(
        address: &str,
        configuration: RunConfiguration,
        processes: u32,
        shards: u32,
    ) -> Server {
        Server::start_as(bind(address).await, configuration, processes, shards, None).await
    }

    /// Starts a server of one process that lends the photographs in a folder.
    pub async fn lending(folder: &Path, configuration: RunConfiguration) -> Server {
        let pictures = Lender::start(folder, setup::rules(&configuration).unwrap());
        Server::start_as(bind("127.0.0.1:0").await, configuration, 1, 1, Some(Arc::new(pictures))).await
    }

    /// Starts a server of one process whose workers are told to call `advertised`.
    pub async fn start_advertised(advertised: &str, configuration: RunConfiguration) -> Server {
        let (listener, address) = bind("127.0.0.1:0").await;
        let mut server = Server::start_as((listener, advertised.into()), configuration, 1, 1, None).await;
        server.address = address;
        server
    }

    /// Starts a server whose coordinator listens, and tells workers an address.
    async fn start_as(
        (listener, address): (TcpListener, String),
        configuration: RunConfiguration,
        processes: u32,
        shards: u32,
        pictures: Option<Arc<dyn Pictures>>,
    ) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let total = processes * shards;
        let host = host(0, shards, total, folder.path().join("0"));
        let settings = Settings {
            configuration,
            processes,
            shards,
            address: address.clone(),
            lease_time: Duration::from_secs(30),
            life: LIFE,
        };
        let coordinator = Arc::new(Coordinator::new(settings, host.clone(), None).lending(pictures));
        let mut tasks = vec![serve(listener, Some(coordinator.clone()), host)];
        let mut addresses = vec![address.clone()];
        let mut hosts = Vec::new();
        for process in 1..processes {
            let (listener, own) = bind("127.0.0.1:0").await;
            let client = CoordinatorClient::connect(&address, Patience::default()).await.unwrap();
            let request = RegisterRequest {
                protocol: PROTOCOL_VERSION,
                address: own.clone(),
                shards,
                holds: None,
                files: None,
                stopping: false,
            };
            let first = client.register(request).await.unwrap().first_shard;
            let host = self::host(first, shards, total, folder.path().join(process.to_string()));
            tasks.push(serve(listener, None, host.clone()));
            hosts.push(host);
            addresses.push(own);
        }
        let ticking = coordinator.clone();
        tasks.push(tokio::spawn(async move {
            loop {
                ticking.tick();
                if let Some(rule) = ticking.rule() {
                    hosts.iter().for_each(|host: &Arc<ShardHost>| host.begin(&rule).unwrap());
                }
                let (life, roster) = ticking.roster();
                for host in &hosts {
                    host.live(life);
                    ticking.audit(&roster, &host.admit(&roster));
                }
                // No snapshot is to be waited for.
                if ticking.ending().is_some() {
                    ticking.announce_completion();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }));
        Server { address, coordinator, addresses, tasks, _snapshots: folder }
    }

    /// Ends all processes and waits until their addresses are free.
    pub async fn stop(mut self) {
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
            // It ends as aborted.
            drop(task.await);
        }
    }

    pub fn status(&self) -> RunStatus {
        protocol::Coordinator::status(&*self.coordinator)
    }

    /// Returns the worst mistakes of the newest evaluation.
    pub fn mistakes(&self) -> parameter_server::coordinator::Mistakes {
        self.coordinator.mistakes()
    }

    /// Returns the status of every shard, by shard number.
    pub async fn shards(&self) -> Vec<ShardStatus> {
        let mut all = Vec::new();
        for address in &self.addresses {
            all.extend(
                ShardClient::connect(address, Patience::default()).await.unwrap().status().await.unwrap(),
            );
        }
        all
    }

    /// Returns the averaged parameters as they are now, a flat vector in the order of the layout.
    pub async fn average(&self) -> Vec<f32> {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("average.safetensors");
        let options = FetchOptions {
            coordinator: self.address.clone(),
            output: output.clone(),
            last_iterate: false,
            connector: Patience::default().into(),
        };
        fetch(options).await.unwrap();
        let layout = self.status().layout.expect("a worker has brought it");
        Checkpoint::read(&output).unwrap().to_flat(&layout).unwrap()
    }

    /// Waits until `reached` says so of the run's state; a minute is far more than any test here needs.
    pub async fn until(&self, reached: impl Fn(&RunStatus) -> bool) -> RunStatus {
        for _ in 0..6000 {
            let status = self.status();
            if reached(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the run never came so far: {:?}", self.status());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn bind(address: &str) -> (TcpListener, String) {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn host(first: u32, shards: u32, total: u32, snapshots: PathBuf) -> Arc<ShardHost> {
    let shards =
        (first..first + shards).map(|number| Shard::empty(number, total, 1, Isa::detect())).collect();
    Arc::new(ShardHost::new(first, shards, snapshots))
}

fn serve(
    listener: TcpListener,
    coordinator: Option<Arc<Coordinator>>,
    host: Arc<ShardHost>,
) -> JoinHandle<()> {
    let coordinator = coordinator.map(|coordinator| coordinator as Arc<dyn protocol::Coordinator>);
    tokio::spawn(async move {
        protocol::serve(listener, Access::Open, coordinator, Some(host), std::future::pending())
            .await
            .unwrap();
    })
}

/// The recipe `quick`, small enough for a test: the narrowest network on the smallest images, no ramp, no
/// stairs, and no clip, which would keep a run from diverging.
pub fn small(images: u64) -> RunConfiguration {
    let mut configuration = recipe("quick").unwrap();
    configuration.network.input_size = 32;
    configuration.network.width = 0.05;
    configuration.optimisation.ramp = 0.0;
    configuration.optimisation.stair_factor = 1.0;
    configuration.optimisation.clip_norm = None;
    configuration.run.images = Some(images);
    configuration.run.batch = 16;
    configuration.run.lease_batches = 2;
    configuration.run.evaluate_epochs = 1e6;
    configuration
}
