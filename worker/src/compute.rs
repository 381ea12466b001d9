//! A model with its gradient buffer: one training step, its gradient leaving in blocks while backward goes
//! on.

use std::time::Duration;

use network::Losses;
use protocol::{GradientNorms, PushForm};
use settings::Optimisation;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use crate::outgoing::Outgoing;
use crate::workload::{Model, Pass};

/// What computing one step came to.
#[derive(Clone, Debug)]
pub struct Computed {
    /// The losses of the minibatch.
    pub losses: Losses,
    /// Norms of its gradient, where steps were made of it.
    pub norms: GradientNorms,
    /// How long computing took.
    pub took: Duration,
}

/// The state that the compute thread owns.
pub struct Compute<M> {
    /// The model.
    pub model: M,
    gradients: Vec<f32>,
    outgoing: Outgoing,
    /// The parameters as loaded, which steps are made with; empty where the worker makes none.
    parameters: Vec<f32>,
}

impl<M: Model> Compute<M> {
    /// Prepares to compute with `model` in a run with these settings of the optimizer.
    pub fn new(model: M, optimisation: &Optimisation) -> Compute<M> {
        let outgoing = Outgoing::new(model.layout(), model.isa(), optimisation);
        let values = model.layout().len();
        let parameters = vec![0.0; if outgoing.keeps_momentum() { values } else { 0 }];
        Compute { model, gradients: vec![0.0; values], outgoing, parameters }
    }

    /// Begins a membership with all parameters, given as a flat vector.
    pub fn begin(&mut self, parameters: &[f32]) {
        self.outgoing.begin();
        self.load(parameters);
    }

    /// Goes on from the shards' velocity, given as a flat vector.
    pub fn take_over(&mut self, velocity: Vec<f32>) {
        self.outgoing.take_over(velocity);
    }

    /// Loads all parameters from the flat vector.
    pub fn load(&mut self, parameters: &[f32]) {
        for tensor in 0..self.model.layout().tensors().len() {
            let range = self.model.layout().range(tensor);
            self.load_tensor(tensor, &parameters[range]);
        }
    }

    /// Loads one tensor.
    pub fn load_tensor(&mut self, tensor: usize, values: &[f32]) {
        if self.outgoing.keeps_momentum() {
            self.parameters[self.model.layout().range(tensor)].copy_from_slice(values);
        }
        self.model.load_tensor(tensor, values);
    }

    /// Computes one step. Each block of the gradient, or of the step made of it, goes into `out` as soon as
    /// it is complete, or, where the norm of the whole is clipped, once all are: the channel holds at most
    /// one model.
    ///
    /// # Panics
    /// If steps are asked for in a run that keeps its momentum at the shards.
    pub fn train(
        &mut self,
        form: PushForm,
        batch: &M::Batch,
        dropout: Option<&[u64]>,
        out: &UnboundedSender<(u32, Vec<f32>)>,
    ) -> Computed {
        let start = Instant::now();
        let Compute { model, gradients, outgoing, parameters } = self;
        let send = |outgoing: &mut Outgoing, tensor: usize, gradient: &[f32]| {
            outgoing.send(form, tensor, gradient, parameters, |block, values| {
                // A closed channel means that the step was given up; computing it to its end does no harm.
                let _ = out.send((block, values));
            });
        };
        let losses = if outgoing.waits_for_the_whole() {
            let losses = model.train(batch, Pass { dropout, gradients, ready: &mut |_, _| {} });
            outgoing.clip_whole(gradients);
            for tensor in (0..model.layout().tensors().len()).rev() {
                send(outgoing, tensor, &gradients[model.layout().range(tensor)]);
            }
            losses
        } else {
            let ready = &mut |tensor: usize, gradient: &[f32]| send(outgoing, tensor, gradient);
            model.train(batch, Pass { dropout, gradients, ready })
        };
        Computed { losses, norms: outgoing.end_minibatch(form), took: start.elapsed() }
    }
}
