//! One process of the server. The leader hosts the coordinator and the first shards; a follower only hosts
//! shards.

mod door;
mod follower;
mod leader;
mod lend;
mod models;
mod opening;
mod orders;
mod reach;
mod remotes;
mod restore;
mod resume;
mod serving;
mod watching;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use kernels::Isa;
use process::{Exit, RunFlags, logs::Warnings};
use protocol::{Connector, Listener};

pub use door::Door;
pub use lend::Lend;
pub use resume::going_on;

/// Options of a server process.
#[derive(Clone, Debug)]
pub struct Options {
    /// Flags that describe the run. The leader (the first process of the server) uses all of them, other
    /// processes only the one that names a model file to start from.
    pub flags: RunFlags,
    /// Name of the recipe (a named configuration) of a run whose flags name neither a recipe nor a
    /// configuration file.
    pub default_recipe: String,
    /// Address at which workers and the server's other processes reach this one, "host:port"; `None` means
    /// the address that it listens on.
    pub advertise: Option<String>,
    /// Address of the leader (the first process of the server), "host:port"; `None` means that this process
    /// is the leader.
    pub coordinator: Option<String>,
    /// Number of shards of each process.
    pub shards: u32,
    /// Number of processes that form the server (used by the leader, the first of them).
    pub processes: u32,
    /// Folder in which this process keeps its files of the run's snapshots and finds those to resume from.
    pub snapshots: PathBuf,
    /// File that lines of metrics are appended to (used by the leader, the first process of the server);
    /// `None` means that only the log has them.
    pub metrics: Option<PathBuf>,
    /// Folder that an event file of TensorBoard is written into (used by the leader, the first process of the
    /// server); `None` means that none is.
    pub tensorboard: Option<PathBuf>,
    /// Folder that the run's models are written into (used by the leader, the first process of the server);
    /// `None` means that none is.
    pub output: Option<PathBuf>,
    /// Whether to remove the snapshots found in the folder and start a new run in place of resuming (used by
    /// the leader, the first process of the server).
    pub fresh: bool,
    /// Who may call this process.
    pub door: Door,
    /// Instruction set of the kernels that update the shards.
    pub isa: Isa,
    /// Connector to the server's other processes: the network, and the deadlines and pauses of calls.
    pub connector: Connector,
    /// Intervals and time limits: for snapshots, for silent workers, and for the end of the run.
    pub timing: Timing,
    /// Address on which this process serves pages for who watches it, by HTTP; `None` means on none.
    pub http: Option<SocketAddr>,
    /// Photographs that are lent to workers which have none (by the leader, the first process of the server);
    /// `None` means that none are.
    pub lend: Option<Lend>,
    /// Newest warnings in the log of this process, which the overview of the run shows.
    pub warnings: Warnings,
}

/// Intervals and time limits of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Time for which a worker may make no call before it is out of the run and its leases (ranges of images
    /// to train on) go to others.
    pub lease: Duration,
    /// Time from the end of one snapshot of the run until the next is due.
    pub snapshots: Duration,
    /// Longest time for which the server, at the end of a run, waits for workers and shard processes to
    /// leave.
    pub farewell: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            lease: Duration::from_secs(30),
            snapshots: Duration::from_secs(60),
            farewell: Duration::from_secs(10),
        }
    }
}

/// Serves on `listener` until the run ends or `shutdown` resolves. Then the workers are told, a last snapshot
/// is written, and the exit code that says how the run ended is returned.
///
/// # Errors
/// If the configuration is invalid or differs from the resumed run's, the snapshot folder cannot be used, or
/// the leader cannot be reached.
pub async fn run(
    options: Options,
    listener: impl Listener,
    shutdown: impl Future<Output = ()> + Send,
) -> anyhow::Result<Exit> {
    let bound = listener.local_addr().context("ask where the server listens")?;
    let address = match &options.advertise {
        Some(address) => address.clone(),
        None if bound.ip().is_unspecified() => bail!(
            "listening on {bound}, which is no address that others can reach: \
             name one with --advertise, as --advertise this-host:{}",
            bound.port()
        ),
        None => bound.to_string(),
    };
    tracing::info!("listening on {bound}, reached at {address}; update kernel {}", options.isa.name());
    match options.coordinator.clone() {
        None => leader::run(options, listener, address, shutdown).await,
        Some(coordinator) => follower::run(options, listener, address, &coordinator, shutdown).await,
    }
}
