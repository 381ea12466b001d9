//! Leases of samples: which positions of each epoch's shuffled order are to do, out with a worker, or done.
//!
//! Every position of the run is credited exactly once, as used or as skipped; so in every epoch
//! `distinct + skipped = images`. What a worker gives up goes back and is leased again before anything new.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::{Lease, LeaseProgress};
use serde::{Deserialize, Serialize};

/// The account of one epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Positions of the epoch that belong to the run.
    pub images: u64,
    /// Positions used, each counted once.
    pub distinct: u64,
    /// Positions given out again though a vanished worker may have used them: an upper bound.
    pub repeated: u64,
    /// Positions whose image is unreadable.
    pub skipped: u64,
    /// Positions whose push a lost shard forgot.
    pub lost: u64,
}

impl Account {
    /// Whether every position was used or skipped.
    pub fn complete(&self) -> bool {
        self.distinct + self.skipped == self.images
    }
}

/// Positions `start..end` of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Range {
    /// Epoch, from 0.
    pub epoch: u64,
    /// First position.
    pub start: u64,
    /// One past the last.
    pub end: u64,
}

/// How far the run is, in a form that outlives the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Positions of the run, counted over all epochs, that were leased at least once: the first ones.
    pub leased: u64,
    /// Among them, those to do again or still.
    pub to_do: Vec<Range>,
    /// Accounts of the epochs that are begun, in their order.
    pub accounts: Vec<Account>,
    /// Positions used so far.
    pub used: u64,
    /// Positions skipped so far.
    pub skipped: u64,
}

impl Progress {
    /// Whether every position that was leased is used, skipped or to do, and the epochs' accounts say the same.
    pub fn is_consistent(&self) -> bool {
        // In 128 bits, in which no sum of what a file says is too large.
        let rest: u128 =
            self.to_do.iter().map(|range| u128::from(range.end.saturating_sub(range.start))).sum();
        let epochs: BTreeSet<u64> = self.accounts.iter().map(|account| account.epoch).collect();
        let sum = |positions: fn(&Account) -> u64| {
            self.accounts.iter().map(|account| u128::from(positions(account))).sum::<u128>()
        };
        let (leased, used, skipped) =
            (u128::from(self.leased), u128::from(self.used), u128::from(self.skipped));
        leased == used + skipped + rest
            && self.to_do.iter().all(|range| epochs.contains(&range.epoch))
            && used == sum(|account| account.distinct)
            && skipped == sum(|account| account.skipped)
    }
}

/// The book of all leases of a run.
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
    out: BTreeMap<u64, Out>,
    accounts: BTreeMap<u64, Account>,
    /// Of them, those that became complete and were not told yet.
    complete: VecDeque<Account>,
    used: u64,
    skipped: u64,
}

/// A lease and how far its holder got.
#[derive(Debug)]
struct Out {
    lease: Lease,
    holder: u64,
    used: u64,
    consumed: u64,
}

/// What is wrong with a report on a lease.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "lease {lease} ({positions} positions, {used_before} used and {consumed_before} consumed before): \
     found {used} used, {consumed} consumed; expected used <= consumed <= positions, none falling"
)]
pub struct ProgressError {
    lease: u64,
    positions: u64,
    used_before: u64,
    consumed_before: u64,
    used: u64,
    consumed: u64,
}

impl Leases {
    /// The book of a run of `total` positions over epochs of `images`, in leases of `size`; ids start at `first_id`.
    pub fn new(images: u64, total: u64, size: u64, first_id: u64) -> Leases {
        assert!(images > 0 && size > 0, "a run has images and leases have positions");
        Leases {
            images,
            total,
            size,
            next_id: first_id,
            leased: 0,
            to_do: BTreeSet::new(),
            out: BTreeMap::new(),
            accounts: BTreeMap::new(),
            complete: VecDeque::new(),
            used: 0,
            skipped: 0,
        }
    }

    /// The same, going on from `progress`.
    pub fn resume(images: u64, total: u64, size: u64, first_id: u64, progress: &Progress) -> Leases {
        Leases {
            leased: progress.leased,
            to_do: progress.to_do.iter().copied().collect(),
            accounts: progress.accounts.iter().map(|account| (account.epoch, *account)).collect(),
            used: progress.used,
            skipped: progress.skipped,
            ..Leases::new(images, total, size, first_id)
        }
    }

