//! The shards of one process, served at one address, each behind a lock that is only held briefly.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use parameters::Layout;
use protocol::{
    AdoptReply, AdoptRequest, BlockPush, BlockValues, Kind, Life, PushReply, Refusal, Roster, RunId,
    ShardOrder, ShardStatus, Shards, UpdateRule,
};
use tokio::sync::watch;

use super::{Shard, file, members::Members, writer::Writer};
use crate::snapshot;

/// Shards with consecutive numbers, served by one process.
pub struct ShardHost {
    first: u32,
    shards: Arc<[Mutex<Shard>]>,
    writer: Writer,
    /// Traffic of each shard in bytes of encoded values.
    carried: Vec<Carried>,
    /// Members whose pushes the shards take. A push holds it for reading, so that once the members are
    /// replaced nothing more of a former one is being applied.
    members: RwLock<Members>,
    snapshots: PathBuf,
    /// `Some(interrupted)` once the leader ordered the shards to finish.
    ended: watch::Sender<Option<bool>>,
}

/// Traffic of a shard in bytes of encoded values, counted without the shard's lock.
#[derive(Default)]
struct Carried {
    received: AtomicU64,
    sent: AtomicU64,
}

impl ShardHost {
    /// Hosts `shards`, which are numbered from `first` on; their snapshots go into the folder `snapshots`.
    pub fn new(first: u32, shards: Vec<Shard>, snapshots: PathBuf) -> ShardHost {
        let carried = shards.iter().map(|_| Carried::default()).collect();
        let shards = shards.into_iter().map(Mutex::new).collect();
        let members = RwLock::default();
        let writer = Writer::start();
        ShardHost { first, shards, writer, carried, members, snapshots, ended: watch::Sender::new(None) }
    }

    /// Returns a receiver that tells of the end of the run: `None` before the leader orders the shards to
    /// finish, then `Some(interrupted)`, which is true if the run was interrupted.
    pub(crate) fn ended(&self) -> watch::Receiver<Option<bool>> {
        self.ended.subscribe()
    }

    /// Begins a life of the server for the shards of this process, in which nobody is a member yet; has no
    /// effect if it is the present one.
    pub fn live(&self, life: Life) {
        self.members.write().expect("no call panicked with the members in hand").begin(life);
    }

    /// Takes the pushes of the members in `roster` from now on, and of nobody else, and keeps averages for
    /// its evaluations only; returns the statuses of the shards with their ledgers.
    pub fn admit(&self, roster: &Roster) -> Vec<ShardStatus> {
        let mut members = self.members.write().expect("no call panicked with the members in hand");
        members.replace(roster);
        let ledgers: Vec<_> = self.shards.iter().map(|shard| lock(shard).keep(&members)).collect();
        drop(members);
        let statuses = self.status().into_iter().zip(ledgers);
        statuses.map(|(status, ledger)| ShardStatus { ledger, ..status }).collect()
    }

    /// Records that the snapshot of this number is complete: no order writes one with a lower number or the
    /// same again in this life of the server.
    pub fn completed(&self, snapshot: u64) {
        self.members.write().expect("no call panicked with the members in hand").completed(snapshot);
    }

