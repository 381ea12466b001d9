//! The two maps of a layer that reads one feature map and writes another.

use kernels::{Map, MapMut, Value};

use crate::graph::Endpoint;
use crate::memory::{Arena, Part};
use crate::plan::Feature;

/// The feature map that a layer reads and the one that it writes.
pub(crate) struct Maps {
    pub input: Feature,
    pub output: Feature,
}

impl Maps {
    /// Returns the input map and the output map, in this order, for the description of the layer.
    pub fn endpoints(&self) -> (Endpoint<'_>, Endpoint<'_>) {
        (Endpoint::Map(&self.input), Endpoint::Map(&self.output))
    }

    /// Returns the values of the input, to read, and of the output, to write, for the forward pass.
    pub fn values<'a, T: Value>(&self, arena: &'a mut Arena, batch: usize) -> (Map<'a, T>, MapMut<'a, T>) {
        let [input, output] =
            arena.parts([Part::Values(self.input.buffer), Part::Values(self.output.buffer)]);
        (self.input.map(input, batch), self.output.map_mut(output, batch))
    }

    /// Returns the gradient of the output, to read, and of the input, to write, for the backward pass.
    pub fn gradients<'a, T: Value>(&self, arena: &'a mut Arena, batch: usize) -> (Map<'a, T>, MapMut<'a, T>) {
        let [output, input] =
            arena.parts([Part::Gradient(self.output.buffer), Part::Gradient(self.input.buffer)]);
        (self.output.map(output, batch), self.input.map_mut(input, batch))
    }

    /// Returns the values of the input and the gradient of the output, to read, and the gradient of the
    /// input, to write, for a backward pass that needs all three.
    pub fn values_and_gradients<'a, T: Value>(
        &self,
        arena: &'a mut Arena,
        batch: usize,
    ) -> (Map<'a, T>, Map<'a, T>, MapMut<'a, T>) {
        let [values, output, input] = arena.parts([
            Part::Values(self.input.buffer),
            Part::Gradient(self.output.buffer),
            Part::Gradient(self.input.buffer),
        ]);
        (self.input.map(values, batch), self.output.map(output, batch), self.input.map_mut(input, batch))
    }
}
