//! Coding of values by 8, 4 or 1 bits for transfer, in groups of 256 with a scale each.
//!
//! The codes of a group lie in planes, so that neither packing nor unpacking moves a value to another lane:
//! of 4 bits, byte `i` holds value `i` in its lower half and value `128 + i` in its upper; of 1 bit, bit `b`
//! of byte `i` belongs to value `32 b + i`. A group is the 4 bytes of its scale, little-endian, and its
//! codes. The last group of a slice is filled up with zeros.
//!
//! A sender keeps what a code leaves over and adds it to what it sends next, so that in the sum nothing is
//! lost (Seide et al., "1-Bit Stochastic Gradient Descent and its Application to Data-Parallel Distributed
//! Training of Speech DNNs", 2014). Coding therefore overwrites the values with what is left over.

use crate::Isa;
use crate::elementwise::magnitude_bits;
use crate::simd::{Loop, dispatch};

/// Number of values that share a scale.
const GROUP: usize = 256;
/// Number of bytes of a scale.
const SCALE: usize = size_of::<f32>();
/// Smallest magnitude, as the largest of its group, of which codes are made; smaller ones wait until they
/// have added up.
pub(crate) const SMALLEST: f32 = 1e-30;
/// The float whose last bit counts ones: a value of small magnitude that is added to it is rounded to a whole
/// number, in two's complement in the last bits.
const ROUNDING: f32 = 12_582_912.0;

/// Number of bits of a value's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// Whole numbers from -127 to 127, in units of 1/127 of the largest magnitude of the group.
    Eight,
    /// Whole numbers from -7 to 7, in units of 1/7 of the largest magnitude of the group.
    Four,
    /// The sign; the magnitude is the mean magnitude of the group.
    One,
}

impl Bits {
    /// Returns the number of bytes that `values` values become.
    pub fn size(self, values: usize) -> usize {
        let codes = match self {
            Bits::Eight => Eight::BYTES,
            Bits::Four => Four::BYTES,
            Bits::One => One::BYTES,
        };
        values.div_ceil(GROUP) * (SCALE + codes)
    }
}

/// Codes values as bytes, and overwrites each with what the code leaves over of it: the value less the one
/// that [`dequantise`] makes of its code. A group with a value that is not finite is coded as NaN, and leaves
/// nothing over.
///
/// # Panics
/// If `to` has not as many bytes as [`Bits::size`] says.
pub fn quantise(isa: Isa, bits: Bits, values: &mut [f32], to: &mut [u8]) {
    check(bits, values.len(), to.len());
    match bits {
        Bits::Eight => dispatch(isa, Encode { _code: Eight, values, to }),
        Bits::Four => dispatch(isa, Encode { _code: Four, values, to }),
        Bits::One => dispatch(isa, Encode { _code: One, values, to }),
    }
}

/// Overwrites `to` with the values that [`quantise`] coded as `from`.
///
/// # Panics
/// If `from` has not as many bytes as [`Bits::size`] says.
pub fn dequantise(isa: Isa, bits: Bits, from: &[u8], to: &mut [f32]) {
    check(bits, to.len(), from.len());
    match bits {
        Bits::Eight => dispatch(isa, Decode { _code: Eight, from, to }),
        Bits::Four => dispatch(isa, Decode { _code: Four, from, to }),
        Bits::One => dispatch(isa, Decode { _code: One, from, to }),
    }
}

/// Adds the values that [`quantise`] coded as `from` to those in `to`. The sums have the same bits on every
/// instruction set.
///
/// # Panics
/// If `from` has not as many bytes as [`Bits::size`] says.
pub fn add_dequantised(isa: Isa, bits: Bits, from: &[u8], to: &mut [f32]) {
    check(bits, to.len(), from.len());
    match bits {
        Bits::Eight => dispatch(isa, Add { _code: Eight, from, to }),
        Bits::Four => dispatch(isa, Add { _code: Four, from, to }),
        Bits::One => dispatch(isa, Add { _code: One, from, to }),
    }
}