    /// Returns the present members for reading.
    fn members(&self) -> RwLockReadGuard<'_, Members> {
        self.members.read().expect("no call panicked with the members in hand")
    }

    /// Gives the run's update rule (how gradients become updates) to every shard of this process.
    ///
    /// # Errors
    /// If a shard refuses the rule; the error is that of the first one, see [`Shard::begin`].
    pub fn begin(&self, rule: &UpdateRule) -> Result<(), Refusal> {
        self.shards.iter().try_for_each(|shard| lock(shard).begin(rule))
    }

    /// Gives another update rule to every shard of this process, none of which has applied an update: the
    /// network's layout is then brought anew.
    ///
    /// # Errors
    /// If a shard refuses; the error is that of the first one, see [`Shard::begin_again`].
    pub fn begin_again(&self, rule: &UpdateRule) -> Result<(), Refusal> {
        self.shards.iter().try_for_each(|shard| lock(shard).begin_again(rule))
    }

    /// Returns the network's layout (its tensors in their order); `None` until a worker has brought it to the
    /// first shard of this process.
    pub fn layout(&self) -> Option<Layout> {
        self.shards.first().and_then(|shard| lock(shard).layout().cloned())
    }

    /// Replaces all shards.
    pub(crate) fn replace(&self, shards: Vec<Shard>) {
        self.shards.iter().zip(shards).for_each(|(old, shard)| *lock(old) = shard);
    }

    fn shard(&self, number: u32) -> Result<MutexGuard<'_, Shard>, Refusal> {
        let shard = number.checked_sub(self.first).and_then(|at| self.shards.get(at as usize));
        shard.map(lock).ok_or_else(|| {
            let last = self.first as usize + self.shards.len() - 1;
            Refusal::Invalid(format!("shard {number} is not here; this process has {} to {last}", self.first))
        })
    }

    /// Writes every shard into snapshot `id`; if one cannot be written, the files of all are removed.
    fn write(&self, run: RunId, id: u64) -> Result<Vec<ShardStatus>, Refusal> {
        let ids = snapshot::ids(&self.snapshots).map_err(|error| Refusal::Internal(error.to_string()))?;
        self.members().check_snapshot(id, ids.last().copied().unwrap_or(0))?;
        let (shards, folder) = (self.shards.clone(), self.snapshots.clone());
        let written = self.writer.run(move || write_each(&shards, &folder, run, id));
        let written = written
            .unwrap_or_else(|| Err(Refusal::Internal(format!("the writing of snapshot {id} panicked"))));
        let hashes = match written {
            Ok(hashes) => hashes,
            Err(refusal) => {
                // Half a snapshot would count among those that are kept.
                if let Err(error) = snapshot::remove(&self.snapshots, id) {
                    tracing::warn!("what there is of snapshot {id} could not be removed: {error}");
                }
                return Err(refusal);
            }
        };
        snapshot::prune(&self.snapshots, id);
        let statuses = self.status().into_iter().zip(hashes);
        Ok(statuses.map(|(status, hash)| ShardStatus { snapshot_hash: Some(hash), ..status }).collect())
    }
}

/// Writes shards one after the other and returns the hashes of their files: each is copied between two pushes
/// and written while pushes go on.
fn write_each(shards: &[Mutex<Shard>], folder: &Path, run: RunId, id: u64) -> Result<Vec<String>, Refusal> {
    let write = |shard: &Mutex<Shard>| {
        let shard = lock(shard);
        let number = shard.status().shard;
        shard.check().map_err(|text| {
            Refusal::Internal(format!(
                "shard {number}: {text}; no snapshot is taken of a run that has diverged"
            ))
        })?;
        let saved = shard.saved().ok_or_else(|| {
            Refusal::NotReady(format!("shard {number}: nothing to write yet, no layout was adopted"))
        })?;
        drop(shard);
        file::write(folder, id, run, saved)
            .map_err(|error| Refusal::Internal(format!("shard {number}: {error}")))
    };
    shards.iter().map(write).collect()
}

impl Shards for ShardHost {
    fn adopt(&self, request: AdoptRequest) -> Result<AdoptReply, Refusal> {
        self.members().check(request.member)?;
        self.shard(request.shard)?.adopt(request.layout)
    }

    fn push(&self, push: BlockPush) -> PushReply {
        let members = self.members();
        match members.check(push.member).and_then(|()| self.shard(push.shard)) {
            Ok(mut shard) => shard.push(push),
            Err(refusal) => PushReply { block: push.block, outcome: Err(refusal), staleness: 0 },
        }
    }

    fn fetch(&self, life: Life, shard: u32, block: u32, kind: Kind) -> Result<BlockValues, Refusal> {
        let members = self.members();
        members.check_life("the fetch", life)?;
        if let Kind::Average { evaluation: evaluation @ 1.. } = kind {
            members.check_evaluation(evaluation)?;
        }
        self.shard(shard)?.fetch(block, kind)
    }

    fn carried(&self, shard: u32, received: u64, sent: u64) {
        let carried = shard.checked_sub(self.first).and_then(|at| self.carried.get(at as usize));
        if let Some(carried) = carried {
            carried.received.fetch_add(received, Ordering::Relaxed);
            carried.sent.fetch_add(sent, Ordering::Relaxed);
        }
    }

    fn order(&self, life: Life, order: ShardOrder) -> Result<Vec<ShardStatus>, Refusal> {
        self.members().check_life("the order", life)?;
        match order {
            ShardOrder::Roster(roster) => Ok(self.admit(&roster)),
            ShardOrder::Snapshot { id } => self.write(life.run, id),
            ShardOrder::Finish { interrupted } => {
                self.ended.send_replace(Some(interrupted));
                Ok(self.status())
            }
        }
    }

    fn status(&self) -> Vec<ShardStatus> {
        let status = |(shard, carried): (&Mutex<Shard>, &Carried)| ShardStatus {
            bytes_in: carried.received.load(Ordering::Relaxed),
            bytes_out: carried.sent.load(Ordering::Relaxed),
            ..lock(shard).status().clone()
        };
        self.shards.iter().zip(&self.carried).map(status).collect()
    }
}

