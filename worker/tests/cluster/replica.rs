//! The replica's loop with a small linear model: leaving, joining late, and the account of samples.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::linear::Linear;
use crate::server::{Server, small};
use ::process::Exit;
use protocol::{Patience, RunState};
use settings::{RunConfiguration, Wire};
use tokio::sync::oneshot;
use worker::actor::Place;
use worker::replica::{self, ReplicaOptions};

fn options(server: &Server, name: &str, place: Place) -> ReplicaOptions {
    let (coordinator, connector) = (server.address.clone(), Patience::default().into());
    ReplicaOptions { coordinator, name: name.into(), connector, place, telemetry: None }
}

/// Two epochs of 300 points.
fn two_epochs() -> RunConfiguration {
    let mut configuration = small(600);
    configuration.optimisation.learning_rate = 0.5;
    configuration
}

#[tokio::test]
async fn one_inline_replica_learns_and_is_evaluated() {
    let server = Server::start(two_epochs(), 1, 2).await;
    let work = Linear::new(300, Duration::ZERO);
    let exit =
        replica::run(&work, &options(&server, "only", Place::Inline), std::future::pending()).await.unwrap();
    assert_eq!(exit, Exit::Done);
    let status = server.status();
    assert_eq!((status.state, status.samples), (RunState::Finished, 600));
    let evaluation = status.evaluations.last().unwrap();
    assert_eq!((evaluation.samples, evaluation.images), (600, 90));
    for scores in [&evaluation.average, evaluation.last_iterate.as_ref().expect("the last one scores both")] {
        assert!(scores.get("top1").unwrap() > 0.9, "{evaluation:?}");
    }
    let average = server.average().await;
    assert!(average.iter().any(|value| value.abs() > 0.1), "{average:?}");
}

/// Trains on two epochs of 300 points, with evaluations in parts on 600, with some changes of the settings; returns the
/// server and how many points each of `workers` workers scored.
async fn evaluated(workers: usize, change: impl FnOnce(&mut RunConfiguration)) -> (Server, Vec<u64>) {
    let mut configuration = two_epochs();
    configuration.run.evaluate_epochs = 0.3;
    change(&mut configuration);
    let server = Server::start(configuration, 1, 2).await;
    let works: Vec<Linear> = (0..workers)
        .map(|_| Linear { validation: 600, ..Linear::new(300, Duration::from_millis(2)) })
        .collect();
    let run = async |work: &Linear| {
        let options = options(&server, "one", Place::Thread);
        replica::run(work, &options, std::future::pending()).await.unwrap()
    };
    match &works[..] {
        [one] => drop(run(one).await),
        [one, other] => drop(tokio::join!(run(one), run(other))),
        _ => panic!("expected one worker or two"),
    }
    let scored = works.iter().map(|work| work.scored.load(Ordering::Relaxed)).collect();
    (server, scored)
}

#[tokio::test]
async fn evaluations_change_nothing_of_a_run() {
    let mut ends = Vec::new();
    for (epochs, last_iterate) in [(1e6, false), (0.3, false), (0.3, true)] {
        let (server, _) = evaluated(1, |configuration| {
            (configuration.run.evaluate_epochs, configuration.run.evaluate_last_iterate) =
                (epochs, last_iterate);
        })
        .await;
        let evaluations = server.status().evaluations;
        assert_eq!(evaluations.len(), if epochs > 1.0 { 1 } else { 6 });
        let (last, others) = evaluations.split_last().unwrap();
        assert!(last.last_iterate.is_some());
        assert!(others.iter().all(|evaluation| evaluation.last_iterate.is_some() == last_iterate));
        assert!(evaluations.iter().all(|evaluation| (evaluation.images, evaluation.unreadable) == (600, 0)));
        let end: Vec<u32> = server.average().await.iter().map(|value| value.to_bits()).collect();
        ends.push((end, last.average.clone()));
    }
    assert!(ends.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_workers_do_parts_of_an_evaluation() {
    let (server, scored) = evaluated(2, |_| {}).await;
    let evaluations = server.status().evaluations;
    assert!(evaluations.len() >= 3, "{evaluations:?}");
    assert!(evaluations.iter().all(|evaluation| evaluation.images == 600));
    assert!(scored.iter().all(|&points| points > 0), "{scored:?}");
    // Each point once, and at the end with the last iterate too; parts of one that the last one takes the place of are done
    // in vain.
    let (sum, least) = (scored.iter().sum::<u64>(), 600 * (evaluations.len() as u64 + 1));
    assert!((least..least + 600).contains(&sum), "{sum} of {evaluations:?}");
}

#[tokio::test]
async fn two_runs_of_one_worker_end_bit_identical() {
    let mut ends = Vec::new();
    for _ in 0..2 {
        let server = Server::start(two_epochs(), 1, 2).await;
        let work = Linear::new(300, Duration::ZERO);
        let options = options(&server, "only", Place::Thread);
        replica::run(&work, &options, std::future::pending()).await.unwrap();
        ends.push(server.average().await);
    }
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&ends[0]), bits(&ends[1]));
}

