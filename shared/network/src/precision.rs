//! The number format of activations.

use kernels::{Isa, Value, bf16};
use serde::Serialize;

use crate::layers::{Operation, Passes};

/// The number format of activations, their gradients and the convolutions' packed weights while a minibatch
/// is computed. In either precision sums are f32, and parameters and their gradients go in and out as f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// f32 throughout.
    #[default]
    F32,
    /// bf16: half the memory, and twice the multiply-adds per second where the machine multiplies pairs of
    /// bf16.
    Bf16,
}

impl Precision {
    /// The instruction set together with the bf16 instructions that this precision uses.
    pub(crate) fn instructions(self, isa: Isa) -> Isa {
        match self {
            Precision::F32 => isa,
            Precision::Bf16 => isa.with_bf16(),
        }
    }
}

/// A number format that the network can be computed in.
pub(crate) trait LayerValue: Value {
    /// The passes of an operation on maps of these values.
    fn passes(operation: &dyn Operation) -> &dyn Passes<Self>;
}

impl LayerValue for f32 {
    fn passes(operation: &dyn Operation) -> &dyn Passes<f32> {
        operation
    }
}

impl LayerValue for bf16 {
    fn passes(operation: &dyn Operation) -> &dyn Passes<bf16> {
        operation
    }
}

/// Runs `$run` with the type `$values` as the values of a precision.
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
