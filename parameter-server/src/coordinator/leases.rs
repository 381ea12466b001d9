//! Leases of samples: the positions of each epoch's shuffled order that are still to do, leased to a worker,
//! or done.
//!
//! Every position of the run is credited exactly once, as used or as skipped, so every epoch ends with
//! `distinct + skipped = images`. Positions that a worker gives up are leased again before any new ones.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::{Lease, LeaseProgress, PushForm};
use serde::{Deserialize, Serialize};

/// Ledger of one epoch: how many of its images were used for training, may have been used twice, were skipped
/// as unreadable, or had their updates lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochLedger {
    /// Number of the epoch, from 0.
    pub epoch: u64,
    /// Number of images that the run takes from the epoch: all training images, or fewer if the run ends
    /// within the epoch.
    pub images: u64,
    /// Number of images of the epoch that were used (every shard has acknowledged their gradients), each
    /// counted once.
    pub distinct: u64,
    /// Number of images that shards have trained on although they are not counted as used, since a worker
    /// vanished before it could report them, or the server was restarted; they are trained on again. Counted
    /// in the epoch in which it happened.
    pub repeated: u64,
    /// Number of images of the epoch that were skipped because they cannot be read.
    pub skipped: u64,
    /// Number of images whose updates were lost when a shard was restored from an older snapshot during the
    /// epoch.
    pub lost: u64,
}

impl EpochLedger {
    /// Whether every image that the run takes from the epoch was used for training or skipped as unreadable.
    pub fn complete(&self) -> bool {
        self.distinct + self.skipped == self.images
    }
}

/// Range of positions, `start..end`, in one epoch's shuffled order of the training images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Range {
    /// Number of the epoch, from 0.
    pub epoch: u64,
    /// First position of the range in the epoch's shuffled order of the images, where positions count from 0.
    pub start: u64,
    /// End of the range: one past its last position in the epoch's shuffled order of the images.
    pub end: u64,
}

/// Progress of a run through its training images, in the form that snapshots keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Number of images, counted over all epochs, that were leased to a worker at least once. They are the
    /// first ones of the run, in the order of epochs and of positions in each epoch.
    pub leased: u64,
    /// Ranges of the epochs' shuffled orders of images that were leased to a worker, but whose images are
    /// neither used nor skipped yet.
    pub to_do: Vec<Range>,
    /// Ledgers (numbers of images used, repeated, skipped and lost) of the epochs that have begun, oldest
    /// first.
    #[serde(rename = "accounts")]
    pub ledgers: Vec<EpochLedger>,
    /// Number of images used so far (every shard has acknowledged their gradients), counted over all epochs.
    pub used: u64,
    /// Number of images skipped as unreadable so far, counted over all epochs.
    pub skipped: u64,
}

impl Progress {
    /// Returns whether the numbers agree: every image that was leased is used, skipped or still to do, and
    /// the epochs' ledgers add up to the numbers of used and skipped images given here.
    pub fn is_consistent(&self) -> bool {
        // 128 bits hold the sum of any numbers that a file may contain.
        let rest: u128 =
            self.to_do.iter().map(|range| u128::from(range.end.saturating_sub(range.start))).sum();
        let epochs: BTreeSet<u64> = self.ledgers.iter().map(|ledger| ledger.epoch).collect();
        let sum = |positions: fn(&EpochLedger) -> u64| {
            self.ledgers.iter().map(|ledger| u128::from(positions(ledger))).sum::<u128>()
        };
        let (leased, used, skipped) =
            (u128::from(self.leased), u128::from(self.used), u128::from(self.skipped));
        leased == used + skipped + rest
            && self.to_do.iter().all(|range| epochs.contains(&range.epoch))
            && used == sum(|ledger| ledger.distinct)
            && skipped == sum(|ledger| ledger.skipped)
    }
}

