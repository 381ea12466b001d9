//! The model files that a server writes: at evaluations, whatever becomes of the worker that did them.

use std::{path::Path, time::Duration};

use crate::common::{Process, Worker, flags, layout, options, scored};
use formats::model_file::{BEST_FILE, MODEL_FILE};
use parameter_server::{Options, Timing};
use process::{Exit, RunFlags};
use protocol::{Assignment, CoordinatorCalls as _, Ending, Kind, Scores};
use tokio::time::sleep;

/// An evaluation that a worker did: the number of samples, and the average that it was of.
type Done = (u64, Vec<f32>);

/// Lets a worker train until it has done evaluations with these top-1 accuracies, or the run has ended.
async fn evaluate(worker: &mut Worker, top1: &[f64]) -> (Vec<Done>, Option<Ending>) {
    let mut done = Vec::new();
    while done.len() < top1.len() {
        let ending = match worker.client.assign(worker.joined.member).await.unwrap() {
            Assignment::Train(lease) => worker.train(&lease).await,
            Assignment::Evaluate(order) => {
                let blocks = worker.fetch(Kind::Average { evaluation: order.id }).await;
                let part = scored(&order, |images| {
                    Scores::new([("top1", top1[done.len()] * images), ("loss", images)])
                });
                done.push((order.samples, blocks.iter().flat_map(|block| block.values.to_vec()).collect()));
                worker.report(|report| report.evaluation = Some(part)).await
            }
            Assignment::Wait { .. } => {
                sleep(Duration::from_millis(10)).await;
                None
            }
            Assignment::Finished(ending) => Some(ending),
            Assignment::Leave { .. } => panic!("nobody drains it"),
        };
        if ending.is_some() {
            return (done, ending);
        }
    }
    (done, None)
}

/// Reads a model file, once there is one; returns the number of samples in it, and its values.
async fn model(path: &Path, samples: u64) -> Done {
    for _ in 0..1000 {
        if let Ok((_, model)) = formats::read(path)
            && model.metadata["samples"] == samples.to_string()
        {
            assert!(model.metadata["evaluation"].contains(&format!("\"samples\":{samples},")));
            return (samples, model.to_flat(&layout()).unwrap());
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("{} never was of {samples} samples", path.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn models_of_evaluations_outlive_the_worker_that_did_them() {
    let home = tempfile::tempdir().unwrap();
    let output = home.path().join("run");
    let (newest, best) = (output.join(MODEL_FILE), output.join(BEST_FILE));
    // Whoever vanished is not waited for at the end.
    let timing = Timing { farewell: Duration::from_millis(500), ..options(home.path()).timing };
    let set = vec![("run.evaluate_epochs".into(), "0.8".into())];
    let leading = Options {
        flags: RunFlags { set, ..flags() },
        processes: 2,
        output: Some(output),
        timing,
        ..options(&home.path().join("leader"))
    };
    let leader = Process::start(leading).await;
    let coordinator = Some(leader.address.clone());
    let follower = Process::start(Options { coordinator, ..options(&home.path().join("follower")) }).await;

    let mut first = Worker::join(&leader.address, "first").await;
    let (done, ending) = evaluate(&mut first, &[0.5, 0.4]).await;
    assert_eq!((done.len(), ending), (2, None));
    // It vanishes without a word, and holds no lease.
    drop(first);
    assert_eq!(model(&newest, done[1].0).await, done[1]);
    assert_eq!(model(&best, done[0].0).await, done[0]);
    assert_ne!(done[0].1, done[1].1);

    let mut second = Worker::join(&leader.address, "second").await;
    let (rest, _) = evaluate(&mut second, &[0.5, 0.45, 0.45]).await;
    second.report(|report| report.leaving = Some("asked to".into())).await;
    assert_eq!(leader.end().await.unwrap(), Exit::Done);
    assert_eq!(follower.end().await.unwrap(), Exit::Done);
    // As good as the best is not better.
    let last = rest.last().unwrap();
    assert_eq!(last.0, 300);
    assert_eq!((model(&newest, 300).await, model(&best, done[0].0).await), (last.clone(), done[0].clone()));
}
