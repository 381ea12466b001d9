//! Gradients of a layer's parameters.

use crate::disjoint::Disjoint;

/// Destination of the gradients of a layer's weights and bias: the backward pass overwrites both slices.
#[derive(Debug)]
pub struct ParameterGradients<'a> {
    /// Gradient of the weights: `[output channel][input channel][y][x]` for a convolution, `[output][input]`
    /// for a fully connected layer.
    pub weights: &'a mut [f32],
    /// Gradient of the bias, one value per output channel.
    pub bias: &'a mut [f32],
}

impl<'a> ParameterGradients<'a> {
    /// Writes zeros: the gradients of an empty minibatch.
    pub(crate) fn clear(self) {
        self.weights.fill(0.0);
        self.bias.fill(0.0);
    }

    /// The gradients lent to several tasks, each of which writes values that no other task writes.
    pub(crate) fn share(self) -> SharedGradients<'a> {
        SharedGradients { weights: Disjoint::new(self.weights), bias: Disjoint::new(self.bias) }
    }
}

/// [`ParameterGradients`] that several tasks write at once.
#[derive(Clone, Copy)]
pub(crate) struct SharedGradients<'a> {
    pub(crate) weights: Disjoint<'a, f32>,
    pub(crate) bias: Disjoint<'a, f32>,
}
