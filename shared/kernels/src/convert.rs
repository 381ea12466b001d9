//! Conversion between f32 and bf16 for transfer: half the bytes, with the full exponent range of f32.

use crate::Isa;
use crate::simd::{Loop, dispatch};
use half::bf16;

/// Rounds each value to the nearest bf16, ties to even; NaN stays NaN.
///
/// # Panics
/// If the slices differ in length.
pub fn to_bf16(isa: Isa, from: &[f32], to: &mut [bf16]) {
    check_lengths(from.len(), to.len());
    dispatch(isa, Narrow { from, to });
}

/// Converts each bf16 to an f32 of exactly the same value.
///
/// # Panics
/// If the slices differ in length.
pub fn from_bf16(isa: Isa, from: &[bf16], to: &mut [f32]) {
    check_lengths(from.len(), to.len());
    dispatch(isa, Widen { from, to });
}

struct Narrow<'a> {
    from: &'a [f32],
    to: &'a mut [bf16],
}

impl Loop for Narrow<'_> {
    #[inline(always)]
    fn run(self) {
        for (to, from) in self.to.iter_mut().zip(self.from) {
            let bits = from.to_bits();
            // Adding just under half of the last kept bit, or half where that bit is odd, carries if due.
            let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
            // The quiet bit keeps a NaN whose payload lies in the lower half from becoming infinity.
            let quiet = bits >> 16 | 0x40;
            *to = bf16::from_bits(if from.is_nan() { quiet } else { rounded } as u16);
        }
    }
}

struct Widen<'a> {
    from: &'a [bf16],
    to: &'a mut [f32],
}

impl Loop for Widen<'_> {
    #[inline(always)]
    fn run(self) {
        for (to, from) in self.to.iter_mut().zip(self.from) {
            *to = f32::from_bits(u32::from(from.to_bits()) << 16);
        }
    }
}

fn check_lengths(from: usize, to: usize) {
    assert!(from == to, "conversion: expected slices of one length, found {from} and {to}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::all_isas;
    use proptest::prelude::*;

    fn narrow(isa: Isa, from: &[f32]) -> Vec<bf16> {
        let mut to = vec![bf16::ZERO; from.len()];
        to_bf16(isa, from, &mut to);
        to
    }

    #[test]
    fn ties_go_to_even_and_nan_stays_nan() {
        let cases = [
            (0x3f80_8000, 0x3f80), // a tie, down to even
            (0x3f81_8000, 0x3f82), // a tie, up to even
            (0x3f80_8001, 0x3f81),
            (0x3f80_7fff, 0x3f80),
            (0x7f7f_ffff, 0x7f80), // the greatest float rounds to infinity
            (0x7f80_0000, 0x7f80),
            (0x8000_0000, 0x8000),
            (0x0000_8001, 0x0001), // subnormal
        ];
        for isa in all_isas::<f32>() {
            for (from, expected) in cases {
                for len in [1, 16, 17] {
                    let to = narrow(isa, &vec![f32::from_bits(from); len]);
                    assert!(to.iter().all(|to| to.to_bits() == expected), "{from:x} {}", isa.name());
                }
            }
            // A NaN whose payload lies in the lower half must not become infinity.
            for nan in [0x7f80_0001, 0xff80_0001, 0x7fff_ffff, 0xffff_ffff] {
                assert!(narrow(isa, &[f32::from_bits(nan); 17]).iter().all(|to| to.is_nan()));
            }
        }
    }

    proptest! {
        #[test]
        fn every_bit_pattern_converts_as_the_half_crate_does(bits in prop::collection::vec(any::<u32>(), 0..70)) {
            let from: Vec<f32> = bits.iter().map(|&bits| f32::from_bits(bits)).collect();
            for isa in all_isas::<f32>() {
                let to = narrow(isa, &from);
                let mut back = vec![0.0; to.len()];
                from_bf16(isa, &to, &mut back);
                for ((from, to), back) in from.iter().zip(&to).zip(&back) {
                    let expected = bf16::from_f32(*from);
                    prop_assert!(expected.to_bits() == to.to_bits() || expected.is_nan() && to.is_nan());
                    prop_assert_eq!(to.to_f32().to_bits(), back.to_bits());
                }
            }
        }
    }
}
