//! The account of a run: what the coordinator credits as used, compared with what the blocks of the shards
//! hold, exactly.
//!
//! Every shard knows, for each of its blocks, the samples behind all updates and those behind the updates by
//! each worker of the roster. Once a worker has left or expired, its shards take no more of it, and what they
//! applied of it is final: it is moved to what the shard has settled, beside what was credited to the worker.
//! The difference of the two, the surplus of a block, is what was applied but never credited (a worker
//! vanished before it could report, and its samples are trained on again) less what was credited but is gone
//! (a shard was restored from a file, or refused a gradient). At any time a block holds what is settled and
//! what the present workers have pushed; if it does not, an update was lost or made twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter::repeat,
    ops::RangeInclusive,
};

use protocol::{Roster, RosterEntry, ShardLedger};

use crate::telemetry::Balance;

/// Account of a run: samples credited to workers beside the samples that the shards' blocks hold.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Accounts of the shards heard of in this life of the server, by shard.
    shards: BTreeMap<u32, ShardAccount>,
    /// Workers of the roster, by incarnation.
    workers: BTreeMap<u64, WorkerAccount>,
    /// Samples credited in the whole run.
    used: u64,
    /// Surplus of each block of each shard in the snapshot that the run goes on from, until the shard is
    /// heard of.
    saved: BTreeMap<u32, Vec<i64>>,
    /// Samples that the files of the snapshot hold beyond its progress: those of the shard that has most.
    restored: u64,
    /// The first block that did not hold what it should.
    mismatch: Option<String>,
}

/// Account of one shard.
#[derive(Debug)]
struct ShardAccount {
    generation: u64,
    /// Samples in each block of the workers that are settled here.
    settled: Vec<i64>,
    /// Samples credited to the workers that are settled here.
    credited: u64,
}

/// Account of one worker.
#[derive(Debug)]
struct WorkerAccount {
    worker: u32,
    /// Samples credited to the worker.
    credited: u64,
    /// True once the worker has left or expired.
    departed: bool,
    /// Shards at which the worker is settled.
    settled: BTreeSet<u32>,
    /// Largest surplus that the worker left in a block.
    surplus: i64,
}

impl ShardAccount {
    fn surplus(&self) -> impl Iterator<Item = i64> {
        self.settled.iter().map(|&settled| settled - self.credited as i64)
    }
}

impl Account {
    /// Makes the account of a run that has credited `used` samples; `saved` are the surpluses kept in the
    /// snapshot that it goes on from.
    pub(super) fn new(used: u64, saved: BTreeMap<u32, Vec<i64>>) -> Account {
        Account { used, saved, ..Account::default() }
    }

    /// Returns the newest generation of the shards with numbers in `shards` that was heard of in this life;
    /// 0 if none of them was.
    pub(super) fn generation(&self, shards: RangeInclusive<u32>) -> u64 {
        self.shards.range(shards).map(|(_, shard)| shard.generation).max().unwrap_or(0)
    }

    /// Adds a worker.
    pub(super) fn join(&mut self, RosterEntry { worker, incarnation }: RosterEntry) {
        let settled = BTreeSet::new();
        let account = WorkerAccount { worker, credited: 0, departed: false, settled, surplus: 0 };
        self.workers.insert(incarnation, account);
    }

    /// Credits `samples` to a worker: every shard has acknowledged their updates.
    pub(super) fn credit(&mut self, incarnation: u64, samples: u64) {
        if let Some(worker) = self.workers.get_mut(&incarnation) {
            worker.credited += samples;
            self.used += samples;
        }
    }

    /// Records that a worker has left or expired.
    pub(super) fn depart(&mut self, incarnation: u64) {
        if let Some(worker) = self.workers.get_mut(&incarnation) {
            worker.departed = true;
        }
    }

    /// Returns the number of the worker of an incarnation; `None` if it is settled at every shard.
    pub(super) fn worker(&self, incarnation: u64) -> Option<u32> {
        self.workers.get(&incarnation).map(|worker| worker.worker)
    }

    /// Number of workers that are members or not settled at every shard yet.
    pub(super) fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Lists the workers that have left or expired and are not settled at every shard yet.
    pub(super) fn departed(&self) -> Vec<RosterEntry> {
        let departed = self.workers.iter().filter(|(_, worker)| worker.departed);
        departed.map(|(&incarnation, worker)| RosterEntry { worker: worker.worker, incarnation }).collect()
    }

