//! What activations are kept and multiplied in.

use kernels::{Isa, Value, bf16};
use serde::Serialize;

use crate::layers::{Operation, Passes};

/// How activations, their gradients and the convolutions' weights are kept while a minibatch is computed. Whatever it is, sums are
/// f32, and so are parameters and their gradients as they come and go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Everything in f32.
    #[default]
    F32,
    /// In bf16: half the memory, and twice the products a second where the machine multiplies pairs of them.
    Bf16,
}

impl Precision {
    /// The instruction set with what this precision can use of the machine.
    pub(crate) fn instructions(self, isa: Isa) -> Isa {
        match self {
            Precision::F32 => isa,
            Precision::Bf16 => isa.with_halves(),
        }
    }
}

/// A kind of values that the network can be computed in.
pub(crate) trait Precise: Value {
    /// What an operation does on maps of it.
    fn passes(operation: &dyn Operation) -> &dyn Passes<Self>;
}

impl Precise for f32 {
    fn passes(operation: &dyn Operation) -> &dyn Passes<f32> {
        operation
    }
}

impl Precise for bf16 {
    fn passes(operation: &dyn Operation) -> &dyn Passes<bf16> {
        operation
    }
}

/// Runs `$run` with the type `$values` as a precision's values.
macro_rules! in_precision {
    ($precision:expr, $values:ident => $run:expr) => {
        match $precision {
            $crate::precision::Precision::F32 => {
                type $values = f32;
                $run
            }
            $crate::precision::Precision::Bf16 => {
                type $values = kernels::bf16;
                $run
            }
        }
    };
}
pub(crate) use in_precision;
