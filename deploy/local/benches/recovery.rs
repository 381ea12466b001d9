//! A bench of recovery, the time from a killed process until the run goes on, on this machine: GoogLeNet at
//! 224x224 with both heads, two server processes of one shard each and one worker. Each process in turn is
//! killed and started again at once; medians over the times.
//!
//! `cargo bench --package downpour --bench recovery`

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use parameter_server::snapshot;
use process::TokenFlags;
use protocol::{
    Connector, CoordinatorCalls as _, CoordinatorClient, Patience, RunState, RunStatus, check_health,
};
use tokio::time::sleep;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(2);
/// Longest wait: nothing here takes as long.
const LONGEST: Duration = Duration::from_secs(120);
const LEADER: usize = 0;
const SHARDS: usize = 1;
const WORKER: usize = 2;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut run = Run::start().await;
        println!(
            "{:<38} {:>12} {:>24}",
            "killed, and started again at once", "serves, s", "training goes on, s"
        );
        for (process, name) in [(SHARDS, "shard process"), (LEADER, "coordinator, with the first shard")] {
            let (mut serves, mut trains) = (Vec::new(), Vec::new());
            for _ in 0..times() {
                let started = run.restart(process).await;
                run.served(process).await;
                serves.push(started.elapsed());
                run.trained().await;
                trains.push(started.elapsed());
            }
            println!("{name:<38} {:>12.2} {:>24.2}", median(serves), median(trains));
        }
        let mut trains = Vec::new();
        for _ in 0..times() {
            let started = run.restart(WORKER).await;
            run.trained().await;
            trains.push(started.elapsed());
        }
        println!("{:<38} {:>12} {:>24.2}", "worker", "", median(trains));
    });
}

/// Number of times that each process is killed: one under `cargo test`, which only looks whether the benchmark
/// still runs.
fn times() -> usize {
    if std::env::args().any(|flag| flag == "--bench") { 5 } else { 1 }
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

/// The processes, killed at the end.
struct Run {
    home: tempfile::TempDir,
    ports: [u16; 2],
    children: [Option<Child>; 3],
}

impl Run {
    /// Starts everybody and waits for training and for a snapshot.
    async fn start() -> Run {
        // Held until both are known, so that they differ.
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let ports = listeners.each_ref().map(|listener| listener.local_addr().expect("an address").port());
        drop(listeners);
        let mut run =
            Run { home: tempfile::tempdir().expect("a folder"), ports, children: [const { None }; 3] };
        (0..3).for_each(|process| run.spawn(process));
        run.trained().await;
        run.saved().await;
        run
    }

    fn address(&self, process: usize) -> String {
        format!("127.0.0.1:{}", self.ports[process])
    }

    fn snapshots(&self) -> &Path {
        self.home.path()
    }

    /// File of a role's token, which the leader makes.
    fn token(&self, role: &str) -> PathBuf {
        self.snapshots().join("access").join(role).join("token")
    }

    fn spawn(&mut self, process: usize) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_downpour"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).arg("role");
        let leader = self.address(LEADER);
        if process == WORKER {
            command
                .args(["worker", "train", "--coordinator", &leader, "--token-file"])
                .arg(self.token("worker"));
        } else {
            command.args(["parameter-server", "--listen", &self.address(process), "--snapshots"]);
            command.arg(self.snapshots());
            match process {
                LEADER => command.args(["--servers", "2", "--snapshot-interval", "5"]).args([
                    "--recipe",
                    "paper",
                    "--batch",
                    "8",
                    "--images",
                    "1000000000",
                    "--learning-rate",
                    "0.0001",
                ]),
                _ => command.args(["--coordinator", &leader, "--token-file"]).arg(self.token("server")),
            };
        }
        self.children[process] = Some(command.spawn().expect("the program starts"));
    }

    fn kill(&mut self, process: usize) {
        if let Some(mut child) = self.children[process].take() {
            child.kill().expect("it can be killed");
            child.wait().expect("it ended");
        }
    }

    /// Kills a process between two snapshots and starts it again; the moment of that.
    async fn restart(&mut self, process: usize) -> Instant {
        self.saved().await;
        self.kill(process);
        let started = Instant::now();
        self.spawn(process);
        started
    }

    /// Waits until the next snapshot is complete.
    async fn saved(&self) {
        let newest = || snapshot::newest(self.snapshots()).ok().flatten().map(|manifest| manifest.id);
        let before = newest();
        until("a snapshot", async || newest() > before).await;
    }

    /// Waits until a server process serves its shards.
    async fn served(&self, process: usize) {
        let address = self.address(process);
        until("a server process", async || check_health(&address, Duration::from_secs(1)).await.is_ok())
            .await;
    }

    /// Waits until a worker reports that a minibatch more was acknowledged by all shards.
    async fn trained(&self) {
        let reader = TokenFlags { token_file: Some(self.token("reader")) };
        let token = reader.wait().await.expect("the leader makes it");
        let connector = Connector { token, ..Patience::default().into() };
        let coordinator =
            CoordinatorClient::connect(&self.address(LEADER), connector).await.expect("it serves");
        let progress = async || {
            let status: RunStatus = coordinator.status().await.expect("it answers");
            (status.state == RunState::Training).then_some(status.samples)
        };
        let mut before = None;
        until("a minibatch", async || match progress().await {
            Some(samples) => samples > *before.get_or_insert(samples),
            None => false,
        })
        .await;
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        (0..3).for_each(|process| self.kill(process));
    }
}

async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !reached().await {
        assert!(begun.elapsed() < LONGEST, "waited in vain for {what}");
        sleep(LOOK).await;
    }
}
