//! Tests of leases: what is given to whom, what is credited, and what a resumed run does again.

use super::*;

fn used(lease: &Lease, used: u64, closed: bool) -> LeaseProgress {
    LeaseProgress { lease: lease.id, used, consumed: used, closed, ..LeaseProgress::default() }
}

#[test]
fn the_end_of_an_epoch_and_of_the_run_cut_a_lease() {
    let mut leases = Leases::new(10, 25, 4, 1);
    let ranges: Vec<_> = std::iter::from_fn(|| leases.lease(1, PushForm::Gradient))
        .map(|lease| (lease.epoch, lease.start, lease.end))
        .collect();
    let expected = [(0, 0, 4), (0, 4, 8), (0, 8, 10), (1, 0, 4), (1, 4, 8), (1, 8, 10), (2, 0, 4), (2, 4, 5)];
    assert_eq!(ranges, expected);
}

#[test]
fn a_lease_given_up_goes_first_and_counts_once() {
    let mut leases = Leases::new(10, 10, 4, 1);
    let (first, second) =
        (leases.lease(1, PushForm::Gradient).unwrap(), leases.lease(2, PushForm::Gradient).unwrap());
    leases.report(1, &used(&first, 3, false)).unwrap();
    leases.report(1, &used(&first, 3, false)).unwrap();
    assert_eq!(leases.take_back(1), 1);
    leases.record_repeated(2);
    let again = leases.lease(3, PushForm::Gradient).unwrap();
    assert_eq!((again.start, again.end), (3, 4));
    leases.report(1, &used(&first, 4, true)).unwrap();
    assert_eq!(leases.used(), 3, "a report on a lease that was taken back credits nothing");
    leases.report(3, &used(&again, 1, true)).unwrap();
    leases.report(2, &used(&second, 2, true)).unwrap();
    let rest = leases.lease(4, PushForm::Gradient).unwrap();
    assert_eq!((rest.start, rest.end), (6, 8));
    let skips = LeaseProgress { consumed: 2, used: 1, closed: true, ..used(&rest, 1, true) };
    leases.report(4, &skips).unwrap();
    let last = leases.lease(4, PushForm::Gradient).unwrap();
    leases.report(4, &used(&last, 2, true)).unwrap();
    assert!(leases.done());
    let ledger = EpochLedger { epoch: 0, images: 10, distinct: 9, repeated: 2, skipped: 1, lost: 0 };
    assert_eq!(leases.take_complete().collect::<Vec<_>>(), [ledger]);
}

#[test]
fn a_run_that_ends_early_does_what_was_leased_and_no_more() {
    let mut leases = Leases::new(10, 40, 4, 1);
    let taken: Vec<Lease> = (0..5).map(|_| leases.lease(1, PushForm::Gradient).unwrap()).collect();
    for lease in &taken[..4] {
        leases.report(1, &used(lease, lease.end - lease.start, true)).unwrap();
    }
    leases.report(1, &used(&taken[4], 1, true)).unwrap();
    assert_eq!(leases.take_complete().count(), 1);
    leases.end_here();
    assert_eq!((leases.total(), leases.done(), leases.take_complete().count()), (18, false, 0));
    let rest = leases.lease(2, PushForm::Gradient).unwrap();
    assert_eq!((rest.epoch, rest.start, rest.end), (1, 5, 8));
    assert_eq!(leases.lease(2, PushForm::Gradient), None);
    leases.report(2, &used(&rest, 3, true)).unwrap();
    assert!(leases.done() && leases.epoch() == 1);
    let ledger = EpochLedger { epoch: 1, images: 8, distinct: 8, ..EpochLedger::default() };
    assert_eq!(leases.take_complete().collect::<Vec<_>>(), [ledger]);
    // At the end of an epoch, and with nothing left to do.
    for taken in [10, 14] {
        let mut leases = Leases::new(10, 40, 4, 1);
        while leases.consumed() < taken {
            let lease = leases.lease(1, PushForm::Gradient).unwrap();
            leases.report(1, &used(&lease, lease.end - lease.start, true)).unwrap();
        }
        leases.end_here();
        assert!(leases.done() && leases.lease(1, PushForm::Gradient).is_none());
        assert!(leases.take_complete().all(|ledger| ledger.complete()));
        let resumed = Leases::resume(10, 40, 4, 9, &leases.progress());
        assert!(resumed.used() == taken && !resumed.done());
    }
}

