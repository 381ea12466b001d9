//! Tests of a run that stands still, and says why.

use super::*;
use crate::telemetry::Traffic;

/// What the coordinator says at this moment, with the shards' counters.
fn said(coordinator: &Coordinator, traffic: &Traffic, late: &[String]) -> Option<String> {
    let mut state = coordinator.state();
    let paused = state.orders.paused().is_some();
    state.run.as_mut().unwrap().standstill(tokio::time::Instant::now(), traffic, late, paused)
}

fn traffic(updates: u64, refused: u64) -> Traffic {
    let status = ShardStatus { updates, refused, ..ShardStatus::default() };
    Traffic::of([status].iter())
}

#[tokio::test(start_paused = true)]
async fn workers_that_credit_nothing_for_a_minute_are_named_with_the_reason() {
    let minute = Duration::from_secs(60);
    let none = Traffic::default();
    for (counters, late, reason) in [
        (traffic(10, 4), &[][..], "no push came to the shards; the workers' logs say what they wait for"),
        (
            traffic(15, 4),
            &[],
            "the shards took the pushes of 5 blocks meanwhile, and no worker reports a minibatch",
        ),
        (traffic(15, 7), &[], "the shards refused 3 pushes meanwhile, see above or their logs"),
        (
            traffic(15, 7),
            &["shards 2 to 3 at b:1, not heard of for 45 s".to_string()],
            "the server lacks shards 2",
        ),
    ] {
        let coordinator = coordinator(1);
        let member = coordinator.join(join(100)).unwrap().member;
        assert_eq!(said(&coordinator, &none, &[]), None);
        advance(minute / 2).await;
        let lease = trained(&coordinator, member);
        coordinator.report(whole(member, &lease), call()).unwrap();
        trained(&coordinator, member);
        assert_eq!(said(&coordinator, &traffic(10, 4), &[]), None, "it has moved");
        advance(minute).await;
        let text = said(&coordinator, &counters, late).unwrap();
        assert!(text.starts_with(&format!("no sample was credited for 60 s: {reason}")), "{text}");
        assert!(text.ends_with("; worker 0 (test) holds 1 leases and was heard of 60 s ago"), "{text}");
        assert_eq!(said(&coordinator, &counters, late), None, "told once");
    }
}

/// The others train on, and whoever evaluates may take its time.
#[tokio::test(start_paused = true)]
async fn the_last_evaluation_and_a_worker_that_evaluates_are_no_standstill() {
    let coordinator = coordinator(1);
    let [evaluator, other] = [(); 2].map(|()| coordinator.join(join(100)).unwrap().member);
    for _ in 0..3 {
        let lease = trained(&coordinator, other);
        coordinator.report(whole(other, &lease), call()).unwrap();
    }
    ordered(&coordinator, evaluator);
    coordinator.report(Report { leaving: Some("asked to".into()), ..report(other) }, call()).unwrap();
    for _ in 0..5 {
        assert_eq!(said(&coordinator, &Traffic::default(), &[]), None);
        advance(Duration::from_secs(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_run_stands_still_as_it_should() {
    let coordinator = coordinator(1);
    coordinator.join(join(100)).unwrap();
    for order in [Steering::Pause, Steering::Resume] {
        coordinator.steer(order, Caller::default()).unwrap();
        assert_eq!(said(&coordinator, &Traffic::default(), &[]), None, "{order:?}");
        advance(Duration::from_secs(60)).await;
        assert_eq!(said(&coordinator, &Traffic::default(), &[]).is_some(), order == Steering::Resume);
    }
}
