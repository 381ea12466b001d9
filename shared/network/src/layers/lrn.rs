//! Local response normalisation across channels, after pool1 and before pool2 (paper, Figure 3).
//!
//! b_c = a_c / (k + alpha/n * sum of a² over the n channels around c)^beta, with the constants of BVLC's
//! model: n 5, alpha 1e-4, beta 0.75, k 1.

use kernels::{Isa, Lrn, Pool, Value};

use crate::graph::{Computation, Endpoint};
use crate::layers::{GradientWrite, Operation, Passes};
use crate::memory::{Memory, Needs, Part, Step};
use crate::plan::Feature;

/// The constants of the public model.
pub(crate) const BVLC: Lrn = Lrn { size: 5, alpha: 1e-4, beta: 0.75, k: 1.0 };

/// A normalisation of a map of one segment, N x C x H x W -> N x C x H x W.
pub(crate) struct LrnLayer {
    pub input: Feature,
    pub output: Feature,
}

impl Operation for LrnLayer {
    fn kind(&self) -> &'static str {
        "local response normalisation"
    }

    fn describe(&self) -> (Computation, Endpoint<'_>, Endpoint<'_>) {
        let Lrn { size, alpha, beta, k } = BVLC;
        let computation = Computation::Lrn { size, alpha, beta, k };
        (computation, Endpoint::Map(&self.input), Endpoint::Map(&self.output))
    }
}

impl<T: Value> Passes<T> for LrnLayer {
    fn needs(&self, _isa: Isa, pool: &Pool) -> Needs {
        Needs { scratch: BVLC.scratch_len(self.input.channels(), pool), ..Needs::default() }
    }

    fn forward(&self, step: &Step, memory: &mut Memory) {
        let [input, output] =
            memory.arena.parts([Part::Values(self.input.buffer), Part::Values(self.output.buffer)]);
        BVLC.forward(
            step.context(&mut memory.scratch),
            self.input.map::<T>(input, step.batch),
            self.input.channels(),
            self.output.map_mut(output, step.batch),
        );
    }

    fn backward_input(&self, step: &Step, memory: &mut Memory, write: GradientWrite) {
        assert!(!write.accumulate, "nothing else reads the input of a normalisation");
        let [values, output, input] = memory.arena.parts([
            Part::Values(self.input.buffer),
            Part::Gradient(self.output.buffer),
            Part::Gradient(self.input.buffer),
        ]);
        BVLC.backward(
            step.context(&mut memory.scratch),
            self.input.map::<T>(values, step.batch),
            self.output.map(output, step.batch),
            self.input.channels(),
            write.rectify,
            self.input.map_mut(input, step.batch),
        );
    }
}