/// Locks a shard. A panic inside a shard leaves a block half updated, so the process stops with it.
///
/// # Panics
/// If an earlier call panicked inside the shard.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().expect("no push panicked in this shard")
}

#[cfg(test)]
mod tests {
    use kernels::Isa;

    use super::*;
    use crate::testing::{layout, rule};

    #[test]
    fn a_shard_whose_block_is_not_finite_or_far_too_large_takes_no_snapshot() {
        let home = tempfile::tempdir().unwrap();
        let open = |number| {
            let mut shard = Shard::empty(number, 2, 1, Isa::scalar());
            shard.begin(&rule()).unwrap();
            shard.adopt(layout()).unwrap();
            shard
        };
        let host = ShardHost::new(0, vec![open(0), open(1)], home.path().into());
        let life = Life::default();
        host.live(life);
        host.order(life, ShardOrder::Snapshot { id: 1 }).unwrap();
        for (value, shown) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "inf"), (-1e19, "1e19")] {
            let mut saved = open(1).saved().unwrap();
            let (&block, state) = saved.blocks.iter_mut().next().unwrap();
            state.arrays.get_mut("velocity").unwrap()[7] = value;
            let name = layout().tensors()[layout().blocks()[block as usize].tensor].name.clone();
            host.replace(vec![open(0), Shard::restored(1, 2, 2, Isa::scalar(), saved)]);
            let refusal = host.order(life, ShardOrder::Snapshot { id: 2 }).unwrap_err();
            let expected = format!(
                "shard 1: block {block} ({name}) holds {shown}, expected values of at most 1e18; no snapshot is taken of a \
                 run that has diverged"
            );
            assert_eq!(refusal, Refusal::Internal(expected));
            assert!(!home.path().join("2").exists(), "not even the file of the shard that is well");
        }
        assert!(file::read(home.path(), 1, None, 1, 2).is_ok(), "the one before stays");
    }

    /// Opens the only shard of a run in its first life.
    fn opened(home: &std::path::Path) -> (ShardHost, Life) {
        let mut shard = Shard::empty(0, 1, 1, Isa::scalar());
        shard.begin(&rule()).unwrap();
        shard.adopt(layout()).unwrap();
        let (host, life) = (ShardHost::new(0, vec![shard], home.into()), Life::default());
        host.live(life);
        (host, life)
    }

    /// Snapshot 0 removed all others once, and the largest number left none for the next.
    #[test]
    fn a_snapshot_that_is_not_the_next_one_is_refused_and_removes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let (host, life) = opened(home.path());
        for id in 1..4 {
            host.order(life, ShardOrder::Snapshot { id }).unwrap();
            std::fs::write(home.path().join(format!("{id}/manifest.json")), "{}").unwrap();
            host.completed(id);
        }
        for id in [0, 1, 2, 3, 1028, u64::MAX - 1, u64::MAX] {
            let refusal = host.order(life, ShardOrder::Snapshot { id }).unwrap_err();
            let expected = format!(
                "snapshot {id}: expected a number above 3, that of the newest complete one, and at most 1027"
            );
            assert_eq!(refusal, Refusal::Invalid(expected));
        }
        assert_eq!(snapshot::ids(home.path()).unwrap(), [1, 2, 3]);
        for _ in 0..2 {
            host.order(life, ShardOrder::Snapshot { id: 4 }).unwrap();
        }
    }

    #[test]
    fn averages_are_frozen_for_open_evaluations_and_dropped_with_them() {
        let home = tempfile::tempdir().unwrap();
        let (host, life) = opened(home.path());
        let fetch = |evaluation| host.fetch(life, 0, 2, Kind::Average { evaluation });
        let frozen = || lock(&host.shards[0]).frozen();
        assert!(matches!(fetch(7), Err(Refusal::NotReady(_))), "nobody has said so yet");
        let open = |version, evaluations: &[u64]| {
            host.admit(&Roster {
                version,
                next_evaluation: 8,
                evaluations: evaluations.into(),
                ..Roster::default()
            })
        };
        open(1, &[7]);
        for evaluation in 1..300 {
            match fetch(evaluation) {
                Ok(_) => assert!(evaluation == 7),
                Err(Refusal::Invalid(_)) => assert!(evaluation < 7),
                Err(Refusal::NotReady(_)) => assert!(evaluation > 7),
                Err(other) => panic!("{other}"),
            }
        }
        fetch(0).unwrap();
        assert_eq!(frozen(), [7]);
        open(2, &[]);
        assert!(frozen().is_empty());
        assert!(matches!(fetch(7), Err(Refusal::Invalid(_))));
    }
}
