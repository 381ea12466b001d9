//! Tests that call the coordinator directly, with a clock that they advance.

use std::cell::Cell;

use protocol::{
    Coordinator as _, DataDescription, EvaluationOrder, EvaluationPart, Holding, Lease, LeaseProgress,
    PROTOCOL_VERSION, PushForm, RunId, RunState, Scores, ShardLedger, StepMetrics,
};
use tokio::time::advance;

use super::{run::SNAPSHOT_PAUSE_MILLISECONDS, *};
use crate::testing::{data, join};

/// The first life of the server.
const LIFE: Life = Life { run: RunId(7), count: 0, nonce: 5 };
/// The life after it.
const NEXT: Life = Life { count: 1, nonce: 6, ..LIFE };

/// A run of 300 positions over 100 images in leases of 40, evaluated after each epoch.
fn coordinator(processes: u32) -> Coordinator {
    coordinator_with(processes, |_| {})
}

/// A coordinator as above, with a changed configuration.
fn coordinator_with(processes: u32, change: impl FnOnce(&mut RunConfiguration)) -> Coordinator {
    let mut configuration = settings::recipe("quick").unwrap();
    configuration.run.batch = 10;
    configuration.run.lease_batches = 4;
    configuration.run.epochs = 3.0;
    configuration.run.evaluate_epochs = 1.0;
    change(&mut configuration);
    let settings = Settings {
        configuration,
        processes,
        shards: 2,
        address: "a:1".into(),
        lease_time: Duration::from_secs(30),
        life: LIFE,
    };
    Coordinator::new(settings, Arc::new(ShardHost::new(0, Vec::new(), "nowhere".into())), None)
}

/// Returns a call number that this test has not used before.
fn call() -> u64 {
    thread_local!(static CALLS: Cell<u64> = const { Cell::new(1) });
    CALLS.replace(CALLS.get() + 1)
}

fn report(member: Member) -> Report {
    Report {
        member,
        progress: Vec::new(),
        metrics: StepMetrics::default(),
        evaluation: None,
        leaving: None,
        sends_largest: false,
    }
}

fn whole(member: Member, lease: &Lease) -> Report {
    let positions = lease.end - lease.start;
    let progress = LeaseProgress {
        lease: lease.id,
        used: positions,
        consumed: positions,
        closed: true,
        skipped: Vec::new(),
    };
    Report { progress: vec![progress], ..report(member) }
}

fn scores(member: Member, order: &EvaluationOrder) -> Report {
    let images = order.end - order.start;
    let right = Scores::new([("top1", images as f64 / 2.0)]);
    let part = EvaluationPart {
        id: order.id,
        start: order.start,
        images,
        unreadable: 0,
        average: right.clone(),
        last_iterate: order.last_iterate.then_some(right),
        skipped: None,
        mistakes: Vec::new(),
    };
    Report { evaluation: Some(part), ..report(member) }
}

fn trained(coordinator: &Coordinator, member: Member) -> Lease {
    match coordinator.assign(member, call()).unwrap() {
        Assignment::Train(lease) => lease,
        other => panic!("expected a lease, found {other:?}"),
    }
}

fn ordered(coordinator: &Coordinator, member: Member) -> EvaluationOrder {
    match coordinator.assign(member, call()).unwrap() {
        Assignment::Evaluate(order) => order,
        other => panic!("expected an evaluation, found {other:?}"),
    }
}

