//! The number format (precision) of activations and its kernels.

use kernels::{Isa, Value, bf16};
use settings::Precision;

use crate::layers::{Operation, Passes};

/// The instruction set together with the bf16 instructions that a precision uses.
pub(crate) fn instructions(precision: Precision, isa: Isa) -> Isa {
    match precision {
        Precision::F32 => isa,
        Precision::Bf16 => isa.with_bf16(),
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
            settings::Precision::F32 => {
                type $values = f32;
                $run
            }
            settings::Precision::Bf16 => {
                type $values = kernels::bf16;
                $run
            }
        }
    };
}
pub(crate) use in_precision;
