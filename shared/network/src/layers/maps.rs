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
    /// Both maps, for the description of the layer.
    pub fn endpoints(&self) -> (Endpoint<'_>, Endpoint<'_>) {
        (Endpoint::Map(&self.input), Endpoint::Map(&self.output))
    }

    /// The values of both, for the forward pass.
    pub fn values<'a, T: Value>(&self, arena: &'a mut Arena, batch: usize) -> (Map<'a, T>, MapMut<'a, T>) {
        let [input, output] =
            arena.parts([Part::Values(self.input.buffer), Part::Values(self.output.buffer)]);
        (self.input.map(input, batch), self.output.map_mut(output, batch))
    }

    /// The gradients of output and input, for the backward pass.
    pub fn gradients<'a, T: Value>(&self, arena: &'a mut Arena, batch: usize) -> (Map<'a, T>, MapMut<'a, T>) {
        let [output, input] =
            arena.parts([Part::Gradient(self.output.buffer), Part::Gradient(self.input.buffer)]);
        (self.output.map(output, batch), self.input.map_mut(input, batch))
    }

    /// The gradients as in [`Maps::gradients`], behind the input's values, which the backward pass reads too.
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
