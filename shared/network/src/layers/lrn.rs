//! Local response normalisation across channels, after pool1 and before pool2 (paper, Figure 3).
//!
//! b_c = a_c / (k + alpha/n * sum of a² over the n channels around c)^beta, with the constants of BVLC's
//! model: n 5, alpha 1e-4, beta 0.75, k 1.

use kernels::{Isa, Lrn, Pool, Value};

use crate::graph::{Computation, Endpoint};
use crate::layers::{GradientWrite, Maps, Operation, Passes};
use crate::memory::{Memory, Needs, Step};

/// The constants of BVLC's public model.
pub(crate) const BVLC: Lrn = Lrn { size: 5, alpha: 1e-4, beta: 0.75, k: 1.0 };

/// A normalisation of a map of one segment, N x C x H x W -> N x C x H x W.
pub(crate) struct LrnLayer {
    pub maps: Maps,
}

impl Operation for LrnLayer {
    fn kind(&self) -> &'static str {
        "local response normalisation"
    }

    fn describe(&self) -> (Computation, Endpoint<'_>, Endpoint<'_>) {
        let Lrn { size, alpha, beta, k } = BVLC;
        let computation = Computation::Lrn { size, alpha, beta, k };
        let (input, output) = self.maps.endpoints();
        (computation, input, output)
    }
}

impl<T: Value> Passes<T> for LrnLayer {
    fn needs(&self, _isa: Isa, pool: &Pool) -> Needs {
        Needs { scratch: BVLC.scratch_len(self.maps.input.channels(), pool), ..Needs::default() }
    }

    fn forward(&self, step: &Step, memory: &mut Memory) {
        let (input, output) = self.maps.values::<T>(&mut memory.arena, step.batch);
        BVLC.forward(step.context(&mut memory.scratch), input, self.maps.input.channels(), output);
    }

    fn backward_input(&self, step: &Step, memory: &mut Memory, write: GradientWrite) {
        assert!(!write.accumulate, "nothing else reads the input of a normalisation");
        let (values, dy, dx) = self.maps.values_and_gradients::<T>(&mut memory.arena, step.batch);
        let (context, channels) = (step.context(&mut memory.scratch), self.maps.input.channels());
        BVLC.backward(context, values, dy, channels, write.rectify, dx);
    }
}
