//! A model with its gradient buffer, and one training step with it: the blocks of the gradient leave while
//! the backward pass still computes the rest.

use std::time::Duration;

use network::Losses;
use protocol::{PushForm, Wire};
use settings::Optimisation;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use crate::outgoing::{Outgoing, OutgoingBlock};
use crate::workload::{Batch, Model, Pass};

/// The result of computing one training step.
#[derive(Clone, Debug)]
pub struct Computed {
    /// The losses of the minibatch.
    pub losses: Losses,
    /// Time that the forward and backward passes and the preparation of the gradient for pushing took.
    pub took: Duration,
}

/// The state of a worker's computing: the model, a buffer for its gradient, and the [`Outgoing`] that
/// prepares the gradient for pushing it to the shards.
pub struct Compute<M> {
    /// The model that the worker trains.
    pub model: M,
    gradients: Vec<f32>,
    outgoing: Outgoing,
    /// The parameters as they were last loaded, from which steps are computed; empty unless the worker keeps
    /// its own momentum.
    parameters: Vec<f32>,
}

impl<M: Model> Compute<M> {
    /// Creates the state for training `model` in a run with the optimizer settings `optimisation`, whose
    /// gradients travel in the format `wire`.
    pub fn new(model: M, optimisation: &Optimisation, wire: Wire) -> Compute<M> {
        let outgoing = Outgoing::new(model.layout(), model.isa(), optimisation, wire);
        let values = model.layout().len();
        let parameters = vec![0.0; if outgoing.keeps_momentum() { values } else { 0 }];
        Compute { model, gradients: vec![0.0; values], outgoing, parameters }
    }

    /// Prepares for a membership, after the worker has joined the run: resets the worker's velocity to zero
    /// and loads all parameters, given as a flat vector in the order of the model's layout.
    pub fn begin(&mut self, parameters: &[f32]) {
        self.outgoing.begin();
        self.load(parameters);
    }

    /// Sets the format in which gradients travel from now on.
    pub fn set_wire(&mut self, wire: Wire) {
        self.outgoing.set_wire(wire);
    }

    /// Returns whether something is left over of gradients that were sent.
    pub fn owes(&self) -> bool {
        self.outgoing.owes()
    }

    /// Sends each block of what was left over of gradients into `out`, in the format `wire`.
    pub fn flush(&mut self, wire: Wire, out: &UnboundedSender<OutgoingBlock>) {
        // A closed channel means that the exchange was given up.
        self.outgoing.flush(wire, |block| drop(out.send(block)));
    }

    /// Replaces the worker's velocity by `velocity`, that of the shards, a flat vector in the order of the
    /// layout, as momentum moves from the shards to the workers. Does nothing in a run that keeps its
    /// momentum at the shards.
    pub fn take_over(&mut self, velocity: Vec<f32>) {
        self.outgoing.take_over(velocity);
    }

    /// Loads all parameters into the model; `parameters` is a flat vector in the order of the model's layout.
    pub fn load(&mut self, parameters: &[f32]) {
        for tensor in 0..self.model.layout().tensors().len() {
            let range = self.model.layout().range(tensor);
            self.load_tensor(tensor, &parameters[range]);
        }
    }

    /// Loads `values` into the model as the parameters of the tensor with index `tensor` in the model's
    /// layout.
    pub fn load_tensor(&mut self, tensor: usize, values: &[f32]) {
        if self.outgoing.keeps_momentum() {
            self.parameters[self.model.layout().range(tensor)].copy_from_slice(values);
        }
        self.model.load_tensor(tensor, values);
    }

    /// Computes one training step on `batch`. Each block (piece of a tensor) of the gradient, or of the
    /// Nesterov step computed from it as `form` says, goes into `out` as soon as it is
    /// complete, or, where the norm of the whole gradient is clipped, once all blocks are. The channel
    /// therefore holds at most as many values as the model has. `dropout` has one seed for each sample; with
    /// `None` nothing is dropped.
    ///
    /// # Panics
    /// If `form` asks for steps in a run that keeps its momentum at the shards.
    pub fn train(
        &mut self,
        form: PushForm,
        batch: &M::Batch,
        dropout: Option<&[u64]>,
        out: &UnboundedSender<OutgoingBlock>,
    ) -> Computed {
        let start = Instant::now();
        let Compute { model, gradients, outgoing, parameters } = self;
        let samples = batch.samples().len();
        let send = |outgoing: &mut Outgoing, tensor: usize, gradient: &[f32]| {
            outgoing.send(form, tensor, gradient, parameters, |block| {
                // A closed channel means that the step was given up; computing it to its end does no harm.
                let _ = out.send(block);
            });
        };
        let wait = outgoing.waits_for_the_whole();
        let mut ready = |tensor: usize, gradient: &[f32]| {
            if !wait {
                send(outgoing, tensor, gradient);
            }
        };
        let losses = model.train(batch, Pass { samples, dropout, gradients, ready: &mut ready });
        if wait {
            outgoing.clip_whole(gradients);
            for tensor in (0..model.layout().tensors().len()).rev() {
                send(outgoing, tensor, &gradients[model.layout().range(tensor)]);
            }
        }
        Computed { losses, took: start.elapsed() }
    }
}