fn check(bits: Bits, values: usize, bytes: usize) {
    assert_eq!(bytes, bits.size(values), "quantise: bytes of {values} values");
}

/// The code of a group of values. Its methods are `#[inline(always)]`, as they are compiled for each
/// instruction set where they are called.
trait Code {
    /// Number of bytes of the codes of a group.
    const BYTES: usize;

    /// Returns the scale of a group of which `len` values are not filling.
    fn scale(values: &[f32; GROUP], len: usize) -> f32;

    /// Writes the codes of a group, and overwrites its values with what is left over.
    fn encode(scale: f32, values: &mut [f32; GROUP], codes: &mut [u8]);

    /// Writes the values of a group's codes.
    fn decode(scale: f32, codes: &[u8], values: &mut [f32; GROUP]);
}

struct Encode<'a, C> {
    _code: C,
    values: &'a mut [f32],
    to: &'a mut [u8],
}

impl<C: Code> Loop for Encode<'_, C> {
    #[inline(always)]
    fn run(self) {
        let (groups, rest) = self.values.as_chunks_mut::<GROUP>();
        let mut places = self.to.chunks_exact_mut(SCALE + C::BYTES);
        for (group, place) in groups.iter_mut().zip(&mut places) {
            encode_group::<C>(group, GROUP, place);
        }
        if let Some(place) = places.next() {
            let mut group = [0.0; GROUP];
            group[..rest.len()].copy_from_slice(rest);
            encode_group::<C>(&mut group, rest.len(), place);
            rest.copy_from_slice(&group[..rest.len()]);
        }
    }
}

#[inline(always)]
fn encode_group<C: Code>(values: &mut [f32; GROUP], len: usize, place: &mut [u8]) {
    let scale = C::scale(values, len);
    let (scale_place, codes) = place.split_at_mut(SCALE);
    if scale.is_finite() {
        scale_place.copy_from_slice(&scale.to_le_bytes());
        C::encode(scale, values, codes);
    } else {
        scale_place.copy_from_slice(&f32::NAN.to_le_bytes());
        // Zero times NaN is NaN too, but a code that is not written would be whatever was there before.
        codes.fill(0);
        values.fill(0.0);
    }
}

struct Decode<'a, C> {
    _code: C,
    from: &'a [u8],
    to: &'a mut [f32],
}

impl<C: Code> Loop for Decode<'_, C> {
    #[inline(always)]
    fn run(self) {
        let (groups, rest) = self.to.as_chunks_mut::<GROUP>();
        let mut places = self.from.chunks_exact(SCALE + C::BYTES);
        for (group, place) in groups.iter_mut().zip(&mut places) {
            decode_group::<C>(place, group);
        }
        if let Some(place) = places.next() {
            let mut group = [0.0; GROUP];
            decode_group::<C>(place, &mut group);
            rest.copy_from_slice(&group[..rest.len()]);
        }
    }
}

struct Add<'a, C> {
    _code: C,
    from: &'a [u8],
    to: &'a mut [f32],
}

impl<C: Code> Loop for Add<'_, C> {
    #[inline(always)]
    fn run(self) {
        let mut group = [0.0; GROUP];
        for (values, place) in self.to.chunks_mut(GROUP).zip(self.from.chunks_exact(SCALE + C::BYTES)) {
            decode_group::<C>(place, &mut group);
            values.iter_mut().zip(&group).for_each(|(sum, value)| *sum += value);
        }
    }
}

#[inline(always)]
fn decode_group<C: Code>(place: &[u8], values: &mut [f32; GROUP]) {
    let (scale, codes) = place.split_at(SCALE);
    let scale = f32::from_le_bytes([scale[0], scale[1], scale[2], scale[3]]);
    C::decode(scale, codes, values);
}

/// Returns the unit in which the largest magnitude of a group is `most`; 0 if all are too small.
#[inline(always)]
fn unit(values: &[f32; GROUP], most: f32) -> f32 {
    let largest = f32::from_bits(values.iter().copied().map(magnitude_bits).fold(0, u32::max));
    if largest < SMALLEST { 0.0 } else { largest / most }
}