    /// Compares a shard's ledger, given in answer to `roster`, with the account, and settles the workers
    /// whose pushes the shard no longer takes. `shards` is the number of shards of the server. Returns the
    /// number of samples that were applied and never credited, so that they are applied a second time.
    pub(super) fn observe(&mut self, shard: u32, shards: u32, roster: &Roster, ledger: &ShardLedger) -> u64 {
        let found = self.settled(shard, ledger);
        let restored = self.compare(shard, &found);
        self.shards.insert(shard, found);
        self.settle(shard, roster, ledger);
        restored + self.forget(shards)
    }

    /// Works out what of a shard's ledger is of the workers that are settled there.
    fn settled(&self, shard: u32, ledger: &ShardLedger) -> ShardAccount {
        let mut found = ShardAccount {
            generation: ledger.generation,
            settled: ledger.samples.iter().map(|&samples| samples as i64).collect(),
            credited: self.used,
        };
        for (incarnation, worker) in &self.workers {
            if !worker.settled.contains(&shard) {
                found.credited -= worker.credited;
                let applied = ledger.members.get(incarnation).into_iter().flatten();
                found.settled.iter_mut().zip(applied).for_each(|(rest, &samples)| *rest -= samples as i64);
            }
        }
        found
    }

    /// Compares what was found of a shard with what is known. Of a shard that is heard of for the first time
    /// in this life, returns the samples that its file holds beyond the snapshot's progress, which are
    /// trained on again. A shard that came back from a file has lost, and repeats nothing by that.
    fn compare(&mut self, shard: u32, found: &ShardAccount) -> u64 {
        match self.shards.get(&shard) {
            Some(known) if known.generation == found.generation => {
                let differs = known.settled.iter().zip(&found.settled).position(|(one, other)| one != other);
                if let Some(block) = differs {
                    let text = format!(
                        "shard {shard}, block {block} of it: expected {} samples of the workers that have left, found {}",
                        known.settled[block], found.settled[block]
                    );
                    tracing::error!("the account does not add up: {text}");
                    self.mismatch.get_or_insert(text);
                }
                0
            }
            Some(_) => 0,
            None => {
                // Where the snapshot does not say what surplus it had, it had none.
                let before = self.saved.remove(&shard).unwrap_or_default().into_iter().chain(repeat(0));
                let more = found.surplus().zip(before).map(|(now, before)| now - before).max();
                let more = more.unwrap_or(0).max(0) as u64;
                // The same images are in all shards: they count once.
                let new = more.saturating_sub(self.restored);
                self.restored += new;
                new
            }
        }
    }

    /// Settles the workers that have departed and that a shard no longer takes pushes of, since its ledger
    /// answers a roster without them.
    fn settle(&mut self, shard: u32, roster: &Roster, ledger: &ShardLedger) {
        let account = self.shards.get_mut(&shard).expect("a shard that is settled was compared");
        let present: BTreeSet<u64> = roster.members.iter().map(|entry| entry.incarnation).collect();
        for (incarnation, worker) in &mut self.workers {
            if !worker.departed || present.contains(incarnation) || !worker.settled.insert(shard) {
                continue;
            }
            account.credited += worker.credited;
            // A shard that applied nothing of a worker does not list it.
            let applied = ledger.members.get(incarnation).into_iter().flatten().copied().chain(repeat(0));
            for (settled, samples) in account.settled.iter_mut().zip(applied) {
                *settled += samples as i64;
                worker.surplus = worker.surplus.max(samples as i64 - worker.credited as i64);
            }
        }
    }

    /// Forgets the workers that are settled at all `shards` shards; returns the samples that they left
    /// applied and not credited.
    fn forget(&mut self, shards: u32) -> u64 {
        let mut repeated = 0;
        self.workers.retain(|_, worker| {
            let done = worker.departed && worker.settled.len() >= shards as usize;
            if done {
                repeated += worker.surplus.max(0) as u64;
            }
            !done
        });
        repeated
    }

    /// Returns the surplus of each block of each shard over the samples credited, those of workers that are
    /// still present left out.
    pub(super) fn surplus(&self) -> BTreeMap<u32, Vec<i64>> {
        let heard = self.shards.iter().map(|(&shard, account)| (shard, account.surplus().collect()));
        self.saved.clone().into_iter().chain(heard).collect()
    }