/// Leases of a run: which ranges of its images workers hold, which are still to do, and which are done; and
/// for each epoch a ledger, the numbers of its images used, repeated, skipped and lost.
#[derive(Debug)]
pub struct Leases {
    /// Training images: positions of a whole epoch.
    images: u64,
    /// Positions of the whole run.
    total: u64,
    /// Positions of one lease.
    size: u64,
    next_id: u64,
    leased: u64,
    to_do: BTreeSet<Range>,
    /// The leases that workers hold, by id.
    outstanding: BTreeMap<u64, Outstanding>,
    /// The ledgers of the epochs that have begun, by epoch.
    ledgers: BTreeMap<u64, EpochLedger>,
    /// Ledgers that became complete since they were last asked for.
    complete: VecDeque<EpochLedger>,
    used: u64,
    skipped: u64,
}

/// A lease that a worker holds, and how far that worker got.
#[derive(Debug)]
struct Outstanding {
    lease: Lease,
    holder: u64,
    used: u64,
    consumed: u64,
    /// Number of unreadable images that were named.
    named: usize,
}

/// The part of a report on a lease that is new.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Number of images used since the lease's report before.
    pub used: u64,
    /// Unreadable images named since then, each as "path: reason".
    pub skipped: Vec<String>,
}

/// A report on a lease whose numbers are impossible.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "lease {lease} ({positions} positions, {used_before} used and {consumed_before} consumed before): \
     found {used} used, {consumed} consumed, {named} unreadable; expected used <= consumed <= positions, none \
     falling, and no more unreadable than consumed and not used"
)]
pub struct ProgressError {
    lease: u64,
    positions: u64,
    used_before: u64,
    consumed_before: u64,
    used: u64,
    consumed: u64,
    named: usize,
}

impl Leases {
    /// Starts the leases of a run that takes `total` images in epochs of `images` each. A lease gives one
    /// worker a range of up to `size` images of an epoch; leases are numbered from `first_id` on.
    ///
    /// # Panics
    /// If `images` or `size` is 0.
    pub fn new(images: u64, total: u64, size: u64, first_id: u64) -> Leases {
        assert!(images > 0 && size > 0, "a run has images and leases have positions");
        Leases {
            images,
            total,
            size,
            next_id: first_id,
            leased: 0,
            to_do: BTreeSet::new(),
            outstanding: BTreeMap::new(),
            ledgers: BTreeMap::new(),
            complete: VecDeque::new(),
            used: 0,
            skipped: 0,
        }
    }

    /// Resumes a run from the `progress` that a snapshot kept; the other arguments are those of
    /// [`new`](Self::new). The run may have another length than before, but not one below what it has leased.
    ///
    /// # Panics
    /// If `images` or `size` is 0.
    pub fn resume(images: u64, total: u64, size: u64, first_id: u64, progress: &Progress) -> Leases {
        let leases = Leases::new(images, total, size, first_id);
        // The run's end, which cuts an epoch short, may have been elsewhere.
        let ledger = |ledger: &EpochLedger| {
            let images = leases.images_of(ledger.epoch);
            (ledger.epoch, EpochLedger { images, ..*ledger })
        };
        Leases {
            leased: progress.leased,
            to_do: progress.to_do.iter().copied().collect(),
            ledgers: progress.ledgers.iter().map(ledger).collect(),
            used: progress.used,
            skipped: progress.skipped,
            ..leases
        }
    }

    /// Returns the progress that a snapshot keeps. What is left of every lease (range of images) that a
    /// worker holds counts as still to do, since no lease survives a restart.
    pub fn progress(&self) -> Progress {
        let mut to_do = self.to_do.clone();
        to_do.extend(self.outstanding.values().filter_map(Outstanding::rest));
        Progress {
            leased: self.leased,
            to_do: to_do.into_iter().collect(),
            ledgers: self.ledgers.values().copied().collect(),
            used: self.used,
            skipped: self.skipped,
        }
    }

    /// Leases the next range of images to the worker with the incarnation (number of its join) `holder`;
    /// `form` says whether that worker is to push gradients or steps. Returns `None` when every image of the
    /// run is leased or done.
    pub fn lease(&mut self, holder: u64, form: PushForm) -> Option<Lease> {
        let Range { epoch, start, end } = self.to_do.pop_first().or_else(|| self.fresh())?;
        let lease = Lease { id: self.next_id, epoch, start, end, form, takes_velocity: false };
        self.next_id += 1;
        let fresh = Outstanding { lease: lease.clone(), holder, used: 0, consumed: 0, named: 0 };
        self.outstanding.insert(lease.id, fresh);
        Some(lease)
    }

