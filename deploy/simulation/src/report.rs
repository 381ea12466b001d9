//! What a simulated run shows.

use serde::Serialize;
use settings::Optimisation;

use crate::{Cluster, Method};

/// The scores of the average at one point of the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Images behind the updates so far.
    pub images: u64,
    /// Virtual seconds since the start.
    pub seconds: f64,
    /// Top-1 of the average.
    pub top1: f64,
    /// Cross-entropy of the average.
    pub loss: f64,
    /// Mean loss of the minibatches since the last evaluation.
    pub training_loss: f64,
    /// Mean staleness of the pushes since the last evaluation.
    pub staleness: f64,
}

/// The report of one simulated run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The machines.
    pub cluster: Cluster,
    /// The way of training.
    pub method: Method,
    /// The optimizer's settings.
    pub optimisation: Optimisation,
    /// Scores over the run.
    pub evaluations: Vec<Evaluation>,
    /// Images behind the updates.
    pub images: u64,
    /// Images whose gradients were lost with their workers and computed again.
    pub repeated: u64,
    /// Virtual seconds of the run.
    pub seconds: f64,
    /// Largest staleness of a push.
    pub staleness_max: u64,
    /// Pushes that the shard refused.
    pub refused: u64,
    /// Bytes to the server.
    pub bytes_up: u64,
    /// Bytes from the server.
    pub bytes_down: u64,
    /// Share of the run in which the workers computed, the mean over all of them.
    pub computing: f64,
    /// Share of the run in which the server's link received.
    pub receiving: f64,
    /// Share of the run in which the server's link sent.
    pub sending: f64,
    /// Seconds that the simulation itself took.
    pub real_seconds: f64,
}

impl Report {
    /// The report of a run that has not begun.
    pub(crate) fn new(cluster: Cluster, method: Method, optimisation: Optimisation) -> Report {
        Report {
            cluster,
            method,
            optimisation,
            evaluations: Vec::new(),
            images: 0,
            repeated: 0,
            seconds: 0.0,
            staleness_max: 0,
            refused: 0,
            bytes_up: 0,
            bytes_down: 0,
            computing: 0.0,
            receiving: 0.0,
            sending: 0.0,
            real_seconds: 0.0,
        }
    }

    /// Returns the first of two evaluations in a row at or above `top1`; none if there were no two.
    pub fn first_at(&self, top1: f64) -> Option<&Evaluation> {
        self.evaluations
            .windows(2)
            .find(|pair| pair.iter().all(|point| point.top1 >= top1))
            .map(|pair| &pair[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accuracy_is_reached_at_the_first_of_two_in_a_row() {
        let evaluation = |(images, top1)| Evaluation {
            images,
            seconds: 0.0,
            top1,
            loss: 0.0,
            training_loss: 0.0,
            staleness: 0.0,
        };
        let optimisation = settings::recipe("quick").unwrap().optimisation;
        let report = Report {
            evaluations: [(1, 0.2), (2, 0.9), (3, 0.8), (4, 0.9), (5, 0.95)].map(evaluation).to_vec(),
            ..Report::new(Cluster::of(1), Method::Asynchronous, optimisation)
        };
        assert_eq!(report.first_at(0.9).map(|found| found.images), Some(4));
        assert_eq!(report.first_at(0.95), None);
    }
}
