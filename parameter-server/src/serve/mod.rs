//! One process of the server. The leader hosts the coordinator and the first shards; a follower only hosts
//! shards.

mod follower;
mod leader;
mod opening;
mod remotes;
mod resume;
mod serving;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use configuration::{Exit, RunFlags};
use kernels::Isa;
use protocol::{Listener, Way};

use crate::{
    ShardHost,
    shard::{Shard, WarmStart, file},
    snapshot,
};

/// Options of a server process.
#[derive(Clone, Debug)]
pub struct Options {
    /// Flags that describe the run (used by the leader).
    pub flags: RunFlags,
    /// The recipe of a run whose flags name neither a recipe nor a file.
    pub default_recipe: String,
    /// Address under which others reach this process; by default the one that it listens on.
    pub advertise: Option<String>,
    /// Address of the leader; without one, this process is the leader.
    pub coordinator: Option<String>,
    /// Shards of each process.
    pub shards: u32,
    /// Processes that form the server (used by the leader).
    pub processes: u32,
    /// Folder of the snapshots.
    pub snapshots: PathBuf,
    /// File that metrics are appended to (used by the leader).
    pub metrics: Option<PathBuf>,
    /// Whether to remove the snapshots and start anew (used by the leader).
    pub fresh: bool,
    /// Instruction set of the update.
    pub isa: Isa,
    /// How to connect to the server's other processes.
    pub way: Way,
    /// Intervals and time limits.
    pub timing: Timing,
}

/// Intervals and time limits of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Time for which a worker may be silent before its leases go to others.
    pub lease: Duration,
    /// Time between snapshots.
    pub snapshots: Duration,
    /// Time for which the end of a run waits for workers and shard processes.
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
/// A configuration that is invalid or not the resumed run's, a snapshot folder that cannot be used, or a
/// leader that cannot be reached.
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

/// The state that shards start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restore {
    /// No snapshot: the start of the run.
    Nothing,
    /// The snapshot of this number.
    Exactly(u64),
    /// The newest snapshot whose files for this process's shards can be read.
    Newest,
}

/// Opens this process's shards; those that are not restored start from the model file `warm`, if there is
/// one.
pub(crate) fn open_shards(
    options: &Options,
    first: u32,
    total: u32,
    restore: Restore,
    warm: Option<Arc<WarmStart>>,
) -> anyhow::Result<ShardHost> {
    let shards = restored_shards(options, first, total, restore, warm)?;
    Ok(ShardHost::new(first, shards, options.snapshots.clone()))
}

/// Restores this process's shards, which are numbered from `first` on, in a server of `total` shards. Their
/// versions start in a generation that was never used before.
pub(crate) fn restored_shards(
    options: &Options,
    first: u32,
    total: u32,
    restore: Restore,
    warm: Option<Arc<WarmStart>>,
) -> anyhow::Result<Vec<Shard>> {
    let folder = &options.snapshots;
    let numbers = first..first + options.shards;
    let read = |id: u64| {
        let read =
            |number| file::read(folder, id, number, total).with_context(|| format!("restore shard {number}"));
        numbers.clone().map(read).collect::<anyhow::Result<Vec<_>>>()
    };
    let newest = || {
        snapshot::ids(folder)?
            .into_iter()
            .rev()
            .find_map(|id| {
                read(id)
                    .inspect_err(|error| tracing::warn!("snapshot {id} is passed over: {error:#}"))
                    .ok()
            })
            .with_context(|| {
                format!(
                    "no snapshot in {} has files of shard {first} and those behind it that can be read; put them \
                     there, or start the run anew with --fresh at the leader",
                    folder.display()
                )
            })
    };
    let saved = match restore {
        Restore::Nothing => None,
        Restore::Exactly(id) => Some(
            read(id)
                .with_context(|| format!("go on from snapshot {id} (--fresh at the leader starts anew)"))?,
        ),
        Restore::Newest => Some(newest()?),
    };
    let mut saved = saved.into_iter().flatten();
    let open = |number: u32| {
        let saved = saved.next();
        let least = saved.as_ref().map_or(1, |saved| saved.generation.saturating_add(1));
        let generation = snapshot::next_count(folder, &format!("generation-{number}"), least)?;
        Ok(match saved {
            Some(saved) => Shard::restored(number, total, generation, options.isa, saved),
            None => Shard::empty(number, total, generation, options.isa).starting_from(warm.clone()),
        })
    };
    numbers.clone().map(open).collect()
}