/// The first of a run has no velocity to take over.
#[tokio::test(start_paused = true)]
async fn a_worker_that_sends_only_the_largest_values_is_leased_steps() {
    for begun in [false, true] {
        let coordinator = coordinator(1);
        let member = coordinator.join(join(100)).unwrap().member;
        let lease = || match coordinator.assign(member, call()).unwrap() {
            Assignment::Train(lease) => lease,
            other => panic!("{other:?}"),
        };
        if begun {
            let first = lease();
            assert_eq!((first.form, first.takes_velocity), (PushForm::Gradient, false));
            coordinator.report(whole(member, &first), call()).unwrap();
        }
        coordinator.report(Report { sends_largest: true, ..report(member) }, call()).unwrap();
        for takes_velocity in [begun, false] {
            let next = lease();
            assert_eq!((next.form, next.takes_velocity), (PushForm::Step, takes_velocity));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_worker_trains_evaluates_and_is_told_the_end() {
    let coordinator = coordinator(1);
    assert_eq!(coordinator.status().detail, "workers to join");
    let member = coordinator.join(join(100)).unwrap().member;
    let mut evaluated = Vec::new();
    loop {
        match coordinator.assign(member, call()).unwrap() {
            Assignment::Train(lease) => {
                assert_eq!(coordinator.report(whole(member, &lease), call()).unwrap(), None);
            }
            Assignment::Evaluate(order) => {
                evaluated.push((order.samples, order.last));
                assert_eq!(coordinator.report(scores(member, &order), call()).unwrap(), None);
                assert_eq!(coordinator.ending(), order.last.then_some(Ending::Completed));
            }
            Assignment::Finished(ending) => {
                assert_eq!(ending, Ending::Completed);
                break;
            }
            Assignment::Wait { reason, .. } => {
                assert_eq!(
                    (reason.as_str(), coordinator.ending()),
                    ("the last snapshot", Some(Ending::Completed))
                );
                assert_eq!(coordinator.status().detail, "the last snapshot");
                coordinator.announce_completion();
            }
            Assignment::Leave { reason } => panic!("nobody drains this worker: {reason}"),
        }
    }
    assert_eq!(evaluated, [(100, false), (200, false), (300, true)]);
    assert!(coordinator.all_told() && !coordinator.all_left());
    coordinator.report(Report { leaving: Some("asked to".into()), ..report(member) }, call()).unwrap();
    assert!(coordinator.all_left());
    let status = coordinator.status();
    assert_eq!((status.state, status.samples, status.evaluations.len()), (RunState::Finished, 300, 3));
}

#[tokio::test(start_paused = true)]
async fn a_lost_worker_is_fenced_and_its_work_given_again() {
    let coordinator = coordinator(1);
    let (lost, other) =
        (coordinator.join(join(100)).unwrap().member, coordinator.join(join(100)).unwrap().member);
    for _ in 0..3 {
        let lease = trained(&coordinator, other);
        coordinator.report(whole(other, &lease), call()).unwrap();
    }
    let order = ordered(&coordinator, lost);
    let lease = trained(&coordinator, lost);
    advance(Duration::from_secs(20)).await;
    coordinator.report(report(other), call()).unwrap();
    advance(Duration::from_secs(11)).await;
    coordinator.tick();
    assert!(matches!(coordinator.assign(lost, call()), Err(Refusal::Fenced(_))));
    assert!(matches!(coordinator.report(whole(lost, &lease), call()), Err(Refusal::Fenced(_))));
    assert_eq!(ordered(&coordinator, other), order);
    let again = trained(&coordinator, other);
    assert_eq!((again.epoch, again.start, again.end), (lease.epoch, lease.start, lease.end));
    assert_eq!((coordinator.status().workers, coordinator.status().samples), (1, 100));
}

#[tokio::test(start_paused = true)]
async fn joins_that_do_not_fit_are_refused_by_name() {
    let coordinator = coordinator(2);
    let refused = |request| coordinator.join(request).unwrap_err();
    assert_eq!(
        refused(join(100)),
        Refusal::NotReady("waiting for 1 of 2 server processes to register".into())
    );
    let register = RegisterRequest {
        protocol: PROTOCOL_VERSION,
        address: "b:1".into(),
        shards: 2,
        holds: None,
        files: None,
        stopping: false,
    };
    let reply = RegisterReply {
        first_shard: 2,
        total_shards: 4,
        restore: None,
        life: LIFE,
        again: false,
        rule: None,
        roster: Roster::default(),
        generation: 0,
        snapshot_ordered: false,
    };
    assert_eq!(coordinator.register(register), Ok(reply));

    let text = |request| match refused(request) {
        Refusal::Mismatch(text) => text,
        other => panic!("expected a mismatch, found {other:?}"),
    };
    assert_eq!(text(join(0)), "the data has no training images, expected at least 1");
    let other_release = JoinRequest { protocol: PROTOCOL_VERSION + 1, ..join(100) };
    let expected = format!(
        "protocol version: expected {PROTOCOL_VERSION}, found {}; start the worker from the server's release",
        PROTOCOL_VERSION + 1
    );
    assert_eq!(text(other_release), expected);

    assert_eq!(coordinator.join(join(100)).unwrap().configuration.network.classes, Some(10));
    let mut renamed = data(100);
    renamed.classes[3] = "tulips".into();
    let cases = [
        (data(99), "training images: expected 100, found 99"),
        (DataDescription { validation: 7, ..data(100) }, "validation images: expected 100, found 7"),
        (DataDescription { classes: vec!["a".into()], ..data(100) }, "classes: expected 10, found 1"),
        (renamed, "class 3: expected class 3, found tulips"),
        (
            DataDescription { hash: "beef".into(), ..data(100) },
            "hash of the file names: expected 5eed, found beef",
        ),
    ];
    for (data, difference) in cases {
        let expected = format!("the data is not the run's: {difference}; give every worker the same data");
        assert_eq!(text(JoinRequest { data, ..join(100) }), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn classes_that_the_configuration_names_must_be_the_datas() {
    let coordinator = coordinator_with(1, |configuration| configuration.network.classes = Some(5));
    let text = "configuration key network.classes is 5, the data has 10 classes; \
                leave --classes out or give other data";
    assert_eq!(coordinator.join(join(100)).unwrap_err(), Refusal::Mismatch(text.into()));
}

/// Metrics of minibatches of one sample each.
fn metrics(steps: u64, refused: u64, diverged: bool) -> StepMetrics {
    StepMetrics { steps, images: steps, refused, diverged, ..StepMetrics::default() }
}

#[tokio::test(start_paused = true)]
async fn divergence_ends_the_run_and_names_a_rate() {
    let diverged = |reports: &[StepMetrics]| {
        let coordinator = coordinator(1);
        let member = coordinator.join(join(100)).unwrap().member;
        trained(&coordinator, member);
        let send = |metrics: &StepMetrics| {
            coordinator.report(Report { metrics: metrics.clone(), ..report(member) }, call()).unwrap()
        };
        reports.iter().map(send).last().flatten()
    };
    let expected = |reason: &str| {
        let rate = settings::recipe("quick").unwrap().optimisation.learning_rate;
        Some(Ending::Diverged(format!(
            "training diverged after 0 samples at learning rate {rate}: {reason}; try --learning-rate {} --fresh",
            rate / 2.0
        )))
    };
    assert_eq!(diverged(&[metrics(5, 0, true)]), expected("a loss is not finite, or above 1e12"));
    let row = [metrics(19, 19, false), metrics(1, 1, false)];
    let text = "the pushes of 20 minibatches in a row were refused as not finite or far too large";
    assert_eq!(diverged(&row), expected(text));
    assert_eq!(diverged(&[metrics(19, 19, false), metrics(1, 0, false), metrics(19, 19, false)]), None);
}

#[tokio::test(start_paused = true)]
async fn too_many_unreadable_images_end_the_run() {
    let coordinator = coordinator(1);
    let member = coordinator.join(join(100)).unwrap().member;
    let lease = trained(&coordinator, member);
    let skip = |count: u64| {
        let skipped = (0..count).map(|i| format!("rose/{i}.jpg: zero bytes")).collect();
        let progress = LeaseProgress { lease: lease.id, used: 0, consumed: count, closed: false, skipped };
        coordinator.report(Report { progress: vec![progress], ..report(member) }, call()).unwrap()
    };
    assert_eq!(skip(5), None);
    assert_eq!(skip(5), None);
    let text = "6 of 100 training images are unreadable, expected at most 5 %; one of them: \
                rose/0.jpg: zero bytes; repair or remove them, then start again with --fresh";
    assert_eq!(skip(6), Some(Ending::Failed(text.into())));
    assert_eq!(coordinator.status().state, RunState::Failed);
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_run_accepts_reports_and_gives_no_leases() {
    let coordinator = coordinator(1);
    let member = coordinator.join(join(100)).unwrap().member;
    let lease = trained(&coordinator, member);
    coordinator.interrupt();
    assert_eq!(coordinator.report(whole(member, &lease), call()), Ok(Some(Ending::Interrupted)));
    assert_eq!(coordinator.assign(member, call()), Ok(Assignment::Finished(Ending::Interrupted)));
    assert_eq!(coordinator.checkpoint().unwrap().progress.used, 40);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_server_gives_ids_of_its_own() {
    let first = coordinator(1);
    let member = first.join(join(100)).unwrap().member;
    let (done, open) = (trained(&first, member), trained(&first, member));
    first.report(whole(member, &done), call()).unwrap();
    let settings = Settings { life: NEXT, ..first.settings.clone() };
    let host = Arc::new(ShardHost::new(0, Vec::new(), "nowhere".into()));
    let snapshot = Snapshot { id: 3, hashes: Vec::new() };
    let second = Coordinator::new(settings, host, Some((snapshot, first.checkpoint().unwrap())));
    assert_eq!((second.status().samples, second.status().total_samples), (40, 300));
    assert!(matches!(second.join(join(99)), Err(Refusal::Mismatch(_))));
    let joined = second.join(join(100)).unwrap().member;
    assert_eq!(joined.life, NEXT);
    assert_ne!(joined.incarnation, member.incarnation);
    let again = trained(&second, joined);
    assert_eq!((again.start, again.end), (open.start, open.end));
    assert_ne!(again.id, open.id);
    assert!(matches!(second.assign(member, call()), Err(Refusal::Fenced(_))));
}

#[tokio::test(start_paused = true)]
async fn samples_that_a_restarted_shard_process_lost_are_counted() {
    let coordinator = coordinator(2);
    let register = |first_shard: Option<u32>| {
        let holds = first_shard.map(|first_shard| Holding { first_shard, life: LIFE });
        let (protocol, address) = (PROTOCOL_VERSION, "b:1".into());
        let reply = coordinator
            .register(RegisterRequest { protocol, address, shards: 2, holds, files: None, stopping: false })
            .unwrap();
        assert_eq!((reply.first_shard, reply.total_shards, reply.life), (2, 4, LIFE));
        (reply.restore, reply.again)
    };
    let newest = Snapshot { id: 7, hashes: ["a", "b", "c", "d"].map(String::from).into() };
    let theirs = Some(newest.of(2, 2));
    assert_eq!(theirs.as_ref().unwrap().hashes, ["c", "d"]);
    assert_eq!(register(None), (None, false));
    let member = coordinator.join(join(100)).unwrap().member;
    let lease = trained(&coordinator, member);
    let say = |samples: [u64; 2]| {
        let status = |(shard, samples)| ShardStatus { shard, samples, ..ShardStatus::default() };
        coordinator.observe((2..).zip(samples).map(status).collect());
        let ledgers = coordinator.checkpoint().unwrap().progress.ledgers;
        ledgers.iter().map(|ledger| ledger.lost).sum::<u64>()
    };
    assert_eq!(say([70, 80]), 0);
    coordinator.record_snapshot(newest);
    assert_eq!(register(Some(2)), (theirs.clone(), true));
    assert_eq!(say([80, 80]), 0);
    assert_eq!(register(None), (theirs, true));
    assert_eq!(say([50, 40]), 40, "the shard that lost most");
    assert_eq!(say([90, 90]), 40);
    coordinator.report(whole(member, &lease), call()).unwrap();
    register(None);
    assert_eq!(say([70, 70]), 60, "of the 90 that they said last");
    // 40 are used by now: samples that were already counted as lost are not counted again.
    register(None);
    assert_eq!(say([70, 70]), 60);
}

/// The last line about an evaluation is the result of the run for whoever reads the metrics file.
#[tokio::test(start_paused = true)]
async fn an_evaluation_that_is_done_after_the_last_one_has_no_line() {
    let coordinator = coordinator(1);
    let [slow, other] = [(); 2].map(|()| coordinator.join(join(100)).unwrap().member);
    let mut early = None;
    let last = loop {
        match coordinator.assign(other, call()).unwrap() {
            Assignment::Train(lease) => drop(coordinator.report(whole(other, &lease), call()).unwrap()),
            Assignment::Evaluate(order) if order.last => break order,
            Assignment::Evaluate(order) => drop(coordinator.report(scores(other, &order), call()).unwrap()),
            answer => panic!("expected work, found {answer:?}"),
        }
        if early.is_none() && coordinator.status().samples >= 200 {
            early = Some(ordered(&coordinator, slow));
        }
    };
    coordinator.report(scores(other, &last), call()).unwrap();
    coordinator.report(scores(slow, &early.unwrap()), call()).unwrap();
    let mut evaluated = coordinator.tick().into_iter().filter_map(|line| match line {
        Line::Evaluation(line) => Some(line.samples),
        _ => None,
    });
    assert_eq!(evaluated.next_back(), Some(300));
    assert_eq!(coordinator.status().evaluations.len(), 3);
}

/// A folder that was brought back from an older copy counts generations that were used already.
#[tokio::test(start_paused = true)]
async fn a_shard_process_that_comes_back_is_told_the_newest_generation_of_its_shards() {
    let coordinator = coordinator(2);
    let register = || {
        let (protocol, address) = (PROTOCOL_VERSION, "b:1".into());
        let request =
            RegisterRequest { protocol, address, shards: 2, holds: None, files: None, stopping: false };
        coordinator.register(request).unwrap().generation
    };
    assert_eq!(register(), 0);
    coordinator.join(join(100)).unwrap();
    let (_, roster) = coordinator.roster();
    for (shard, generation) in [(0, 90), (2, 4), (3, 6)] {
        let ledger = Some(ShardLedger { generation, ..ShardLedger::default() });
        coordinator.audit(&roster, &[ShardStatus { shard, ledger, ..ShardStatus::default() }]);
    }
    assert_eq!(register(), 6);
}

#[tokio::test(start_paused = true)]
async fn shards_of_another_life_go_back_before_anybody_joins() {
    let settings = Settings { life: NEXT, ..coordinator(2).settings };
    let host = Arc::new(ShardHost::new(0, Vec::new(), "nowhere".into()));
    let coordinator = Coordinator::new(settings, host, None);
    let register = |life| {
        let (protocol, address) = (PROTOCOL_VERSION, "b:1".into());
        let holds = Some(Holding { first_shard: 2, life });
        coordinator
            .register(RegisterRequest { protocol, address, shards: 2, holds, files: None, stopping: false })
            .unwrap()
    };
    for _ in 0..2 {
        let reply = register(LIFE);
        assert_eq!((reply.first_shard, reply.life, reply.again), (2, NEXT, false));
        assert!(matches!(coordinator.join(join(100)), Err(Refusal::NotReady(_))));
    }
    assert!(!register(NEXT).again);
    assert!(coordinator.join(join(100)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_repeated_call_is_answered_and_not_counted_again() {
    let coordinator = coordinator(1);
    let member = coordinator.join(join(100)).unwrap().member;
    let first = coordinator.assign(member, 5).unwrap();
    assert_eq!(coordinator.assign(member, 5).unwrap(), first);
    assert_ne!(coordinator.assign(member, 6).unwrap(), first);
    coordinator.assign(member, 5).unwrap();
    assert_eq!(coordinator.status().leases, 2, "a lease for each question, also for one that comes late");
    let done = Report { metrics: metrics(3, 0, false), ..report(member) };
    for _ in 0..2 {
        assert_eq!(coordinator.report(done.clone(), 7), Ok(None));
    }
    assert_eq!(coordinator.checkpoint().unwrap().steps, 3);
}

#[tokio::test(start_paused = true)]
async fn a_last_report_may_be_repeated() {
    let coordinator = coordinator(1);
    let member = coordinator.join(join(100)).unwrap().member;
    trained(&coordinator, member);
    let last = Report { leaving: Some("asked to".into()), ..report(member) };
    for _ in 0..2 {
        assert_eq!(coordinator.report(last.clone(), 7), Ok(None));
    }
    assert_eq!((coordinator.status().workers, coordinator.status().leases), (0, 0));
    assert!(matches!(coordinator.report(report(member), 8), Err(Refusal::Fenced(_))));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_waits_for_the_leases_of_a_lone_worker() {
    let coordinator = coordinator(1);
    let member = coordinator.join(join(100)).unwrap().member;
    let lease = trained(&coordinator, member);
    assert!(!coordinator.prepare_snapshot());
    let wait = Assignment::Wait { milliseconds: SNAPSHOT_PAUSE_MILLISECONDS, reason: "a snapshot".into() };
    assert_eq!(coordinator.assign(member, call()), Ok(wait));
    coordinator.report(whole(member, &lease), call()).unwrap();
    assert!(coordinator.prepare_snapshot());
    coordinator.resume_leases(0);
    trained(&coordinator, member);
    // With a second worker, a snapshot waits for nobody.
    let other = coordinator.join(join(100)).unwrap().member;
    assert!(coordinator.prepare_snapshot());
    trained(&coordinator, other);
}

mod backup;
mod bounds;
mod evaluated;
mod standstill;
mod steering;
mod unused_data;