    /// What a snapshot keeps. Leases that are out count as to do: nobody will know them after a restart, and part of
    /// them may be in the shards already.
    pub fn progress(&self) -> Progress {
        let mut to_do = self.to_do.clone();
        let mut accounts = self.accounts.clone();
        for out in self.out.values() {
            if let Some(rest) = out.rest() {
                to_do.insert(rest);
                let account = accounts.get_mut(&rest.epoch).expect("a leased epoch has an account");
                account.repeated += rest.end - rest.start;
            }
        }
        Progress {
            leased: self.leased,
            to_do: to_do.into_iter().collect(),
            accounts: accounts.into_values().collect(),
            used: self.used,
            skipped: self.skipped,
        }
    }

    /// The next range for `holder`; none when everything is done or out.
    pub fn lease(&mut self, holder: u64) -> Option<Lease> {
        let Range { epoch, start, end } = self.to_do.pop_first().or_else(|| self.fresh())?;
        let lease = Lease { id: self.next_id, epoch, start, end };
        self.next_id += 1;
        self.out.insert(lease.id, Out { lease: lease.clone(), holder, used: 0, consumed: 0 });
        Some(lease)
    }

    /// The next range that was never leased; the end of an epoch and of the run cut it.
    fn fresh(&mut self) -> Option<Range> {
        let (epoch, start) = (self.leased / self.images, self.leased % self.images);
        let images = self.images.min(self.total - epoch * self.images);
        let end = images.min(start + self.size);
        if start >= end {
            return None;
        }
        self.leased += end - start;
        self.accounts.entry(epoch).or_insert(Account { epoch, images, ..Account::default() });
        Some(Range { epoch, start, end })
    }

    /// Credits what `holder` reports. A lease that it does not hold (any more) is passed over: reports may be repeated.
    pub fn report(&mut self, holder: u64, progress: &LeaseProgress) -> Result<(), ProgressError> {
        let Some(out) = self.out.get_mut(&progress.lease).filter(|out| out.holder == holder) else {
            return Ok(());
        };
        let positions = out.lease.end - out.lease.start;
        let (used, consumed) = (progress.used, progress.consumed);
        let skipped = consumed.checked_sub(used);
        let new = match (
            used.checked_sub(out.used),
            skipped.and_then(|now| now.checked_sub(out.consumed - out.used)),
        ) {
            (Some(used), Some(skipped)) if consumed <= positions => (used, skipped),
            _ => {
                return Err(ProgressError {
                    lease: progress.lease,
                    positions,
                    used_before: out.used,
                    consumed_before: out.consumed,
                    used,
                    consumed,
                });
            }
        };
        (out.used, out.consumed) = (used, consumed);
        let epoch = out.lease.epoch;
        self.used += new.0;
        self.skipped += new.1;
        let account = self.accounts.get_mut(&epoch).expect("a leased epoch has an account");
        account.distinct += new.0;
        account.skipped += new.1;
        if account.complete() {
            self.complete.push_back(*account);
        }
        if consumed == positions || progress.closed {
            let out = self.out.remove(&progress.lease).expect("found above");
            self.to_do.extend(out.rest());
        }
        Ok(())
    }

    /// Takes back what `holder` has; with `vanished`, nobody knows how much of it reached the shards. Returns the
    /// number of leases.
    pub fn take_back(&mut self, holder: u64, vanished: bool) -> usize {
        let ids: Vec<u64> =
            self.out.values().filter(|out| out.holder == holder).map(|out| out.lease.id).collect();
        for id in &ids {
            let out = self.out.remove(id).expect("listed above");
            let Some(rest) = out.rest() else { continue };
            self.to_do.insert(rest);
            if vanished {
                let account = self.accounts.get_mut(&rest.epoch).expect("a leased epoch has an account");
                account.repeated += rest.end - rest.start;
            }
        }
        ids.len()
    }

    /// Notes that a shard forgot the pushes behind `positions` used ones, in the account of the epoch under way.
    pub fn lose(&mut self, positions: u64) {
        let epoch = self.epoch();
        if let Some(account) = self.accounts.get_mut(&epoch) {
            account.lost += positions;
        }
    }

    /// Positions whose pushes were lost with a shard, in all epochs.
    pub fn lost(&self) -> u64 {
        self.accounts.values().map(|account| account.lost).sum()
    }

    /// The epochs that became complete since the last call.
    pub fn complete(&mut self) -> impl Iterator<Item = Account> {
        self.complete.drain(..)
    }

    /// Whether every position of the run was used or skipped.
    pub fn done(&self) -> bool {
        self.used + self.skipped == self.total
    }

    /// Positions used.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Positions used or skipped.
    pub fn consumed(&self) -> u64 {
        self.used + self.skipped
    }