/// Returns the factor that turns values into multiples of `unit`.
#[inline(always)]
fn inverse(unit: f32) -> f32 {
    if unit == 0.0 { 0.0 } else { 1.0 / unit }
}

/// Rounds a value to the nearest multiple of `unit`, ties to even; overwrites it with what is left over, and
/// returns the multiple, in two's complement in the last bits.
#[inline(always)]
pub(crate) fn round(value: &mut f32, unit: f32, inverse: f32) -> u32 {
    let rounded = *value * inverse + ROUNDING;
    *value -= (rounded - ROUNDING) * unit;
    rounded.to_bits()
}

struct Eight;

impl Code for Eight {
    const BYTES: usize = GROUP;

    #[inline(always)]
    fn scale(values: &[f32; GROUP], _len: usize) -> f32 {
        unit(values, 127.0)
    }

    #[inline(always)]
    fn encode(scale: f32, values: &mut [f32; GROUP], codes: &mut [u8]) {
        let inverse = inverse(scale);
        for (value, code) in values.iter_mut().zip(codes) {
            *code = round(value, scale, inverse) as u8;
        }
    }

    #[inline(always)]
    fn decode(scale: f32, codes: &[u8], values: &mut [f32; GROUP]) {
        for (value, code) in values.iter_mut().zip(codes) {
            *value = f32::from(*code as i8) * scale;
        }
    }
}

struct Four;

impl Code for Four {
    const BYTES: usize = GROUP / 2;

    #[inline(always)]
    fn scale(values: &[f32; GROUP], _len: usize) -> f32 {
        unit(values, 7.0)
    }

    #[inline(always)]
    fn encode(scale: f32, values: &mut [f32; GROUP], codes: &mut [u8]) {
        let inverse = inverse(scale);
        let (lower, upper) = values.split_at_mut(Self::BYTES);
        for ((lower, upper), code) in lower.iter_mut().zip(upper).zip(codes) {
            let (lower, upper) = (round(lower, scale, inverse), round(upper, scale, inverse));
            *code = (lower & 0xf | upper << 4) as u8;
        }
    }

    #[inline(always)]
    fn decode(scale: f32, codes: &[u8], values: &mut [f32; GROUP]) {
        let (lower, upper) = values.split_at_mut(Self::BYTES);
        for ((lower, upper), code) in lower.iter_mut().zip(upper).zip(codes) {
            // Shifted to the right, a signed number keeps its sign.
            *lower = f32::from((*code << 4) as i8 >> 4) * scale;
            *upper = f32::from(*code as i8 >> 4) * scale;
        }
    }
}

struct One;

impl Code for One {
    const BYTES: usize = GROUP / 8;

    #[inline(always)]
    fn scale(values: &[f32; GROUP], len: usize) -> f32 {
        // Sixteen sums, so that the order of the additions is the same on every instruction set.
        let mut sums = [0.0; 16];
        for values in values.as_chunks::<16>().0 {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value.abs();
            }
        }
        sums.iter().sum::<f32>() / len as f32
    }

    #[inline(always)]
    fn encode(scale: f32, values: &mut [f32; GROUP], codes: &mut [u8]) {
        codes.fill(0);
        for (bit, values) in values.as_chunks_mut::<{ One::BYTES }>().0.iter_mut().enumerate() {
            for (value, code) in values.iter_mut().zip(&mut *codes) {
                let sign = value.to_bits() & SIGN;
                *value -= f32::from_bits(scale.to_bits() | sign);
                *code |= ((sign >> 31) as u8) << bit;
            }
        }
    }

    #[inline(always)]
    fn decode(scale: f32, codes: &[u8], values: &mut [f32; GROUP]) {
        for (bit, values) in values.as_chunks_mut::<{ One::BYTES }>().0.iter_mut().enumerate() {
            for (value, code) in values.iter_mut().zip(codes) {
                *value = f32::from_bits(scale.to_bits() | u32::from(*code >> bit) << 31);
            }
        }
    }
}