    /// Number of images that the run takes from an epoch.
    fn images_of(&self, epoch: u64) -> u64 {
        self.images.min(self.total.saturating_sub(epoch.saturating_mul(self.images)))
    }

    /// Takes the next range that was never leased, cut at the end of the epoch and of the run.
    fn fresh(&mut self) -> Option<Range> {
        let (epoch, start) = (self.leased / self.images, self.leased % self.images);
        let images = self.images_of(epoch);
        let end = images.min(start + self.size);
        if start >= end {
            return None;
        }
        self.leased += end - start;
        self.ledgers.entry(epoch).or_insert(EpochLedger { epoch, images, ..EpochLedger::default() });
        Some(Range { epoch, start, end })
    }

    /// Number of leases (ranges of images) that the worker with the incarnation (number of its join) `holder`
    /// holds.
    pub fn held(&self, holder: u64) -> usize {
        self.outstanding.values().filter(|lease| lease.holder == holder).count()
    }

    /// Returns the number of leases of each worker that holds any, by its incarnation (number of its join).
    pub fn holders(&self) -> BTreeMap<u64, u32> {
        let mut holders = BTreeMap::new();
        self.outstanding.values().for_each(|lease| *holders.entry(lease.holder).or_default() += 1);
        holders
    }

    /// Checks the progress that the worker with the incarnation (number of its join) `holder` reports on a
    /// lease of a range of images; one that it does not hold is not looked at.
    ///
    /// # Errors
    /// If the numbers exceed the lease's number of images, fall below those of an earlier report, have more
    /// images used than consumed, or more named as unreadable than were consumed and not used.
    pub fn check(&self, holder: u64, progress: &LeaseProgress) -> Result<(), ProgressError> {
        match self.outstanding.get(&progress.lease).filter(|lease| lease.holder == holder) {
            Some(lease) => lease.since(progress).map(drop),
            None => Ok(()),
        }
    }

    /// Records the progress that the worker with the incarnation (number of its join) `holder` reports on its
    /// lease of a range of images, and ends the lease if the worker closes it or all its images are consumed.
    /// An image is used once every shard has acknowledged the gradient of its minibatch, and consumed once it
    /// is either used or skipped as unreadable. A report on a lease that `holder` does not hold, or holds no
    /// longer, is ignored, since reports may arrive twice. Returns what is new since the lease's report
    /// before.
    ///
    /// # Errors
    /// The errors of [`check`](Self::check).
    pub fn report(&mut self, holder: u64, progress: &LeaseProgress) -> Result<News, ProgressError> {
        let Some(lease) = self.outstanding.get_mut(&progress.lease).filter(|lease| lease.holder == holder)
        else {
            return Ok(News::default());
        };
        let (used, skipped) = lease.since(progress)?;
        let named = progress.skipped.get(lease.named..).unwrap_or_default().to_vec();
        (lease.used, lease.consumed) = (progress.used, progress.consumed);
        lease.named += named.len();
        let whole = progress.consumed == lease.positions();
        let epoch = lease.lease.epoch;
        self.used += used;
        self.skipped += skipped;
        let ledger = self.ledgers.get_mut(&epoch).expect("a leased epoch has a ledger");
        ledger.distinct += used;
        ledger.skipped += skipped;
        if ledger.complete() {
            self.complete.push_back(*ledger);
        }
        if whole || progress.closed {
            let lease = self.outstanding.remove(&progress.lease).expect("found above");
            self.to_do.extend(lease.rest());
        }
        Ok(News { used, skipped: named })
    }

