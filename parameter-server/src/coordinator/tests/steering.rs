//! Orders of operators, and the overview that shows what came of them.

use kernels::Isa;
use protocol::{AdoptRequest, BlockPush, Kind, RegisterRequest, Shards as _, Steering::*, Wire};

use super::*;
use crate::{Shard, testing};

fn steer(coordinator: &Coordinator, order: Steering) -> Result<String, Refusal> {
    coordinator.steer(order, Caller::default()).map(|steered| steered.text)
}

#[tokio::test(start_paused = true)]
async fn a_paused_run_gives_no_leases_and_loses_no_worker() {
    let coordinator = coordinator(1);
    let member = coordinator.join(join(100)).unwrap().member;
    let lease = trained(&coordinator, member);
    assert!(steer(&coordinator, Pause).unwrap().starts_with("paused"));
    assert_eq!(coordinator.status().state, RunState::Paused);
    assert_eq!(coordinator.overview().detail, "by somebody without a token in this process");
    coordinator.report(whole(member, &lease), call()).unwrap();
    // Longer than a silent worker stays.
    for _ in 0..100 {
        advance(Duration::from_secs(1)).await;
        coordinator.tick();
        let Ok(Assignment::Wait { reason, .. }) = coordinator.assign(member, call()) else {
            panic!("a lease in a paused run");
        };
        assert_eq!(reason, "an operator to resume the run");
    }
    // Nobody is waited for whom the pause would keep from training.
    coordinator.report(Report { leaving: Some("asked to".into()), ..report(member) }, call()).unwrap();
    assert_eq!(coordinator.status().state, RunState::Paused);
    assert_eq!(steer(&coordinator, Resume).unwrap(), "resumed");
    assert_eq!(steer(&coordinator, Resume).unwrap(), "the run was not paused");
    assert_eq!(coordinator.status().state, RunState::Waiting);
    let member = coordinator.join(join(100)).unwrap().member;
    trained(&coordinator, member);
    assert_eq!(coordinator.status().state, RunState::Training);
}

#[tokio::test(start_paused = true)]
async fn a_drained_worker_is_told_to_leave_and_its_samples_go_to_others() {
    let coordinator = coordinator(1);
    let members = [0, 1].map(|_| coordinator.join(join(100)).unwrap().member);
    let lease = trained(&coordinator, members[0]);
    let text = steer(&coordinator, Drain(7)).unwrap_err().to_string();
    assert!(text.contains("worker 7 is none of the 2 members"), "{text}");
    steer(&coordinator, Drain(members[0].worker)).unwrap();
    let drained: Vec<bool> = coordinator.overview().workers.iter().map(|worker| worker.drained).collect();
    assert_eq!(drained, [true, false]);
    let told = coordinator.assign(members[0], call()).unwrap();
    assert!(matches!(told, Assignment::Leave { .. }), "{told:?}");
    coordinator.report(Report { leaving: Some("asked to".into()), ..report(members[0]) }, call()).unwrap();
    let again = trained(&coordinator, members[1]);
    assert_eq!((again.start, again.end), (lease.start, lease.end));
}

#[tokio::test(start_paused = true)]
async fn an_overview_tells_of_each_worker_and_shard() {
    let coordinator = coordinator(2);
    assert_eq!(coordinator.overview().total_shards, 4);
    let shards = |coordinator: &Coordinator| -> Vec<(u32, String)> {
        let shards = coordinator.overview().shards.into_iter();
        shards.map(|shard| (shard.shard, shard.address)).collect()
    };
    assert_eq!(shards(&coordinator), [(0, "a:1".into()), (1, "a:1".into())]);
    let request = RegisterRequest {
        protocol: PROTOCOL_VERSION,
        address: "b:1".into(),
        shards: 2,
        holds: None,
        files: None,
        stopping: false,
    };
    coordinator.register(request).unwrap();
    assert_eq!(shards(&coordinator)[2..], [(2, "b:1".into()), (3, "b:1".into())]);
    let members = [0, 1].map(|_| coordinator.join(join(100)).unwrap().member);
    for (member, images) in members.into_iter().zip([30, 10]) {
        trained(&coordinator, member);
        advance(Duration::from_secs(1)).await;
        let metrics = StepMetrics {
            steps: 1,
            images,
            updates: 4,
            staleness_sum: 8,
            gradient_wire: Some(Wire::Bits4),
            ..StepMetrics::default()
        };
        coordinator.report(Report { metrics, ..report(member) }, call()).unwrap();
    }
    let overview = coordinator.overview();
    assert_eq!((overview.members, overview.leases, overview.epochs), (2, 2, 3));
    assert_eq!((overview.training_images, overview.validation_images, overview.classes), (100, 100, 10));
    let worker = &overview.workers[0];
    assert_eq!((worker.images, worker.leases, worker.staleness_mean), (30, 1, 2.0));
    assert_eq!((worker.images_per_second, worker.silent_seconds), (30.0, 1.0));
    assert_eq!((worker.name.as_str(), worker.gradient_wire), ("test", Some(Wire::Bits4)));
    let shares: f64 = overview.workers.iter().map(|worker| worker.share).sum();
    assert!((shares - 1.0).abs() < 1e-12, "{shares}");
}

