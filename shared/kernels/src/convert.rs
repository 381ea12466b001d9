//! f32 to bf16 and back, for the wire: half the bytes, the exponent's whole range.

use crate::Isa;
use half::bf16;

/// Rounds to the nearest bf16, ties to even; NaN stays NaN.
pub fn to_bf16(_isa: Isa, from: &[f32], to: &mut [bf16]) {
    check_lengths(from.len(), to.len());
    for (to, from) in to.iter_mut().zip(from) {
        *to = bf16::from_f32(*from);
    }
}

/// Widens; exact.
pub fn from_bf16(_isa: Isa, from: &[bf16], to: &mut [f32]) {
    check_lengths(from.len(), to.len());
    for (to, from) in to.iter_mut().zip(from) {
        *to = from.to_f32();
    }
}

fn check_lengths(from: usize, to: usize) {
    assert!(from == to, "conversion: expected slices of one length, found {from} and {to}");
}