    /// Closes the account: returns its balance if all workers have left and are settled, so that every block
    /// holds the samples used and its surplus; `None` before.
    pub(super) fn closed(&self) -> Option<Balance> {
        if !self.workers.is_empty() {
            return None;
        }
        let surplus = || self.shards.values().flat_map(ShardAccount::surplus);
        let (least, most) = (surplus().min()?, surplus().max()?);
        Some(Balance { used: self.used, least, most, mismatch: self.mismatch.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(worker: u32) -> RosterEntry {
        RosterEntry { worker, incarnation: 100 + u64::from(worker) }
    }

    fn roster(members: &[u32]) -> Roster {
        Roster { members: members.iter().map(|&worker| entry(worker)).collect(), ..Roster::default() }
    }

    /// A ledger of two blocks: their samples, and those of workers by number.
    fn ledger(generation: u64, samples: [u64; 2], members: &[(u32, [u64; 2])]) -> ShardLedger {
        let members = members.iter().map(|(worker, samples)| (entry(*worker).incarnation, samples.to_vec()));
        ShardLedger {
            generation,
            samples: samples.to_vec(),
            members: members.collect(),
            limited: BTreeMap::new(),
        }
    }

    /// The balance of an account that adds up.
    fn balance(used: u64, least: i64, most: i64) -> Option<Balance> {
        Some(Balance { used, least, most, mismatch: None })
    }

    #[test]
    fn a_worker_that_vanishes_leaves_what_it_had_not_reported_exactly() {
        let mut account = Account::new(0, BTreeMap::new());
        account.join(entry(0));
        account.join(entry(1));
        let both = roster(&[0, 1]);
        let early = ledger(1, [96, 96], &[(0, [64, 64]), (1, [32, 32])]);
        assert_eq!(account.observe(0, 1, &both, &early), 0);
        account.credit(entry(0).incarnation, 64);
        account.credit(entry(1).incarnation, 32);
        // Worker 0 pushes two more minibatches, of the second only to one block, and is lost.
        account.depart(entry(0).incarnation);
        assert_eq!(account.departed(), [entry(0)]);
        let late = ledger(1, [160, 128], &[(0, [128, 96]), (1, [32, 32])]);
        // An answer to the roster before is not the last word.
        assert_eq!(account.observe(0, 1, &both, &late), 0);
        assert_eq!(account.observe(0, 1, &roster(&[1]), &late), 64);
        assert_eq!((account.departed(), account.closed()), (Vec::new(), None));
        account.depart(entry(1).incarnation);
        let last = ledger(1, [160, 128], &[(1, [32, 32])]);
        assert_eq!(account.observe(0, 1, &roster(&[]), &last), 0);
        assert_eq!(account.closed(), balance(96, 32, 64));
        assert_eq!(account.surplus(), [(0, vec![64, 32])].into());
    }

    #[test]
    fn an_update_that_nobody_pushed_is_found() {
        let mut account = Account::new(0, BTreeMap::new());
        account.join(entry(0));
        let of = |samples, worker| ledger(1, samples, &[(0, worker)]);
        assert_eq!(account.observe(0, 1, &roster(&[0]), &of([32, 32], [32, 32])), 0);
        account.observe(0, 1, &roster(&[0]), &of([64, 96], [64, 64]));
        account.depart(entry(0).incarnation);
        account.observe(0, 1, &roster(&[]), &of([64, 96], [64, 64]));
        let text = account.closed().unwrap().to_string();
        let expected = "it does not add up: shard 0, block 1 of it: expected 0 samples of the workers that have left, \
                        found 32";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn a_worker_is_settled_once_every_shard_has_said_what_it_applied() {
        let mut account = Account::new(0, BTreeMap::new());
        account.join(entry(0));
        account.credit(entry(0).incarnation, 32);
        account.depart(entry(0).incarnation);
        let of = |samples| ledger(1, samples, &[(0, samples)]);
        assert_eq!(account.observe(0, 2, &roster(&[]), &of([32, 32])), 0);
        assert_eq!((account.departed().len(), account.closed()), (1, None));
        // The same answer again changes nothing.
        assert_eq!(account.observe(0, 2, &roster(&[]), &of([32, 32])), 0);
        assert_eq!(account.observe(1, 2, &roster(&[]), &of([48, 32])), 16);
        assert_eq!((account.departed().len(), account.closed()), (0, balance(32, 0, 16)));
    }

    #[test]
    fn what_a_snapshot_holds_beyond_its_progress_is_repeated_once() {
        // At the snapshot 100 samples were used, and block 1 had a surplus of 16; its files hold more.
        let mut account = Account::new(100, [(0, vec![0, 16])].into());
        assert_eq!(account.surplus(), [(0, vec![0, 16])].into());
        assert_eq!(account.observe(0, 1, &roster(&[]), &ledger(2, [132, 132], &[])), 32);
        assert_eq!(account.closed(), balance(100, 32, 32));
        // A shard that comes back from an older file has lost, and repeats nothing by that.
        assert_eq!(account.observe(0, 1, &roster(&[]), &ledger(3, [90, 90], &[])), 0);
        assert_eq!(account.closed(), balance(100, -10, -10));
    }
}