/// The bit of a float that is its sign.
const SIGN: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::all_isas;
    use proptest::prelude::*;

    const ALL: [Bits; 3] = [Bits::Eight, Bits::Four, Bits::One];

    /// Returns the bytes of `values`, what was left over, and what the bytes decode to.
    fn coded(isa: Isa, bits: Bits, values: &[f32]) -> (Vec<u8>, Vec<f32>, Vec<f32>) {
        let (mut rest, mut bytes) = (values.to_vec(), vec![0xa5; bits.size(values.len())]);
        quantise(isa, bits, &mut rest, &mut bytes);
        let mut decoded = vec![f32::NAN; values.len()];
        dequantise(isa, bits, &bytes, &mut decoded);
        (bytes, rest, decoded)
    }

    /// Returns what the values of a group decode to, in f64 and by the definition.
    fn expected(bits: Bits, group: &[f32]) -> Vec<f64> {
        let largest = group.iter().fold(0.0f64, |largest, value| largest.max(f64::from(value.abs())));
        let multiple = |value: f32, most: f64| match largest {
            0.0 => 0.0,
            _ => (f64::from(value) / largest * most).round_ties_even() * largest / most,
        };
        let mean = group.iter().map(|value| f64::from(value.abs())).sum::<f64>() / group.len() as f64;
        let value = |value: &f32| match bits {
            Bits::Eight => multiple(*value, 127.0),
            Bits::Four => multiple(*value, 7.0),
            Bits::One => mean.copysign(f64::from(*value)),
        };
        group.iter().map(value).collect()
    }

    /// Gradients as they are: most of them small, of magnitudes that differ from tensor to tensor.
    fn gradients() -> impl Strategy<Value = Vec<f32>> {
        let len = prop_oneof![4 => 1..70usize, 4 => 200..600usize, 1 => Just(9408usize)];
        (len, -20i32..20, any::<u64>()).prop_map(|(len, exponent, seed)| {
            let cube = |value: f32| value * value * value * 10f32.powi(exponent);
            crate::testing::random(len, seed >> 32).into_iter().map(cube).collect()
        })
    }

    proptest! {
        #[test]
        fn a_value_is_its_code_and_what_is_left_over(values in gradients()) {
            for bits in ALL {
                let reference = coded(Isa::scalar(), bits, &values);
                for isa in all_isas::<f32>() {
                    prop_assert!(coded(isa, bits, &values) == reference, "{bits:?}, {}", isa.name());
                }
                let (bytes, rest, decoded) = reference;
                let before: Vec<f32> = values.iter().rev().copied().collect();
                let expected_sums: Vec<f32> = before.iter().zip(&decoded).map(|(one, other)| one + other).collect();
                for isa in all_isas::<f32>() {
                    let mut sums = before.clone();
                    add_dequantised(isa, bits, &bytes, &mut sums);
                    prop_assert!(sums == expected_sums, "{bits:?}, {}", isa.name());
                }
                for (((group, rest), decoded), at) in
                    values.chunks(GROUP).zip(rest.chunks(GROUP)).zip(decoded.chunks(GROUP)).zip(0..)
                {
                    let largest = group.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                    let expected = expected(bits, group);
                    let unit = match bits { Bits::Eight => 127.0, Bits::Four => 7.0, Bits::One => 1e3 };
                    let unit = f64::from(largest) / unit;
                    for (i, value) in group.iter().enumerate() {
                        let difference = (f64::from(decoded[i]) - expected[i]).abs();
                        // A value in the middle of two multiples may go to either.
                        let middle = ((f64::from(*value) - expected[i]).abs() - unit / 2.0).abs() < 1e-4 * unit;
                        prop_assert!(
                            difference <= 1e-5 * f64::from(largest) || middle && difference <= 1.001 * unit,
                            "{bits:?} {at}.{i}: {value} became {}, expected {}", decoded[i], expected[i]
                        );
                        let sum = f64::from(decoded[i]) + f64::from(rest[i]);
                        prop_assert!((sum - f64::from(*value)).abs() <= 1e-6 * f64::from(largest));
                    }
                }
            }
        }
    }

    /// Sums of decoded values lag behind the sums of what was sent by what is left over, and no more, if that is
    /// added to the next values each time.
    #[test]
    fn with_what_is_left_over_nothing_is_lost_in_the_sum() {
        for bits in ALL {
            let mut rest = vec![0.0; 300];
            let (mut sent, mut arrived) = (vec![0f64; 300], vec![0f64; 300]);
            for round in 0..200 {
                let values = crate::testing::random(300, round);
                for ((rest, sent), value) in rest.iter_mut().zip(&mut sent).zip(&values) {
                    *rest += value;
                    *sent += f64::from(*value);
                }
                let mut bytes = vec![0; bits.size(300)];
                quantise(Isa::detect(), bits, &mut rest, &mut bytes);
                let mut decoded = vec![0.0; 300];
                dequantise(Isa::detect(), bits, &bytes, &mut decoded);
                arrived.iter_mut().zip(&decoded).for_each(|(sum, value)| *sum += f64::from(*value));
            }
            for ((sent, arrived), rest) in sent.iter().zip(&arrived).zip(&rest) {
                assert!((sent - arrived - f64::from(*rest)).abs() < 1e-3, "{bits:?}");
                // The mean of a group's magnitudes is some 0.5; values that go the same way for long wait.
                assert!(rest.abs() < 12.0, "{bits:?}: {rest}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_told_and_left_to_nobody() {
        for isa in all_isas::<f32>() {
            for bits in ALL {
                for (bad, len) in [(f32::NAN, 300), (f32::INFINITY, 300), (f32::NEG_INFINITY, 10)] {
                    let mut values = crate::testing::random(len, 1);
                    values[len - 1] = bad;
                    let (_, rest, decoded) = coded(isa, bits, &values);
                    let first = (len - 1) / GROUP * GROUP;
                    let name = format!("{bits:?}, {}", isa.name());
                    assert!(decoded[first..].iter().all(|value| value.is_nan()), "{name}");
                    assert!(decoded[..first].iter().all(|value| value.is_finite()), "{name}");
                    assert!(rest.iter().all(|value| value.is_finite()), "{name}");
                }
            }
        }
    }

    #[test]
    fn zeros_and_values_that_are_too_small_stay() {
        for bits in [Bits::Eight, Bits::Four] {
            for value in [0.0, -0.0, 1e-38, f32::from_bits(1)] {
                let (_, rest, decoded) = coded(Isa::detect(), bits, &[value; 17]);
                assert_eq!((rest, decoded), (vec![value; 17], vec![0.0; 17]), "{bits:?}");
            }
        }
        let (_, rest, decoded) = coded(Isa::detect(), Bits::One, &[0.0; 17]);
        assert_eq!((rest, decoded), (vec![0.0; 17], vec![0.0; 17]));
    }

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let mut values = vec![0.0; 130];
        (values[0], values[1], values[128], values[129]) = (7.0, -2.0, -7.0, 3.4);
        let (bytes, ..) = coded(Isa::detect(), Bits::Four, &values);
        assert_eq!((bytes.len(), &bytes[..6]), (132, [0, 0, 0x80, 0x3f, 0x97, 0x3e].as_slice()));
        let (bytes, ..) = coded(Isa::detect(), Bits::Eight, &[127.0, -1.0, 2.4]);
        assert_eq!((bytes.len(), &bytes[..8]), (260, [0, 0, 0x80, 0x3f, 0x7f, 0xff, 2, 0].as_slice()));
        let mut values = vec![1.0; 256];
        (values[3], values[32 * 5 + 3]) = (-1.0, -1.0);
        let (bytes, ..) = coded(Isa::detect(), Bits::One, &values);
        assert_eq!((bytes.len(), &bytes[..9]), (36, [0, 0, 0x80, 0x3f, 0, 0, 0, 0x21, 0].as_slice()));
    }
}
