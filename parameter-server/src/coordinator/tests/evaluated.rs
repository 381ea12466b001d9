//! Tests of what follows from evaluations: models that are to be written, and the end of a run's patience.

use super::*;
use crate::telemetry::PatienceLine;

/// Lets a worker do all that there is for it, or until `stop` says so; its evaluations have the top-1
/// accuracy of `top1`, which is given the number of samples. Returns the orders of evaluations.
fn work(
    coordinator: &Coordinator,
    member: Member,
    top1: impl Fn(u64) -> f64,
    mut stop: impl FnMut(&Coordinator) -> bool,
) -> Vec<EvaluationOrder> {
    let mut evaluated = Vec::new();
    while coordinator.ending().is_none() && !stop(coordinator) {
        match coordinator.assign(member, call()).unwrap() {
            Assignment::Train(lease) => drop(coordinator.report(whole(member, &lease), call()).unwrap()),
            Assignment::Evaluate(order) => {
                let mut report = scores(member, &order);
                let evaluation = report.evaluation.as_mut().unwrap();
                evaluation.average = Scores::new([("top1", 100.0 * top1(order.samples))]);
                coordinator.report(report, call()).unwrap();
                evaluated.push(order);
            }
            Assignment::Wait { .. } => break,
            other => panic!("expected work, found {other:?}"),
        }
    }
    evaluated
}

/// A server whose run has a configuration with so many epochs of patience.
fn patient(epochs: Option<f64>) -> Coordinator {
    coordinator_with(1, |configuration| {
        (configuration.run.epochs, configuration.run.patience_epochs) = (10.0, epochs);
    })
}

fn lost(coordinator: &Coordinator) -> Vec<PatienceLine> {
    let lines = coordinator.tick().into_iter();
    lines.filter_map(|line| if let Line::Patience(line) = line { Some(line) } else { None }).collect()
}

#[tokio::test(start_paused = true)]
async fn a_run_that_does_not_gain_ends_with_what_was_leased() {
    for (patience, early) in [(None, false), (Some(0.5), true), (Some(2.0), true), (Some(20.0), false)] {
        let coordinator = patient(patience);
        let [member, other] = [(); 2].map(|()| coordinator.join(join(100)).unwrap().member);
        // Held all the time, and done at the end.
        let held = trained(&coordinator, other);
        let top1 = |samples| if samples < 250 { samples as f64 / 1000.0 } else { 0.1 };
        let mut evaluated = work(&coordinator, member, top1, |_| false);
        let total = coordinator.status().total_samples;
        assert_eq!((total < 1000, coordinator.ending()), (early, None), "patience {patience:?}");
        coordinator.report(whole(other, &held), call()).unwrap();
        evaluated.extend(work(&coordinator, member, top1, |_| false));
        assert_eq!(coordinator.ending(), Some(Ending::Completed));
        let last = evaluated.last().unwrap();
        assert_eq!((last.samples, last.last), (total, true));
        let lost = lost(&coordinator);
        assert_eq!(lost.len(), usize::from(early));
        for line in lost {
            assert!(line.best_samples < 250 && line.samples < total, "{line:?}");
            assert!((line.samples - line.best_samples) as f64 >= 100.0 * line.epochs, "{line:?}");
            assert_eq!(Some(line.epochs), patience);
        }
        let progress = coordinator.checkpoint().unwrap().progress;
        assert!(progress.is_consistent() && progress.ledgers.iter().all(|ledger| ledger.complete()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_lost_patience_and_was_restarted_still_ends_there() {
    let first = patient(Some(1.0));
    let member = first.join(join(100)).unwrap().member;
    work(&first, member, |_| 0.5, |coordinator| !coordinator.status().evaluations.is_empty());
    assert_eq!(first.status().total_samples, 1000);
    let _ = trained(&first, member);
    work(&first, member, |_| 0.5, |coordinator| coordinator.status().evaluations.len() == 2);
    let total = first.status().total_samples;
    assert!(total < 400, "{total}");
    let settings = Settings { life: NEXT, ..first.settings.clone() };
    let host = Arc::new(ShardHost::new(0, Vec::new(), "nowhere".into()));
    let snapshot = Snapshot { id: 3, hashes: Vec::new() };
    let second = Coordinator::new(settings, host, Some((snapshot, first.checkpoint().unwrap())));
    assert_eq!(second.status().total_samples, total);
    let member = second.join(join(100)).unwrap().member;
    let evaluated = work(&second, member, |_| 0.5, |_| false);
    assert_eq!((evaluated.len(), evaluated[0].samples), (1, total));
}

#[tokio::test(start_paused = true)]
async fn an_average_is_kept_until_its_model_is_written() {
    for writes in [false, true] {
        let coordinator = coordinator(1);
        if writes {
            coordinator.write_models();
        }
        let member = coordinator.join(join(100)).unwrap().member;
        let evaluated =
            |count: usize| move |coordinator: &Coordinator| coordinator.status().evaluations.len() == count;
        let order = work(&coordinator, member, |_| 0.5, evaluated(1)).remove(0);
        let kept = || coordinator.roster().1.evaluations;
        if !writes {
            assert_eq!((coordinator.unwritten(), kept()), (None, vec![]));
            continue;
        }
        let model = coordinator.unwritten().unwrap();
        assert_eq!((model.evaluation.id, model.newest, model.best), (order.id, true, true));
        assert_eq!(kept(), [order.id]);
        let version = coordinator.roster().1.version;
        coordinator.model_written(order.id);
        assert!(coordinator.roster().1.version > version, "the shards are told");
        assert_eq!((coordinator.unwritten(), kept()), (None, vec![]));
        work(&coordinator, member, |_| 0.4, evaluated(2));
        let model = coordinator.unwritten().unwrap();
        assert_eq!((model.newest, model.best), (true, false));
    }
}
