//! Coding of a block of values by its largest alone, for transfer: a hundredth or a thousandth of them.
//!
//! The bytes are a scale, little-endian, and the values that are sent, in their order: of each the gap, one
//! byte that tells how many values are left out before it, and the code, one byte in two's complement. A byte
//! of 255 in place of a gap leaves out 255 values and has no code, so that larger gaps are sums. The value is
//! its code, from -127 to 127, times the scale. Values that are left out are zero. A scale that is not finite
//! says that the block had a value which was not.
//!
//! A sender keeps what is not sent and adds it to what it sends next, so that small values, added up, have
//! their turn and nothing is lost in the sum (Stich, Cordonnier and Jaggi, "Sparsified SGD with Memory",
//! 2018). Coding therefore overwrites the values with what is left over.

use crate::Isa;
use crate::elementwise::magnitude_bits;
use crate::quantise::{SMALLEST, round};
use crate::simd::{Loop, dispatch};

/// Number of bytes of the scale.
const SCALE: usize = size_of::<f32>();
/// Number of bytes of a value that is sent: its gap and its code.
const ENTRY: usize = 2;
/// The gap that has no code, and the number of values that it leaves out.
const ESCAPE: u8 = u8::MAX;
/// The largest magnitude of a code.
const MOST_CODE: f32 = 127.0;
/// Values of which so many, or fewer, may be sent whatever the share: a bias of 64 values is worth it.
const FEW: usize = 32;

/// Number of bits of a magnitude that a bucket of the histogram does not tell apart: a bucket has the values
/// of one exponent and one of eight eighths of it.
const FINE: u32 = 20;
/// Number of buckets of the histogram of magnitudes.
const BUCKETS: usize = 1 << (31 - FINE);
/// Number of tables that are counted in side by side: values that follow each other are often of one bucket,
/// and one count would wait for the other.
const TABLES: usize = 4;
/// Number of values of which the largest tells whether any of them is sent.
const GROUP: usize = 32;

/// The share of a block's values that is sent at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// A hundredth.
    Percent,
    /// A thousandth.
    Permille,
}

impl Share {
    /// Returns how many of `values` values are sent at most: their hundredth or thousandth, but 32, or all,
    /// of few.
    pub fn most(self, values: usize) -> usize {
        let part = match self {
            Share::Percent => values / 100,
            Share::Permille => values / 1000,
        };
        part.max(FEW.min(values))
    }

    /// Returns the number of bytes that `values` values become at most.
    pub fn size(self, values: usize) -> usize {
        SCALE + ENTRY * self.most(values) + values / usize::from(ESCAPE)
    }
}

/// Codes the largest of `values` (those of one block), appends the bytes to `to`, and overwrites each value
/// with what is left over of it: the value less the one that [`decode`] makes of it. Which ones are largest is
/// told by their exponents and the first three bits behind; of those that are equal in that and would be too
/// many, the first are sent if there are none larger, else none. A block with a value that is not finite, or
/// so near the greatest float that it would not be when decoded, is coded as NaN, and leaves nothing over.
pub fn encode(isa: Isa, share: Share, values: &mut [f32], to: &mut Vec<u8>) {
    let most = share.most(values.len());
    let chosen = dispatch(isa, Choose { values, most });
    let largest = chosen.iter().map(|&place| magnitude_bits(values[place as usize])).max().unwrap_or(0);
    let scale = f32::from_bits(largest) / MOST_CODE;
    if !(MOST_CODE * scale).is_finite() {
        to.extend(f32::NAN.to_le_bytes());
        values.fill(0.0);
        return;
    }
    to.reserve(share.size(values.len()));
    to.extend(scale.to_le_bytes());
    let mut next = 0;
    for place in chosen.into_iter().map(|place| place as usize) {
        let code = round(&mut values[place], scale, 1.0 / scale) as u8;
        // The value is far smaller than the largest, and stays as it is.
        if code == 0 {
            continue;
        }
        let mut gap = place - next;
        while gap >= usize::from(ESCAPE) {
            to.push(ESCAPE);
            gap -= usize::from(ESCAPE);
        }
        to.extend([gap as u8, code]);
        next = place + 1;
    }
}