    /// Positions in the whole run.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The oldest epoch that is not complete; the last one when all are.
    pub fn epoch(&self) -> u64 {
        let last = (self.total - 1) / self.images;
        let open = self.accounts.values().find(|account| !account.complete());
        open.map_or(self.leased / self.images, |account| account.epoch).min(last)
    }

    /// Leases out.
    pub fn out(&self) -> usize {
        self.out.len()
    }
}

impl Out {
    fn rest(&self) -> Option<Range> {
        let Lease { epoch, start, end, .. } = self.lease;
        let start = start + self.consumed;
        (start < end).then_some(Range { epoch, start, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(lease: &Lease, used: u64, closed: bool) -> LeaseProgress {
        LeaseProgress { lease: lease.id, used, consumed: used, closed, ..LeaseProgress::default() }
    }

    #[test]
    fn the_end_of_an_epoch_and_of_the_run_cut_a_lease() {
        let mut leases = Leases::new(10, 25, 4, 1);
        let ranges: Vec<_> = std::iter::from_fn(|| leases.lease(1))
            .map(|lease| (lease.epoch, lease.start, lease.end))
            .collect();
        let expected =
            [(0, 0, 4), (0, 4, 8), (0, 8, 10), (1, 0, 4), (1, 4, 8), (1, 8, 10), (2, 0, 4), (2, 4, 5)];
        assert_eq!(ranges, expected);
    }

    #[test]
    fn a_lease_given_up_goes_first_and_counts_once() {
        let mut leases = Leases::new(10, 10, 4, 1);
        let (first, second) = (leases.lease(1).unwrap(), leases.lease(2).unwrap());
        leases.report(1, &used(&first, 3, false)).unwrap();
        leases.report(1, &used(&first, 3, false)).unwrap();
        assert_eq!(leases.take_back(1, true), 1);
        let again = leases.lease(3).unwrap();
        assert_eq!((again.start, again.end), (3, 4));
        leases.report(1, &used(&first, 4, true)).unwrap();
        assert_eq!(leases.used(), 3, "a report on a lease that was taken back credits nothing");
        leases.report(3, &used(&again, 1, true)).unwrap();
        leases.report(2, &used(&second, 2, true)).unwrap();
        let rest = leases.lease(4).unwrap();
        assert_eq!((rest.start, rest.end), (6, 8));
        let skips = LeaseProgress { consumed: 2, used: 1, closed: true, ..used(&rest, 1, true) };
        leases.report(4, &skips).unwrap();
        let last = leases.lease(4).unwrap();
        leases.report(4, &used(&last, 2, true)).unwrap();
        assert!(leases.done());
        let account = Account { epoch: 0, images: 10, distinct: 9, repeated: 1, skipped: 1, lost: 0 };
        assert_eq!(leases.complete().collect::<Vec<_>>(), [account]);
    }

    #[test]
    fn impossible_reports_are_refused_with_their_numbers() {
        let mut leases = Leases::new(10, 10, 4, 1);
        let lease = leases.lease(1).unwrap();
        leases.report(1, &used(&lease, 2, false)).unwrap();
        let error = leases.report(1, &used(&lease, 5, false)).unwrap_err().to_string();
        let expected = "lease 1 (4 positions, 2 used and 2 consumed before): found 5 used, 5 consumed; \
                        expected used <= consumed <= positions, none falling";
        assert_eq!(error, expected);
        assert!(leases.report(1, &used(&lease, 1, false)).is_err());
        assert_eq!(leases.used(), 2);
    }

    #[test]
    fn progress_goes_on_with_what_was_out() {
        let mut leases = Leases::new(10, 20, 4, 1);
        let (first, _second) = (leases.lease(1).unwrap(), leases.lease(2).unwrap());
        leases.report(1, &used(&first, 1, false)).unwrap();
        let mut resumed = Leases::resume(10, 20, 4, 100, &leases.progress());
        assert_eq!((resumed.used(), resumed.epoch(), resumed.out()), (1, 0, 0));
        let mut ranges = Vec::new();
        while let Some(lease) = resumed.lease(7) {
            ranges.push((lease.epoch, lease.start, lease.end));
            resumed.report(7, &used(&lease, lease.end - lease.start, true)).unwrap();
        }
        let expected = [(0, 1, 4), (0, 4, 8), (0, 8, 10), (1, 0, 4), (1, 4, 8), (1, 8, 10)];
        assert_eq!(ranges, expected);
        assert!(resumed.done());
        let repeated: Vec<u64> = resumed.complete().map(|account| account.repeated).collect();
        assert_eq!(repeated, [7, 0]);
    }
}
