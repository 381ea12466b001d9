//! What one member can do with its numbers is bounded: nothing of a report that is refused counts.

use super::*;

#[tokio::test(start_paused = true)]
async fn one_worker_of_several_that_says_diverged_is_fenced_and_the_run_goes_on() {
    let coordinator = coordinator(1);
    let other = coordinator.join(join(100)).unwrap().member;
    trained(&coordinator, other);
    let say = |member, metrics| coordinator.report(Report { metrics, ..report(member) }, call());
    for said in [metrics(1, 0, true), metrics(20, 20, false)] {
        let liar = coordinator.join(join(100)).unwrap().member;
        let lease = trained(&coordinator, liar);
        let Err(Refusal::Fenced(text)) = say(liar, said) else { panic!("expected a fence") };
        assert!(text.starts_with(&format!("the training of worker {} diverged: ", liar.worker)), "{text}");
        assert!(matches!(coordinator.assign(liar, call()), Err(Refusal::Fenced(_))));
        assert_eq!((coordinator.ending(), coordinator.status().workers), (None, 1));
        // Its lease goes to the others.
        let again = trained(&coordinator, other);
        assert_eq!((again.start, again.end), (lease.start, lease.end));
        assert_eq!(say(other, metrics(1, 0, false)), Ok(None), "a usual minibatch makes its word void");
    }
    let another = coordinator.join(join(100)).unwrap().member;
    trained(&coordinator, another);
    assert!(matches!(say(another, metrics(1, 0, true)), Err(Refusal::Fenced(_))));
    assert!(matches!(say(other, metrics(1, 0, true)), Ok(Some(Ending::Diverged(_)))));
}

#[tokio::test(start_paused = true)]
async fn a_calls_number_far_ahead_is_refused_and_changes_nothing() {
    let coordinator = coordinator(1);
    let member = coordinator.join(join(100)).unwrap().member;
    let lease = trained(&coordinator, member);
    for forged in [u64::MAX, 1 << 32, 2000] {
        assert!(matches!(coordinator.report(report(member), forged), Err(Refusal::Invalid(_))));
        assert!(matches!(coordinator.assign(member, forged), Err(Refusal::Invalid(_))));
    }
    // The worker's own calls are no repetitions of those.
    coordinator.report(whole(member, &lease), call()).unwrap();
    assert_ne!(trained(&coordinator, member), lease);
    assert_eq!(coordinator.status().samples, 40);
}

#[tokio::test(start_paused = true)]
async fn a_worker_holds_a_bounded_number_of_leases() {
    let coordinator = coordinator(1);
    let (member, other) =
        (coordinator.join(join(1000)).unwrap().member, coordinator.join(join(1000)).unwrap().member);
    let leases: Vec<Lease> = (0..8).map(|_| trained(&coordinator, member)).collect();
    let Assignment::Wait { reason, .. } = coordinator.assign(member, call()).unwrap() else {
        panic!("expected a wait")
    };
    assert_eq!(reason, "reports on the 8 leases that this worker holds");
    trained(&coordinator, other);
    coordinator.report(whole(member, &leases[0]), call()).unwrap();
    trained(&coordinator, member);
}

#[tokio::test(start_paused = true)]
async fn a_run_has_a_bounded_number_of_members() {
    let coordinator = coordinator(1);
    let first = coordinator.join(join(100)).unwrap().member;
    (1..protocol::MOST_MEMBERS).for_each(|_| drop(coordinator.join(join(100)).unwrap()));
    let Err(Refusal::NotReady(text)) = coordinator.join(join(100)) else { panic!("expected a refusal") };
    assert!(text.starts_with("the run has 4096 workers and 0 that have just left, expected fewer"), "{text}");
    coordinator.report(Report { leaving: Some("asked to".into()), ..report(first) }, call()).unwrap();
    coordinator.join(join(100)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_report_beyond_its_leases_is_refused_and_changes_nothing() {
    let coordinator = coordinator(1);
    let member = coordinator.join(join(100)).unwrap().member;
    let lease = trained(&coordinator, member);
    let good = whole(member, &lease);
    let beyond = LeaseProgress { used: 41, consumed: 41, ..good.progress[0].clone() };
    let named = LeaseProgress { skipped: vec!["a: b".into()], ..good.progress[0].clone() };
    for bad in [
        Report { metrics: metrics(41, 0, false), ..good.clone() },
        Report { progress: vec![good.progress[0].clone(), beyond], ..good.clone() },
        Report { progress: vec![named], ..good.clone() },
    ] {
        assert!(matches!(coordinator.report(bad, call()), Err(Refusal::Invalid(_))));
        assert_eq!(coordinator.checkpoint().unwrap().progress.used, 0);
    }
    // Names of a lease that a worker does not hold are not taken in.
    let skipped = (0..50).map(|image| format!("{image}: made up")).collect();
    let foreign = LeaseProgress { lease: 12345, skipped, ..LeaseProgress::default() };
    coordinator.report(Report { progress: vec![foreign], ..report(member) }, call()).unwrap();
    assert_eq!((coordinator.status().unreadable, coordinator.ending()), (0, None));
    coordinator.report(Report { metrics: metrics(40, 0, false), ..good }, call()).unwrap();
    assert_eq!(coordinator.status().samples, 40);
}

#[tokio::test(start_paused = true)]
async fn an_evaluation_with_wrong_numbers_is_done_by_another_worker() {
    let coordinator = coordinator(1);
    let (liar, other) =
        (coordinator.join(join(100)).unwrap().member, coordinator.join(join(100)).unwrap().member);
    let roster = || coordinator.roster().1;
    for _ in 0..3 {
        let lease = trained(&coordinator, other);
        coordinator.report(whole(other, &lease), call()).unwrap();
    }
    let (before, next) = (roster().version, roster().next_evaluation);
    assert!(roster().evaluations.is_empty());
    let order = ordered(&coordinator, liar);
    let open = roster();
    assert_eq!((open.evaluations, open.next_evaluation), (vec![order.id], order.id + 1));
    assert!(open.version > before && order.id == next);
    let mut forged = scores(liar, &order);
    forged.evaluation.as_mut().unwrap().images = 1;
    let text = coordinator.report(forged, call()).unwrap_err().to_string();
    let expected = format!(
        "worker 0: evaluation {}: expected scores of all 100 images of the part, those excepted that cannot be read, found 1 \
         scored and 0 unreadable",
        order.id
    );
    assert_eq!(text, expected);
    assert_eq!((coordinator.ending(), coordinator.status().evaluations.len()), (None, 0));
    trained(&coordinator, liar);
    assert_eq!(ordered(&coordinator, other), order);
    coordinator.report(scores(other, &order), call()).unwrap();
    let closed = roster();
    assert_eq!((closed.evaluations.len(), coordinator.status().evaluations.len()), (0, 1));
    assert!(closed.version > open.version);
}
