//! The starting state of the shards of a process: none, the snapshot that the leader names, or the newest one
//! that can be read.

use std::sync::Arc;

use anyhow::Context;
use protocol::{RunId, Snapshot};

use super::Options;
use crate::{
    ShardHost,
    shard::{Shard, WarmStart, file},
    snapshot,
};

/// The state that shards start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restore {
    /// No snapshot: the shards are as at the start of the run.
    Nothing,
    /// The snapshot of this number, and no other.
    Exactly(u64),
    /// The newest snapshot whose files for this process's shards can be read.
    Newest,
}

/// Opens this process's shards for the run `run`; those that are not restored start from the model file
/// `warm`, if there is one. Their generation is later than `after`.
pub(crate) fn open_shards(
    options: &Options,
    run: RunId,
    first: u32,
    total: u32,
    restore: Restore,
    warm: Option<Arc<WarmStart>>,
    after: u64,
) -> anyhow::Result<ShardHost> {
    let shards = restored_shards(options, run, first, total, restore, warm, after)?;
    Ok(ShardHost::new(first, shards, options.snapshots.clone()))
}

/// Restores this process's shards of the run `run`, which are numbered from `first` on, in a server of
/// `total` shards. Their versions start in a generation that was never used before: one later than `after` and
/// than those that the folder tells of, which may be an older copy.
pub(crate) fn restored_shards(
    options: &Options,
    run: RunId,
    first: u32,
    total: u32,
    restore: Restore,
    warm: Option<Arc<WarmStart>>,
    after: u64,
) -> anyhow::Result<Vec<Shard>> {
    let folder = &options.snapshots;
    let numbers = first..first + options.shards;
    let read = |id: u64| {
        let read = |number| {
            file::read(folder, id, Some(run), number, total)
                .with_context(|| format!("restore shard {number}"))
        };
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
        let newest = saved.as_ref().map_or(0, |saved| saved.generation).max(after);
        let least = newest.saturating_add(1);
        let generation = snapshot::next_generation(folder, number, least)?;
        Ok(match saved {
            Some(saved) => Shard::restored(number, total, generation, options.isa, saved),
            None => Shard::empty(number, total, generation, options.isa).starting_from(warm.clone()),
        })
    };
    numbers.clone().map(open).collect()
}

/// Returns the starting state of shards that join a leader's run as it starts: the snapshot that the leader
/// names, if the files here have the hashes that the leader knows; without a snapshot, the start of the run.
pub(crate) fn restore_point(
    options: &Options,
    first: u32,
    snapshot: Option<&Snapshot>,
) -> anyhow::Result<Restore> {
    let Some(named) = snapshot else { return Ok(Restore::Nothing) };
    snapshot::check(&options.snapshots, first, named)
        .with_context(|| format!("go on from snapshot {} (--fresh at the leader starts anew)", named.id))?;
    Ok(Restore::Exactly(named.id))
}