/// However many workers there are, an overview has room for it in a message.
#[tokio::test(start_paused = true)]
async fn an_overview_lists_a_thousand_workers() {
    let coordinator = coordinator(1);
    for _ in 0..1200 {
        coordinator.join(join(100)).unwrap();
    }
    let overview = coordinator.overview();
    assert_eq!((overview.members, overview.workers.len()), (1200, protocol::MOST_OVERSEEN));
}

/// A coordinator of a run with one shard that holds a network, and the worker that brought it.
fn with_a_shard(resumed: Option<(super::Snapshot, SavedRun)>) -> (Coordinator, Member) {
    let mut configuration = settings::recipe("quick").unwrap();
    (configuration.run.batch, configuration.optimisation.ramp) = (10, 0.0);
    let shard = Shard::empty(0, 1, 1, Isa::scalar());
    let host = Arc::new(ShardHost::new(0, vec![shard], "nowhere".into()));
    let settings = Settings {
        configuration,
        processes: 1,
        shards: 1,
        address: "a:1".into(),
        lease_time: Duration::from_secs(30),
        life: if resumed.is_some() { NEXT } else { LIFE },
    };
    let coordinator = Coordinator::new(settings, host, resumed);
    if let Some(rule) = coordinator.rule() {
        coordinator.host.begin(&rule).unwrap();
    }
    let member = coordinator.join(join(100)).unwrap().member;
    coordinator.host.adopt(AdoptRequest { shard: 0, member, layout: testing::layout() }).unwrap();
    (coordinator, member)
}

/// Pushes a gradient of ones to the smallest block; returns the learning rate of the update.
fn pushed((coordinator, member): &(Coordinator, Member), step: u64) -> f64 {
    let version = coordinator.host.fetch(member.life, 0, 3, Kind::Parameters).unwrap().version;
    let push = testing::push(member.incarnation, step, 3, version, vec![1.0; 300]);
    coordinator.host.push(BlockPush { member: *member, samples: 10, ..push }).outcome.unwrap();
    coordinator.host.status()[0].learning_rate
}

#[tokio::test(start_paused = true)]
async fn a_rate_holds_from_now_on_and_after_a_resume() {
    let run = with_a_shard(None);
    let (coordinator, _) = &run;
    let usual = pushed(&run, 1);
    let is_a_quarter = |rate: f64| assert!((rate / usual - 0.25).abs() < 1e-6, "{rate} of {usual}");
    steer(coordinator, RateFactor(0.25)).unwrap();
    is_a_quarter(pushed(&run, 2));
    // Twice is as once.
    assert!(steer(coordinator, RateFactor(0.25)).unwrap().contains("(0.25 times before)"));
    is_a_quarter(pushed(&run, 3));
    assert_eq!(coordinator.overview().rate_factor, 0.25);

    let saved = coordinator.checkpoint().unwrap();
    assert!(saved.is_consistent());
    let json = serde_json::to_string(&saved).unwrap();
    let saved: SavedRun = serde_json::from_str(&json).unwrap();
    assert!(!SavedRun { rate_factor: f64::NAN, ..saved.clone() }.is_consistent());
    let again = with_a_shard(Some((super::Snapshot { id: 1, hashes: Vec::new() }, saved)));
    is_a_quarter(pushed(&again, 1));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_is_refused() {
    let empty = coordinator(1);
    assert!(matches!(steer(&empty, RateFactor(2.0)), Err(Refusal::NotReady(_))));
    assert!(matches!(steer(&empty, Snapshot), Err(Refusal::NotReady(_))));
    let run = with_a_shard(None);
    let (coordinator, _) = &run;
    coordinator.state().run.as_mut().unwrap().rule.learning_rate = 1e8;
    let text = steer(coordinator, RateFactor(100.0)).unwrap_err().to_string();
    assert!(text.contains("expected at most 1e9, found "), "{text}");
    assert_eq!(coordinator.overview().rate_factor, 1.0);
    steer(coordinator, Stop).unwrap();
    assert_eq!(coordinator.ending(), Some(Ending::Interrupted));
    for order in [Pause, Resume, Drain(0), Snapshot, RateFactor(1.0), Stop] {
        assert!(matches!(steer(coordinator, order), Err(Refusal::Invalid(_))), "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_ordered_snapshot_is_waited_for_until_one_is_done_that_began_later() {
    let coordinator = coordinator(1);
    coordinator.join(join(100)).unwrap();
    steer(&coordinator, Snapshot).unwrap();
    coordinator.snapshot_ordered().await;
    let begun = coordinator.snapshots_ordered();
    steer(&coordinator, Snapshot).unwrap();
    coordinator.resume_leases(begun);
    assert!(coordinator.overview().snapshot_ordered, "the second is not begun yet");
    coordinator.snapshot_ordered().await;
    coordinator.resume_leases(coordinator.snapshots_ordered());
    assert!(!coordinator.overview().snapshot_ordered);
}
