//! What a coordinator promises: joining, leases, reports, evaluations and leaving.

use protocol::{
    Assignment, CoordinatorCalls, DataDescription, JoinReply, JoinRequest, Lease, LeaseProgress, Member,
    PROTOCOL_VERSION, Refusal, RegisterRequest, Report, RunState, ShardCalls, StepMetrics,
};
use tokio::time::sleep;

use crate::{
    common::data,
    contract::forms::{Form, LEASE_TIME, SHARDS},
    contract::in_every_form,
};

in_every_form!(
    a_worker_joins_a_run_that_it_fits,
    leases_are_given_once_and_what_is_used_counts,
    a_worker_that_leaves_is_fenced_and_its_leases_go_back,
    a_silent_worker_is_fenced_and_its_leases_go_to_others,
    a_status_is_refused_to_nobody,
    a_process_without_a_place_is_refused,
);

fn request(data: DataDescription) -> JoinRequest {
    JoinRequest { protocol: PROTOCOL_VERSION, name: "test".into(), data }
}

async fn join(coordinator: &impl CoordinatorCalls) -> JoinReply {
    coordinator.join(request(data())).await.unwrap()
}

/// Asks for work, which must be training.
async fn lease(coordinator: &impl CoordinatorCalls, member: Member) -> Lease {
    match coordinator.assign(member).await.unwrap() {
        Assignment::Train(lease) => lease,
        other => panic!("expected a lease, found {other:?}"),
    }
}

fn report(member: Member, progress: Vec<LeaseProgress>, leaving: bool) -> Report {
    Report {
        member,
        progress,
        metrics: StepMetrics::default(),
        evaluation: None,
        leaving: leaving.then(|| "asked to".into()),
        sends_largest: false,
    }
}

/// The progress of a lease that was used up.
fn used(lease: &Lease) -> LeaseProgress {
    let samples = lease.end - lease.start;
    LeaseProgress { lease: lease.id, used: samples, consumed: samples, closed: true, skipped: Vec::new() }
}

async fn a_worker_joins_a_run_that_it_fits<C: CoordinatorCalls, S: ShardCalls>(
    start: impl AsyncFnOnce() -> Form<C, S>,
) {
    let form = start().await;
    let first = join(&form.coordinator).await;
    assert_eq!(first.shards.len(), SHARDS as usize);
    assert_eq!(first.configuration.network.classes, Some(10));
    let second = join(&form.coordinator).await;
    assert_ne!(first.member.incarnation, second.member.incarnation);
    assert_eq!(form.coordinator.status().await.unwrap().workers, 2);
    let other = DataDescription { images: 99, ..data() };
    let release = JoinRequest { protocol: PROTOCOL_VERSION + 1, ..request(data()) };
    for (request, expected) in [
        (request(other), "training images: expected 100, found 99"),
        (release, "protocol version: expected "),
    ] {
        let error = form.coordinator.join(request).await.unwrap_err();
        let Some(Refusal::Mismatch(text)) = error.refusal() else {
            panic!("expected a mismatch, found {error}");
        };
        assert!(text.contains(expected), "{text}");
    }
}

async fn leases_are_given_once_and_what_is_used_counts<C: CoordinatorCalls, S: ShardCalls>(
    start: impl AsyncFnOnce() -> Form<C, S>,
) {
    let form = start().await;
    let (first, second) = (join(&form.coordinator).await.member, join(&form.coordinator).await.member);
    let leases = [lease(&form.coordinator, first).await, lease(&form.coordinator, second).await];
    assert_eq!((leases[0].start, leases[0].end), (0, 20));
    assert_eq!((leases[1].start, leases[1].end), (20, 40));
    let ending = form.coordinator.report(report(first, vec![used(&leases[0])], false)).await.unwrap();
    assert_eq!(ending, None);
    let status = form.coordinator.status().await.unwrap();
    assert_eq!((status.samples, status.leases), (20, 1));
    // What a report says is the sum so far: the same again counts nothing.
    form.coordinator.report(report(first, vec![used(&leases[0])], false)).await.unwrap();
    assert_eq!(form.coordinator.status().await.unwrap().samples, 20);
    let beyond = LeaseProgress { used: 21, consumed: 21, ..used(&leases[1]) };
    let error = form.coordinator.report(report(second, vec![beyond], false)).await.unwrap_err();
    assert!(matches!(error.refusal(), Some(Refusal::Invalid(_))), "{error}");
}

async fn a_worker_that_leaves_is_fenced_and_its_leases_go_back<C: CoordinatorCalls, S: ShardCalls>(
    start: impl AsyncFnOnce() -> Form<C, S>,
) {
    let form = start().await;
    let (first, second) = (join(&form.coordinator).await.member, join(&form.coordinator).await.member);
    let returned = lease(&form.coordinator, first).await;
    form.coordinator.report(report(first, Vec::new(), true)).await.unwrap();
    let status = form.coordinator.status().await.unwrap();
    assert_eq!((status.workers, status.leases), (1, 0));
    let error = form.coordinator.assign(first).await.unwrap_err();
    assert!(matches!(error.refusal(), Some(Refusal::Fenced(_))), "{error}");
    let again = lease(&form.coordinator, second).await;
    assert_eq!((again.start, again.end), (returned.start, returned.end));
}

async fn a_silent_worker_is_fenced_and_its_leases_go_to_others<C: CoordinatorCalls, S: ShardCalls>(
    start: impl AsyncFnOnce() -> Form<C, S>,
) {
    let form = start().await;
    let silent = join(&form.coordinator).await.member;
    let lost = lease(&form.coordinator, silent).await;
    sleep(2 * LEASE_TIME).await;
    form.server.coordinator.tick();
    let error = form.coordinator.report(report(silent, vec![used(&lost)], false)).await.unwrap_err();
    assert!(matches!(error.refusal(), Some(Refusal::Fenced(_))), "{error}");
    let other = join(&form.coordinator).await.member;
    let again = lease(&form.coordinator, other).await;
    assert_eq!((again.start, again.end), (lost.start, lost.end));
}

async fn a_status_is_refused_to_nobody<C: CoordinatorCalls, S: ShardCalls>(
    start: impl AsyncFnOnce() -> Form<C, S>,
) {
    let form = start().await;
    let before = form.coordinator.status().await.unwrap();
    assert_eq!((before.state, before.total_samples), (RunState::Waiting, 0));
    let member = join(&form.coordinator).await.member;
    lease(&form.coordinator, member).await;
    let after = form.coordinator.status().await.unwrap();
    assert_eq!((after.state, after.total_samples, after.leases), (RunState::Training, 300, 1));
    assert_eq!(after.classes, data().classes);
}

async fn a_process_without_a_place_is_refused<C: CoordinatorCalls, S: ShardCalls>(
    start: impl AsyncFnOnce() -> Form<C, S>,
) {
    let form = start().await;
    let request = RegisterRequest {
        protocol: PROTOCOL_VERSION,
        address: "b:1".into(),
        shards: SHARDS,
        holds: None,
        files: None,
        stopping: false,
    };
    let error = form.coordinator.register(request).await.unwrap_err();
    assert!(matches!(error.refusal(), Some(Refusal::Mismatch(_))), "{error}");
}