#[tokio::test]
async fn a_worker_that_leaves_returns_its_lease_and_another_finishes_the_run() {
    for wire in [Wire::F32, Wire::Bits1] {
        one_leaves_and_another_finishes(wire).await;
    }
}

async fn one_leaves_and_another_finishes(wire: Wire) {
    let mut configuration = two_epochs();
    configuration.run.wire = Some(wire);
    let server = Server::start(configuration, 2, 1).await;
    let work = Arc::new(Linear::new(300, Duration::from_millis(10)));
    let (leave, leaving) = oneshot::channel::<()>();
    let (first, second) =
        (options(&server, "first", Place::Thread), options(&server, "second", Place::Thread));
    let early = tokio::spawn({
        let work = work.clone();
        async move { replica::run(&*work, &first, async { drop(leaving.await) }).await }
    });
    // In the middle of a lease (32 positions), with the next one already in hand.
    server.until(|status| status.samples >= 64 && status.leases == 2).await;
    leave.send(()).unwrap();
    assert_eq!(early.await.unwrap().unwrap(), Exit::Done);
    let status = server.status();
    assert_eq!((status.workers, status.leases), (0, 0), "{status:?}");
    assert!(status.samples < 600, "left before the end");

    let exit = replica::run(&*work, &second, std::future::pending()).await.unwrap();
    assert_eq!(exit, Exit::Done);
    let end = server.coordinator.checkpoint().unwrap();
    assert_eq!((end.progress.used, end.progress.skipped, end.progress.leased), (600, 0, 600));
    assert!(end.progress.to_do.is_empty() && end.finished);
    // Every minibatch reached every block once: nothing was done twice, nothing was left out.
    // What a format of few bits left over came once more from each worker, with nobody's samples behind it.
    let flushes = if wire == Wire::F32 { 0 } else { 2 };
    for shard in server.shards().await {
        assert_eq!(shard.updates, (end.steps + flushes) * u64::from(shard.blocks), "{wire}: {shard:?}");
        assert_eq!((shard.repeated, shard.refused), (0, 0), "{shard:?}");
    }
}

#[tokio::test]
async fn a_worker_alone_keeps_its_momentum_where_only_the_largest_values_travel() {
    for (wire, moved) in [(Wire::F32, false), (Wire::Bits4, false), (Wire::TopPercent, true)] {
        let mut configuration = two_epochs();
        configuration.run.gradient_wire = Some(wire);
        let server = Server::start(configuration, 1, 1).await;
        let work = Linear::new(300, Duration::ZERO);
        let options = options(&server, "only", Place::Thread);
        assert_eq!(replica::run(&work, &options, std::future::pending()).await.unwrap(), Exit::Done);
        let end = server.coordinator.checkpoint().unwrap();
        assert_eq!((end.progress.used, end.momentum_moved), (600, moved), "{wire}");
    }
}

#[tokio::test]
async fn a_fenced_worker_joins_anew() {
    let server = Server::start(two_epochs(), 1, 1).await;
    let work = Arc::new(Linear::new(300, Duration::from_millis(10)));
    let options = options(&server, "only", Place::Thread);
    let run = tokio::spawn({
        let work = work.clone();
        async move { replica::run(&*work, &options, std::future::pending()).await }
    });
    server.until(|status| status.samples > 0).await;
    // The coordinator believes that the worker left: its incarnation is fenced.
    let (life, roster) = server.coordinator.roster();
    let protocol::RosterEntry { worker, incarnation } = roster.members[0];
    let member = protocol::Member { worker, incarnation, life };
    let farewell = protocol::Report {
        member,
        progress: Vec::new(),
        metrics: protocol::StepMetrics::default(),
        evaluation: None,
        leaving: Some("asked to".into()),
        sends_largest: false,
    };
    protocol::Coordinator::report(&*server.coordinator, farewell, 1000).unwrap();
    assert_eq!(run.await.unwrap().unwrap(), Exit::Done);
    assert_eq!(server.status().samples, 600);
    assert_eq!(work.built.load(Ordering::Relaxed), 1, "the model is built once for one run");
}

/// A network of other settings would otherwise be trained as the old one: the wrong model, and exit code 0.
#[tokio::test]
async fn a_worker_that_meets_another_run_builds_its_model_anew() {
    let first = Server::start(two_epochs(), 1, 1).await;
    let work = Arc::new(Linear::new(300, Duration::from_millis(10)));
    let options = options(&first, "only", Place::Thread);
    let run = tokio::spawn({
        let work = work.clone();
        async move { replica::run(&*work, &options, std::future::pending()).await }
    });
    first.until(|status| status.samples > 0).await;
    let address = first.address.clone();
    first.stop().await;
    let mut other = two_epochs();
    other.network.width = 0.1;
    let second = Server::start_at(&address, other, 1, 1).await;
    assert_eq!(run.await.unwrap().unwrap(), Exit::Done);
    assert_eq!(second.status().samples, 600);
    assert_eq!(work.built.load(Ordering::Relaxed), 2);
}