#[test]
fn impossible_reports_are_refused_with_their_numbers() {
    let mut leases = Leases::new(10, 10, 4, 1);
    let lease = leases.lease(1, PushForm::Gradient).unwrap();
    leases.report(1, &used(&lease, 2, false)).unwrap();
    let error = leases.report(1, &used(&lease, 5, false)).unwrap_err().to_string();
    let expected = "lease 1 (4 positions, 2 used and 2 consumed before): found 5 used, 5 consumed, 0 unreadable; \
                    expected used <= consumed <= positions, none falling, and no more unreadable than consumed \
                    and not used";
    assert_eq!(error, expected);
    assert!(leases.report(1, &used(&lease, 1, false)).is_err());
    assert_eq!(leases.used(), 2);
}

/// Names of unreadable images go into the log and the snapshots, so that their number is bounded.
#[test]
fn no_more_images_are_named_as_unreadable_than_the_lease_has() {
    let mut leases = Leases::new(10, 10, 4, 1);
    let lease = leases.lease(1, PushForm::Gradient).unwrap();
    let names = |count: usize, round: &str| (0..count).map(|i| format!("{i}{round}")).collect();
    let progress = |skipped, consumed| LeaseProgress { skipped, consumed, ..used(&lease, 1, false) };
    assert!(leases.report(1, &progress(names(2, ""), 2)).is_err());
    assert!(leases.report(1, &progress(names(100, ""), 101)).is_err());
    let news = leases.report(1, &progress(names(1, ""), 2)).unwrap();
    assert_eq!((news.used, news.skipped), (1, vec!["0".into()]));
    // Those named before may not be exchanged for others.
    let news = leases.report(1, &progress(names(2, " again"), 3)).unwrap();
    assert_eq!((news.used, news.skipped), (0, vec!["1 again".into()]));
    let other = LeaseProgress { lease: 99, ..progress(names(100, ""), 101) };
    assert_eq!(leases.report(1, &other), Ok(News::default()));
    assert_eq!((leases.held(1), leases.held(2)), (1, 0));
}

#[test]
fn a_run_that_gets_longer_goes_on_in_the_epoch_that_its_end_had_cut() {
    let mut leases = Leases::new(10, 14, 4, 1);
    let mut ranges = Vec::new();
    let mut work = |leases: &mut Leases| {
        while let Some(lease) = leases.lease(1, PushForm::Gradient) {
            ranges.push((lease.epoch, lease.start, lease.end));
            leases.report(1, &used(&lease, lease.end - lease.start, true)).unwrap();
        }
        assert!(leases.done());
        leases.take_complete().map(|ledger| (ledger.epoch, ledger.distinct)).collect::<Vec<_>>()
    };
    assert_eq!(work(&mut leases), [(0, 10), (1, 4)]);
    let mut longer = Leases::resume(10, 25, 4, 100, &leases.progress());
    assert_eq!((longer.done(), longer.epoch()), (false, 1));
    assert_eq!(work(&mut longer), [(1, 10), (2, 5)]);
    let expected = [(0, 0, 4), (0, 4, 8), (0, 8, 10), (1, 0, 4), (1, 4, 8), (1, 8, 10), (2, 0, 4), (2, 4, 5)];
    assert_eq!(ranges, expected, "those of a run of that length");
    let shorter = Leases::resume(10, 25, 4, 200, &longer.progress());
    assert!(shorter.done());
}

#[test]
fn a_resumed_run_leases_again_what_was_outstanding() {
    let mut leases = Leases::new(10, 20, 4, 1);
    let (first, _second) =
        (leases.lease(1, PushForm::Gradient).unwrap(), leases.lease(2, PushForm::Gradient).unwrap());
    leases.report(1, &used(&first, 1, false)).unwrap();
    let mut resumed = Leases::resume(10, 20, 4, 100, &leases.progress());
    assert_eq!((resumed.used(), resumed.epoch(), resumed.outstanding()), (1, 0, 0));
    let mut ranges = Vec::new();
    while let Some(lease) = resumed.lease(7, PushForm::Gradient) {
        ranges.push((lease.epoch, lease.start, lease.end));
        resumed.report(7, &used(&lease, lease.end - lease.start, true)).unwrap();
    }
    let expected = [(0, 1, 4), (0, 4, 8), (0, 8, 10), (1, 0, 4), (1, 4, 8), (1, 8, 10)];
    assert_eq!(ranges, expected);
    assert!(resumed.done());
}
