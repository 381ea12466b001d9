//! Conversion from channel blocks to rows in channel-major order (C, H, W), in front of a fully connected
//! layer, and back.

use kernels::{LANES, Value, blocks};

use crate::graph::{Computation, Endpoint};
use crate::layers::{GradientWrite, Operation, Passes};
use crate::memory::{Memory, Part, Step};
use crate::plan::{Feature, Rows};

/// A flattening, N x C x H x W -> N x C*H*W. The input is a whole buffer; the unused lanes behind its
/// segments are skipped.
pub(crate) struct FlattenLayer {
    pub input: Feature,
    pub output: Rows,
}

impl FlattenLayer {
    /// The position of each value of a row in the image's part of the blocked buffer.
    fn places(&self) -> impl Iterator<Item = usize> {
        let pixels = self.input.height * self.input.width;
        let mut first = self.input.first;
        self.input.segments.iter().flat_map(move |&channels| {
            let start = first;
            first += blocks(channels);
            (0..channels).flat_map(move |channel| {
                let block = start + channel / LANES;
                (0..pixels).map(move |pixel| (block * pixels + pixel) * LANES + channel % LANES)
            })
        })
    }
}

impl Operation for FlattenLayer {
    fn kind(&self) -> &'static str {
        "flatten"
    }

    fn describe(&self) -> (Computation, Endpoint<'_>, Endpoint<'_>) {
        let computation = Computation::Flatten;
        (computation, Endpoint::Map(&self.input), Endpoint::Rows(self.output))
    }
}

impl<T: Value> Passes<T> for FlattenLayer {
    fn forward(&self, step: &Step, memory: &mut Memory) {
        let [input, output] =
            memory.arena.parts([Part::Values(self.input.buffer), Part::Values(self.output.buffer)]);
        let images = T::of(input).chunks_exact(self.input.shape(1).len());
        let rows = self.output.of_mut(output, step.batch).chunks_exact_mut(self.output.width);
        for (image, row) in images.zip(rows) {
            for (value, place) in row.iter_mut().zip(self.places()) {
                *value = image[place].wide();
            }
        }
    }

    fn backward_input(&self, step: &Step, memory: &mut Memory, write: GradientWrite) {
        assert!(!write.accumulate, "nothing else reads what is flattened");
        let [values, output, input] = memory.arena.parts([
            Part::Values(self.input.buffer),
            Part::Gradient(self.output.buffer),
            Part::Gradient(self.input.buffer),
        ]);
        let image = self.input.shape(1).len();
        let values = T::of(values).chunks_exact(image);
        let images = T::of_mut(input).chunks_exact_mut(image).zip(values);
        let rows = self.output.of(output, step.batch).chunks_exact(self.output.width);
        for ((image, values), row) in images.zip(rows) {
            image.fill(T::default());
            for (value, place) in row.iter().zip(self.places()) {
                if values[place].wide() > 0.0 || !write.rectify {
                    image[place] = T::narrow(*value);
                }
            }
        }
    }
}
