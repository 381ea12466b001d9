//! The last leases of a run, and members that make no progress with them.

use super::*;

fn after(member: Member, lease: &Lease, used: u64) -> Report {
    let progress =
        LeaseProgress { lease: lease.id, used, consumed: used, closed: false, skipped: Vec::new() };
    Report { progress: vec![progress], ..report(member) }
}

/// Leases of 40 positions: the slow member has the first, and another member all others of the run's 300.
async fn near_the_end() -> (Coordinator, Member, Lease, Member) {
    let coordinator = coordinator_with(1, |configuration| configuration.run.evaluate_epochs = 9.0);
    let [slow, quick] = [(); 2].map(|()| coordinator.join(join(100)).unwrap().member);
    let first = trained(&coordinator, slow);
    for _ in 0..8 {
        let lease = trained(&coordinator, quick);
        coordinator.report(whole(quick, &lease), call()).unwrap();
    }
    (coordinator, slow, first, quick)
}

fn waits(coordinator: &Coordinator, member: Member) -> bool {
    matches!(coordinator.assign(member, call()).unwrap(), Assignment::Wait { .. })
}

#[tokio::test(start_paused = true)]
async fn a_lease_without_progress_goes_to_a_member_that_waits_and_counts_once() {
    let (coordinator, slow, first, quick) = near_the_end().await;
    advance(Duration::from_secs(9)).await;
    coordinator.report(after(slow, &first, 10), call()).unwrap();
    // A third of the lease time; it is heard of all the while.
    advance(Duration::from_secs(9)).await;
    coordinator.report(report(slow), call()).unwrap();
    assert!(waits(&coordinator, quick));
    advance(Duration::from_secs(2)).await;
    let again = trained(&coordinator, quick);
    assert_eq!((again.epoch, again.start, again.end), (first.epoch, first.start + 10, first.end));
    assert_ne!(again.id, first.id);
    // What the slow one does of it all the same is not credited.
    coordinator.report(whole(slow, &first), call()).unwrap();
    assert_eq!(coordinator.status().samples, 270);
    coordinator.report(whole(quick, &again), call()).unwrap();
    assert_eq!(coordinator.status().samples, 300);
    assert!(ordered(&coordinator, slow).last);
}

#[tokio::test(start_paused = true)]
async fn whoever_makes_progress_or_evaluates_keeps_its_leases_and_the_idle_have_none() {
    let (coordinator, slow, first, quick) = near_the_end().await;
    for used in [5, 10, 15, 20] {
        advance(Duration::from_secs(9)).await;
        coordinator.report(after(slow, &first, used), call()).unwrap();
        assert!(waits(&coordinator, quick));
    }
    // A slow machine's own pauses count: its next is due soon.
    advance(Duration::from_secs(11)).await;
    assert!(waits(&coordinator, quick));

    let coordinator = coordinator_with(1, |_| {});
    let [evaluator, other] = [(); 2].map(|()| coordinator.join(join(100)).unwrap().member);
    let held = trained(&coordinator, evaluator);
    for _ in 0..3 {
        let lease = trained(&coordinator, other);
        coordinator.report(whole(other, &lease), call()).unwrap();
    }
    ordered(&coordinator, evaluator);
    while let Assignment::Train(lease) = coordinator.assign(other, call()).unwrap() {
        coordinator.report(whole(other, &lease), call()).unwrap();
    }
    advance(Duration::from_secs(25)).await;
    assert!(waits(&coordinator, other));
    coordinator.report(whole(evaluator, &held), call()).unwrap();
    assert_eq!(coordinator.status().samples, 300);
}