    /// Takes back all leases (ranges of images) of the worker with the incarnation (number of its join)
    /// `holder` and returns how many there were.
    pub fn take_back(&mut self, holder: u64) -> usize {
        let ids: Vec<u64> = self
            .outstanding
            .values()
            .filter(|lease| lease.holder == holder)
            .map(|lease| lease.lease.id)
            .collect();
        for id in &ids {
            let lease = self.outstanding.remove(id).expect("listed above");
            self.to_do.extend(lease.rest());
        }
        ids.len()
    }

    /// Adds `images` to the number of repeated images in the current epoch's ledger (its counts of images):
    /// those that shards have trained on and that are trained on again.
    pub fn record_repeated(&mut self, images: u64) {
        let epoch = self.epoch();
        if let Some(ledger) = self.ledgers.get_mut(&epoch) {
            ledger.repeated += images;
        }
    }

    /// Adds `positions` to the number of lost images in the current epoch's ledger (its counts of images):
    /// those that were trained on, but whose updates a shard has lost.
    pub fn record_lost(&mut self, positions: u64) {
        let epoch = self.epoch();
        if let Some(ledger) = self.ledgers.get_mut(&epoch) {
            ledger.lost += positions;
        }
    }

    /// Number of images, over all epochs, whose updates were lost when a shard went back to an older snapshot.
    pub fn lost(&self) -> u64 {
        self.ledgers.values().map(|ledger| ledger.lost).sum()
    }

    /// Returns the ledgers (numbers of images used, repeated, skipped and lost) of the epochs whose images
    /// were all used or skipped since the last call; each ledger is returned once.
    pub fn take_complete(&mut self) -> impl Iterator<Item = EpochLedger> {
        self.complete.drain(..)
    }

    /// Whether every image of the run, over all epochs, was used for training or skipped as unreadable.
    pub fn done(&self) -> bool {
        self.used + self.skipped == self.total
    }

    /// Number of images used so far (every shard has acknowledged their gradients), counted over all epochs.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Number of images used, or skipped as unreadable, so far, counted over all epochs.
    pub fn consumed(&self) -> u64 {
        self.used + self.skipped
    }

    /// Ends the run with the images that were leased so far: no others are, but those among them that are not done
    /// yet still are.
    pub fn end_here(&mut self) {
        self.total = self.leased;
        let epoch = self.leased / self.images;
        if let Some(ledger) = self.ledgers.get_mut(&epoch) {
            ledger.images = self.leased - epoch * self.images;
            if ledger.complete() {
                self.complete.push_back(*ledger);
            }
        }
    }

    /// Number of images that the whole run takes, counted over all epochs.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Number, from 0, of the oldest epoch that is not complete, or of the last one when all are complete.
    pub fn epoch(&self) -> u64 {
        let last = (self.total - 1) / self.images;
        let open = self.ledgers.values().find(|ledger| !ledger.complete());
        open.map_or(self.leased / self.images, |ledger| ledger.epoch).min(last)
    }

    /// Number of leases (ranges of images to train on) that workers hold.
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }
}

impl Outstanding {
    /// Number of positions of the lease.
    fn positions(&self) -> u64 {
        self.lease.end - self.lease.start
    }

    /// Returns how many positions are used and skipped by `progress` and were not before.
    fn since(&self, progress: &LeaseProgress) -> Result<(u64, u64), ProgressError> {
        let &LeaseProgress { lease, used, consumed, .. } = progress;
        let (positions, named) = (self.positions(), progress.skipped.len());
        let skipped = consumed.checked_sub(used);
        let new_skipped = skipped.and_then(|now| now.checked_sub(self.consumed - self.used));
        match (used.checked_sub(self.used), new_skipped) {
            (Some(used), Some(new)) if consumed <= positions && named as u64 <= skipped.unwrap_or(0) => {
                Ok((used, new))
            }
            _ => Err(ProgressError {
                lease,
                positions,
                used_before: self.used,
                consumed_before: self.consumed,
                used,
                consumed,
                named,
            }),
        }
    }

    /// The positions of the lease that are not consumed yet.
    fn rest(&self) -> Option<Range> {
        let Lease { epoch, start, end, .. } = self.lease;
        let start = start + self.consumed;
        (start < end).then_some(Range { epoch, start, end })
    }
}

#[cfg(test)]
mod tests;