/// Returns whether `from`, bytes of any origin, is well formed for a block of `values` values: has a scale, no
/// value behind the block's end, and no gap without a code.
pub fn holds(from: &[u8], values: usize) -> bool {
    let Some((_, mut rest)) = from.split_first_chunk::<SCALE>() else { return false };
    let mut next = 0;
    let mut complete = true;
    while let Some((&gap, behind)) = rest.split_first() {
        next += usize::from(gap);
        complete = gap != ESCAPE;
        rest = behind;
        if complete {
            let Some((_, behind)) = rest.split_first() else { return false };
            next += 1;
            rest = behind;
        }
        if next > values {
            return false;
        }
    }
    complete
}

/// Overwrites `to` with the values that travelled as `from`: zeros where none was sent, NaN everywhere if the
/// scale is not finite.
///
/// # Panics
/// If [`holds`] would not say that `from` is well formed for as many values as `to` has.
pub fn decode(from: &[u8], to: &mut [f32]) {
    to.fill(0.0);
    each(from, to, |to, value| *to = value);
}

/// Adds the values that travelled as `from` to `to`, of which it touches only those that were sent; all
/// become NaN if the scale is not finite.
///
/// # Panics
/// If [`holds`] would not say that `from` is well formed for as many values as `to` has.
pub fn add(from: &[u8], to: &mut [f32]) {
    each(from, to, |to, value| *to += value);
}

/// Calls `take` with each value that was sent and the one of `to` at its place.
fn each(from: &[u8], to: &mut [f32], take: impl Fn(&mut f32, f32)) {
    assert!(holds(from, to.len()), "largest: bytes of {} values", to.len());
    let (scale, mut rest) = from.split_first_chunk::<SCALE>().expect("a scale is held");
    let scale = f32::from_le_bytes(*scale);
    if !scale.is_finite() {
        to.fill(f32::NAN);
        return;
    }
    let mut next = 0;
    while let [gap, behind @ ..] = rest {
        next += usize::from(*gap);
        rest = behind;
        if *gap != ESCAPE {
            take(&mut to[next], f32::from(behind[0] as i8) * scale);
            next += 1;
            rest = &behind[1..];
        }
    }
}

/// The choice of the values that are sent, at most `most`: their places, in order.
struct Choose<'a> {
    values: &'a [f32],
    most: usize,
}

impl Loop<Vec<u32>> for Choose<'_> {
    #[inline(always)]
    fn run(self) -> Vec<u32> {
        let Choose { values, most } = self;
        let threshold = threshold(values, most);
        let is_large = |value: &f32| magnitude_bits(*value) >= threshold;
        // Each place is written, and stays if its value is large: no branch that is hard to foretell.
        let mut places = vec![0; most + GROUP];
        let mut len = 0;
        for (group, first) in values.chunks(GROUP).zip((0..).step_by(GROUP)) {
            let any = match group.first_chunk::<GROUP>() {
                Some(group) => group.iter().copied().map(magnitude_bits).fold(0, u32::max) >= threshold,
                None => true,
            };
            if !any {
                continue;
            }
            for (value, place) in group.iter().zip(first..) {
                places[len] = place;
                len += usize::from(is_large(value));
            }
            if len >= most {
                break;
            }
        }
        places.truncate(len.min(most));
        places
    }
}

