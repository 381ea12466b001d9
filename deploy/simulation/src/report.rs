//! The report of a simulated run.

use serde::Serialize;
use settings::Optimisation;

use crate::{Cluster, Method};

/// An evaluation of the averaged parameters at one point of a simulated run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Number of training images whose gradients were pushed to the server so far, counted over all epochs.
    pub images: u64,
    /// Simulated time since the start of the run, in seconds.
    pub seconds: f64,
    /// Top-1 accuracy of the averaged parameters on the validation images, a fraction from 0 to 1.
    pub top1: f64,
    /// Mean cross-entropy of the averaged parameters on the validation images, in nats.
    pub loss: f64,
    /// Mean loss of the main classifier over the training minibatches since the previous evaluation, in nats.
    pub training_loss: f64,
    /// Mean staleness of the pushes since the previous evaluation: the number of updates that the parameters
    /// received after the worker fetched them and before its gradient was applied.
    pub staleness: f64,
    /// Gradient noise scale: the minibatch size, in images, at which the noise in a minibatch's gradient is
    /// as large as the mean gradient; `None` while it cannot be estimated, as before enough gradients have
    /// been compared.
    pub noise_scale: Option<f64>,
}

/// The report of one simulated run: its settings, its evaluations, and the time and traffic that it took.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The machines that were simulated.
    pub cluster: Cluster,
    /// Method by which gradients became updates: asynchronous or synchronous.
    pub method: Method,
    /// The settings of the optimizer.
    pub optimisation: Optimisation,
    /// The evaluations of the run, in the order of time.
    pub evaluations: Vec<Evaluation>,
    /// Number of training images whose gradients were pushed to the server in the whole run, counted over all
    /// epochs.
    pub images: u64,
    /// Number of images whose gradients were lost with a worker and computed again.
    pub repeated: u64,
    /// Simulated duration of the run, in seconds.
    pub seconds: f64,
    /// Largest staleness of a push: the number of updates that the parameters received after the worker
    /// fetched them and before its gradient was applied.
    pub staleness_max: u64,
    /// Number of blocks (pieces of tensors) of gradients that the server refused as unusable, for example as
    /// not finite.
    pub refused: u64,
    /// Number of bytes of gradients that all workers sent to the server.
    pub bytes_up: u64,
    /// Number of bytes of parameters that the server sent to all workers.
    pub bytes_down: u64,
    /// Fraction (0 to 1) of the run's simulated time during which a worker computed, the mean over all
    /// workers.
    pub computing: f64,
    /// Fraction (0 to 1) of the run's simulated time during which the server's link received gradients.
    pub receiving: f64,
    /// Fraction (0 to 1) of the run's simulated time during which the server's link sent parameters.
    pub sending: f64,
    /// Real time that the simulation took, in seconds.
    pub real_seconds: f64,
}

impl Report {
    /// Creates the report of a run that has not begun.
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

    /// Returns the first evaluation whose top-1 accuracy, like that of the evaluation after it, is at least
    /// `top1` (a fraction from 0 to 1). Two in a row are required so that one lucky evaluation does not
    /// count. Returns `None` if no two successive evaluations reach `top1`.
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
            noise_scale: None,
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
