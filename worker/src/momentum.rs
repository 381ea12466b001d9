//! Momentum that lives with the worker, and a clip of its gradients.
//!
//! A velocity that many workers share stands a far smaller learning rate than one that belongs to a single worker: with
//! one update in between, 38 times less. Here every worker has its own. What it pushes is Nesterov's step, the gradient
//! moved on by the velocity that it leaves behind, so that the shard's parameters are always where the momentum of all
//! workers will carry them (Hakimi et al., "Taming Momentum in a Distributed Asynchronous Environment", 2019, in the
//! form in which the shard only adds).

use kernels::{Isa, magnitudes, nesterov_step};
use parameters::Layout;

/// Share of the newest gradient in the running mean of a tensor's norm.
const NEWEST: f64 = 0.01;
/// Largest norm that enters the running mean, in running means, so that no single gradient moves the bound far.
const LARGEST_IN_MEAN: f64 = 4.0;

/// A clip of each tensor's gradient at a multiple of the running mean of its norm. It follows the run by itself, and no
/// tensor waits for the others, which leave while backward goes on below them.
#[derive(Clone, Debug)]
pub struct Clip {
    most: f64,
    /// Running mean of each tensor's norm; 0 before the first gradient.
    usual: Vec<f64>,
}

impl Clip {
    /// Clips `tensors` tensors at `most` times their usual norm.
    pub fn new(most: f64, tensors: usize) -> Clip {
        Clip { most, usual: vec![0.0; tensors] }
    }

    /// Scales the gradient of a tensor down to the bound if it is longer. What is not finite stays, for the shard to
    /// refuse it.
    pub fn apply(&mut self, isa: Isa, tensor: usize, gradient: &mut [f32]) {
        let norm = magnitudes(isa, gradient).sum_of_squares.sqrt();
        if !norm.is_finite() {
            return;
        }
        let usual = &mut self.usual[tensor];
        if *usual == 0.0 {
            *usual = norm;
            return;
        }
        let bound = self.most * *usual;
        if norm > bound {
            let scale = (bound / norm) as f32;
            gradient.iter_mut().for_each(|value| *value *= scale);
        }
        *usual += NEWEST * (norm.min(LARGEST_IN_MEAN * *usual) - *usual);
    }
}

/// The velocity of one worker.
#[derive(Clone, Debug)]
pub struct Momentum {
    momentum: f32,
    /// Weight decay of each tensor.
    decay: Vec<f32>,
    velocity: Vec<f32>,
}

impl Momentum {
    /// A velocity of zero for the parameters of `layout`.
    pub fn new(layout: &Layout, momentum: f64, weight_decay: f64) -> Momentum {
        let decay = |multiplier: f32| (weight_decay * f64::from(multiplier)) as f32;
        Momentum {
            momentum: momentum as f32,
            decay: layout.tensors().iter().map(|tensor| decay(tensor.decay_multiplier)).collect(),
            velocity: vec![0.0; layout.len()],
        }
    }

    /// Makes the step of a tensor, in place of its gradient; `range` is where the tensor lies in the layout.
    pub fn step(
        &mut self,
        isa: Isa,
        tensor: usize,
        range: std::ops::Range<usize>,
        weights: &[f32],
        gradient: &mut [f32],
    ) {
        let velocity = &mut self.velocity[range];
        nesterov_step(isa, self.momentum, self.decay[tensor], weights, gradient, velocity);
    }
}