/// Returns the bits of the smallest magnitude that is sent: the lower end of a bucket such that the values
/// from there on are at most `most`, or all of one bucket.
#[inline(always)]
fn threshold(values: &[f32], most: usize) -> u32 {
    let smallest = SMALLEST.to_bits();
    if values.len() <= most {
        return smallest;
    }
    let mut tables = [[0u32; BUCKETS]; TABLES];
    let (pieces, rest) = values.as_chunks::<TABLES>();
    for piece in pieces {
        for (value, table) in piece.iter().zip(&mut tables) {
            table[(magnitude_bits(*value) >> FINE) as usize] += 1;
        }
    }
    for value in rest {
        tables[0][(magnitude_bits(*value) >> FINE) as usize] += 1;
    }
    let mut chosen = 0;
    for bucket in (0..BUCKETS).rev() {
        let with = chosen + tables.iter().map(|table| table[bucket] as usize).sum::<usize>();
        if chosen > 0 && with > most {
            return smallest.max((bucket as u32 + 1) << FINE);
        }
        chosen = with;
    }
    smallest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{all_isas, random};
    use proptest::prelude::*;

    const ALL: [Share; 2] = [Share::Percent, Share::Permille];

    /// Returns the bytes of `values`, what was left over, and what the bytes decode to.
    fn coded(isa: Isa, share: Share, values: &[f32]) -> (Vec<u8>, Vec<f32>, Vec<f32>) {
        let (mut rest, mut bytes) = (values.to_vec(), vec![0xa5; 3]);
        encode(isa, share, &mut rest, &mut bytes);
        let bytes = bytes.split_off(3);
        assert!(bytes.len() <= share.size(values.len()) && holds(&bytes, values.len()));
        let mut decoded = vec![f32::NAN; values.len()];
        decode(&bytes, &mut decoded);
        (bytes, rest, decoded)
    }

    /// Returns the bytes of finite values by the definition: a sort instead of a histogram.
    fn expected(share: Share, values: &[f32]) -> Vec<u8> {
        let bucket = |value: f32| value.abs().to_bits() >> 20;
        let mut magnitudes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
        magnitudes.sort_by(|one, other| other.total_cmp(one));
        let most = share.most(values.len());
        let from = |bound: u32| (0..values.len()).filter(move |&i| bucket(values[i]) >= bound);
        let first_without_place = magnitudes.get(most).map_or(0, |value| bucket(*value) + 1);
        let mut chosen: Vec<usize> = from(first_without_place).collect();
        if chosen.is_empty() {
            chosen = from(first_without_place - 1).collect();
        }
        chosen.retain(|&i| values[i].abs() >= 1e-30);
        chosen.truncate(most);
        let scale = chosen.iter().fold(0.0f32, |largest, &i| largest.max(values[i].abs())) / 127.0;
        let mut bytes = scale.to_le_bytes().to_vec();
        let mut next = 0;
        for i in chosen {
            let code = (values[i] * (1.0 / scale)).round_ties_even() as i8;
            if code != 0 {
                bytes.extend(vec![255; (i - next) / 255]);
                bytes.extend([((i - next) % 255) as u8, code as u8]);
                next = i + 1;
            }
        }
        bytes
    }

    /// Blocks as they are: most values small, of magnitudes that differ from tensor to tensor, many of them
    /// zero or the same, or all.
    fn blocks() -> impl Strategy<Value = Vec<f32>> {
        let len = prop_oneof![8 => 1..600usize, 1 => Just(9408usize)];
        (len, -35i32..35, 0..8u32, 0..3u8, any::<u32>()).prop_map(|(len, exponent, power, kind, seed)| {
            let value = |value: f32| match kind {
                0 => value.abs().powi(power as i32).copysign(value),
                1 => (value * 1.5f32.powi(power as i32)).trunc(),
                _ => value.signum(),
            };
            random(len, seed.into()).into_iter().map(|x| value(x) * 10f32.powi(exponent)).collect()
        })
    }

    fn check(values: &[f32]) {
        for share in ALL {
            let reference = coded(Isa::scalar(), share, values);
            for isa in all_isas::<f32>() {
                assert!(coded(isa, share, values) == reference, "{share:?}, {}", isa.name());
            }
            let (bytes, rest, decoded) = reference;
            assert!(bytes == expected(share, values), "{share:?}");
            let scale = f32::from_le_bytes(*bytes.first_chunk().unwrap());
            let sent = decoded.iter().filter(|value| **value != 0.0).count();
            assert!(sent <= share.most(values.len()));
            assert!(sent > 0 || values.iter().all(|value| value.abs() < 1e-30));
            for ((value, rest), decoded) in values.iter().zip(&rest).zip(&decoded) {
                if *decoded == 0.0 {
                    assert_eq!(value.to_bits(), rest.to_bits());
                } else {
                    assert!((value - decoded).abs() <= 0.5001 * scale, "{value} became {decoded}");
                    assert!((value - decoded - rest).abs() <= 1e-4 * scale, "{value}: {decoded} and {rest}");
                }
            }
            let before = random(values.len(), 7);
            let mut sums = before.clone();
            add(&bytes, &mut sums);
            let expected = before.iter().zip(&decoded).map(|(before, value)| before + value);
            assert!(sums.iter().copied().eq(expected), "{share:?}");
        }
    }

    proptest! {
        #[test]
        fn the_largest_arrive_and_the_others_are_left_over(values in blocks()) {
            check(&values);
        }

        #[test]
        fn bytes_of_any_origin_are_told_apart(
            bytes in prop::collection::vec(prop_oneof![0..4u8, any::<u8>(), 255..=255u8], 0..24), len in 0..2000usize,
        ) {
            let mut place = 0;
            let mut rest = bytes.iter().skip(4);
            let mut well_formed = bytes.len() >= 4;
            while let Some(gap) = rest.next() {
                place += usize::from(*gap);
                if *gap == 255 {
                    well_formed &= rest.len() > 0;
                } else {
                    well_formed &= place < len && rest.next().is_some();
                    place += 1;
                }
            }
            prop_assert_eq!(holds(&bytes, len), well_formed);
            if well_formed {
                decode(&bytes, &mut vec![0.0; len]);
                add(&bytes, &mut vec![0.0; len]);
            }
        }
    }

    #[test]
    fn a_large_block_is_coded_alike() {
        let values: Vec<f32> = random(262_144, 5).into_iter().map(|x| x.powi(9)).collect();
        check(&values);
        let (bytes, ..) = coded(Isa::detect(), Share::Percent, &values);
        // Two bytes for each value, and one for each 255 values that are left out.
        assert!((3_000..5_700).contains(&bytes.len()), "{}", bytes.len());
    }

    /// Sums of decoded values lag behind the sums of what was sent by what is left over, and no more, if that is
    /// added to the next values each time.
    #[test]
    fn with_what_is_left_over_nothing_is_lost_in_the_sum() {
        for share in ALL {
            let mut rest = vec![0.0; 300];
            let (mut sent, mut arrived) = (vec![0f64; 300], vec![0f32; 300]);
            for round in 0..200 {
                let values = random(300, round);
                for ((rest, sent), value) in rest.iter_mut().zip(&mut sent).zip(&values) {
                    *rest += value;
                    *sent += f64::from(*value);
                }
                let mut bytes = Vec::new();
                encode(Isa::detect(), share, &mut rest, &mut bytes);
                add(&bytes, &mut arrived);
            }
            for ((sent, arrived), rest) in sent.iter().zip(&arrived).zip(&rest) {
                assert!((sent - f64::from(arrived + rest)).abs() < 1e-3, "{share:?}");
                // Of 300 values 32 are sent at a time, those that have added up to more than the others.
                assert!(rest.abs() < 6.0, "{share:?}: {rest}");
            }
        }
    }

    #[test]
    fn equal_values_have_their_turn_one_after_the_other() {
        let mut rest = vec![0.0; 4_000];
        let mut arrived = vec![0.0; 4_000];
        for _ in 0..200 {
            rest.iter_mut().for_each(|rest| *rest += 1.0);
            let mut bytes = Vec::new();
            encode(Isa::detect(), Share::Percent, &mut rest, &mut bytes);
            add(&bytes, &mut arrived);
        }
        // Each hundredth of them waits a hundred rounds.
        assert!(arrived.iter().all(|sum| (80.0..=200.0).contains(sum)));
    }

    #[test]
    fn what_is_not_finite_is_told_and_left_to_nobody() {
        for isa in all_isas::<f32>() {
            for share in ALL {
                for (bad, len) in [(f32::NAN, 9_000), (f32::INFINITY, 300), (f32::NEG_INFINITY, 10)] {
                    for values in [vec![bad; len], [random(len - 1, 1), vec![bad]].concat()] {
                        let (bytes, rest, decoded) = coded(isa, share, &values);
                        let name = format!("{share:?}, {}", isa.name());
                        assert_eq!(bytes, f32::NAN.to_le_bytes(), "{name}");
                        assert!(decoded.iter().all(|value| value.is_nan()), "{name}");
                        assert_eq!(rest, vec![0.0; len], "{name}");
                        let mut sums = random(len, 2);
                        add(&bytes, &mut sums);
                        assert!(sums.iter().all(|value| value.is_nan()), "{name}");
                    }
                }
            }
        }
    }

    #[test]
    fn zeros_and_values_that_are_too_small_stay() {
        for value in [0.0, -0.0, 1e-38, f32::from_bits(1), 0.999e-30] {
            for len in [1, 17, 1000] {
                let (bytes, rest, decoded) = coded(Isa::detect(), Share::Permille, &vec![value; len]);
                assert_eq!((bytes, rest, decoded), (vec![0; 4], vec![value; len], vec![0.0; len]));
            }
        }
        let (_, rest, decoded) = coded(Isa::detect(), Share::Percent, &[]);
        assert!(rest.is_empty() && decoded.is_empty());
    }

    #[test]
    fn no_infinity_is_made_of_the_greatest_floats() {
        let (_, rest, decoded) = coded(Isa::detect(), Share::Percent, &[3.4e38, -3.4e38, 1.0]);
        assert!(rest.iter().chain(&decoded).all(|value| value.is_finite()), "{rest:?}, {decoded:?}");
        let (_, rest, decoded) = coded(Isa::detect(), Share::Percent, &[f32::MAX, f32::MIN, 1.0]);
        assert!(rest == [0.0; 3] && decoded.iter().all(|value| value.is_nan()), "{rest:?}, {decoded:?}");
    }

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let mut values = vec![0.0; 1200];
        (values[1], values[2], values[258], values[1199]) = (-127.0, 2.4, 3.0, 126.9);
        // In the last place but one a value that is too small beside the others: half a scale and less is zero.
        values[1198] = 0.5;
        let (bytes, rest, _) = coded(Isa::detect(), Share::Percent, &values);
        let entries = [1, 0x81, 0, 2, 255, 0, 3, 255, 255, 255, 175, 127];
        assert_eq!(bytes, [[0, 0, 0x80, 0x3f].as_slice(), &entries].concat());
        assert_eq!((rest[1], rest[258], rest[1198]), (0.0, 0.0, 0.5));
        assert!((rest[2] - 0.4).abs() < 1e-6 && (rest[1199] + 0.1).abs() < 1e-4);
        assert_eq!((Share::Percent.most(262_144), Share::Permille.most(262_144)), (2621, 262));
        assert_eq!((Share::Percent.most(64), Share::Permille.most(7)), (32, 7));
    }

    #[test]
    fn bytes_that_are_not_well_formed_are_told() {
        let scale = [0, 0, 0x80, 0x3f];
        let held = |entries: &[u8]| holds(&[&scale, entries].concat(), 300);
        assert!(held(&[]) && held(&[0, 1]) && held(&[255, 44, 1]));
        assert!(!held(&[7]), "a gap without a code");
        assert!(!held(&[255]), "a gap that leads nowhere");
        assert!(!held(&[255, 45, 1]), "a value behind the end");
        assert!(!held(&[255, 44, 1, 0, 1]), "one more behind the end");
        assert!(!holds(&scale[..3], 300), "half a scale");
    }
}
