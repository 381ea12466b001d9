//! Workers whose gradients cannot be used, though their losses look well.

use std::time::Duration;

use ::process::Exit;
use dataset::Minibatch;
use network::Losses;
use parameters::Layout;
use protocol::{Patience, RunState, WorstMistakes};
use settings::RunConfiguration;
use setup::Tally;
use worker::actor::Place;
use worker::replica::{self, ReplicaOptions};
use worker::workload::{Model, Pass, Workload};

use crate::altered::Altered;
use crate::linear::{Linear, Regression};
use crate::server::{Server, small};

/// The linear model, of whose bias gradients one value is another in some of the steps.
struct FaultyRegression {
    inner: Regression,
    /// The fault of a step, counted from 1.
    fault: fn(u64) -> Option<f32>,
    step: u64,
}

impl Model for FaultyRegression {
    type Batch = Minibatch;
    type Tally = Tally;

    fn layout(&self) -> &Layout {
        self.inner.layout()
    }

    fn load_tensor(&mut self, tensor: usize, values: &[f32]) {
        self.inner.load_tensor(tensor, values);
    }

    fn train(&mut self, minibatch: &Minibatch, pass: Pass<'_>) -> Losses {
        let Pass { samples, dropout, gradients, ready } = pass;
        // A pass over a part of the minibatch is no step.
        self.step += u64::from(samples == minibatch.samples.len());
        let fault = (self.fault)(self.step);
        let faulty = &mut |tensor: usize, gradient: &[f32]| {
            let mut gradient = gradient.to_vec();
            // Tensor 1 is the bias.
            if let Some(value) = fault.filter(|_| tensor == 1) {
                gradient[2] = value;
            }
            ready(tensor, &gradient);
        };
        self.inner.train(minibatch, Pass { samples, dropout, gradients, ready: faulty })
    }

    fn score(&mut self, minibatch: &Minibatch, tally: &mut Tally, mistakes: &mut WorstMistakes) {
        self.inner.score(minibatch, tally, mistakes);
    }
}

async fn train(server: &Server, fault: fn(u64) -> Option<f32>) -> Exit {
    let model = move |linear: &Linear, configuration: &RunConfiguration| {
        Ok(FaultyRegression { inner: linear.model(configuration)?, fault, step: 0 })
    };
    let work = Altered { inner: Linear::new(300, Duration::ZERO), model };
    let options = ReplicaOptions {
        coordinator: server.address.clone(),
        name: "faulty".into(),
        connector: Patience::default().into(),
        place: Place::Inline,
        telemetry: None,
    };
    replica::run(&work, &options, std::future::pending()).await.unwrap()
}

#[tokio::test]
async fn twenty_minibatches_in_a_row_with_an_unusable_bias_end_the_run_as_diverged() {
    let faults: [fn(u64) -> Option<f32>; 3] =
        [|_| Some(3e38), |_| Some(f32::NAN), |_| Some(f32::NEG_INFINITY)];
    for fault in faults {
        let server = Server::start(small(60_000), 1, 1).await;
        assert_eq!(train(&server, fault).await, Exit::Diverged);
        let status = server.status();
        assert_eq!(status.state, RunState::Diverged);
        let reason = "minibatches in a row were refused as not finite or far too large; try --learning-rate ";
        assert!(status.detail.contains(reason), "{}", status.detail);
        let shard = server.shards().await.remove(0);
        assert!(shard.refused >= 20 && shard.updates == 0, "{shard:?}");
    }
}

/// Now and then 3e38, and a gradient a million times too large once the usual ones are known: each costs its
/// own push, and the model is as good and as finite as any.
#[tokio::test]
async fn single_faults_are_refused_and_counted_and_the_run_ends_well() {
    let mut configuration = small(6000);
    configuration.optimisation.learning_rate = 0.5;
    let server = Server::start(configuration, 1, 2).await;
    let fault = |step: u64| match step % 100 {
        7 => Some(-3e38),
        30 => Some(f32::INFINITY),
        60 if step > 200 => Some(1e9),
        _ => None,
    };
    assert_eq!(train(&server, fault).await, Exit::Done);
    let status = server.status();
    let steps = server.coordinator.checkpoint().unwrap().steps;
    let faults = (1..=steps).filter(|&step| fault(step).is_some()).count() as u64;
    let refused: u64 = server.shards().await.iter().map(|shard| shard.refused).sum();
    assert!(faults > 8 && refused == faults, "{refused} refused, expected {faults}");
    let average = server.average().await;
    assert!(average.iter().all(|value| value.is_finite()), "{average:?}");
    let scores = &status.evaluations.last().unwrap().average;
    assert!(scores.get("top1").unwrap() > 0.9, "{scores:?}");
}
