//! Dropout. The mask is a pure function of a row's seed and the position, so that the forward pass, the
//! backward pass and any replay of a step agree on it without storing it, on every instruction set.

use crate::Isa;
use crate::simd::{Loop, dispatch};

/// Zeroes each value with probability `drop` (`0 <= drop < 1`) and multiplies the others by `1 / (1 - drop)`;
/// `rows` is `[seeds.len()][width]`, and the seed of a row alone decides which of its values are zeroed.
/// Applied to the gradient with the same seeds, the function is its own backward pass.
///
/// # Panics
/// If `drop` is outside `0..1` or the rows are not of equal width.
pub fn dropout(isa: Isa, seeds: &[u64], drop: f32, rows: &mut [f32]) {
    assert!((0.0..1.0).contains(&drop), "dropout: expected a rate in 0..1, found {drop}");
    if seeds.is_empty() {
        assert!(rows.is_empty(), "dropout: expected no values for no rows, found {}", rows.len());
        return;
    }
    assert!(
        rows.len().is_multiple_of(seeds.len()),
        "dropout: expected {} rows of equal width, found {} values",
        seeds.len(),
        rows.len()
    );
    let width = rows.len() / seeds.len();
    if width == 0 {
        return;
    }
    // A hash is uniform over 2^32 values; values below the threshold are dropped.
    let threshold = (f64::from(drop) * 2f64.powi(32)) as u32;
    let scale = 1.0 / (1.0 - drop);
    for (row, &seed) in rows.chunks_exact_mut(width).zip(seeds) {
        dispatch(isa, Mask { key: key(seed), threshold, scale, row });
    }
}

struct Mask<'a> {
    key: [u32; 2],
    threshold: u32,
    scale: f32,
    row: &'a mut [f32],
}

impl Loop for Mask<'_> {
    #[inline(always)]
    fn run(self) {
        for (position, value) in (0u32..).zip(self.row) {
            let kept = hash(self.key, position) >= self.threshold;
            *value = if kept { *value * self.scale } else { 0.0 };
        }
    }
}

/// Two independent words of a row's seed (the finaliser of SplitMix64), so that neighbouring seeds have
/// unrelated masks.
fn key(seed: u64) -> [u32; 2] {
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    [bits as u32, (bits >> 32) as u32]
}

/// Hash of one position: two rounds of MurmurHash3's 32-bit finaliser, each after mixing in one word of the
/// key.
#[inline(always)]
fn hash(key: [u32; 2], position: u32) -> u32 {
    mix(mix(position ^ key[0]) ^ key[1])
}

#[inline(always)]
fn mix(mut bits: u32) -> u32 {
    bits = (bits ^ (bits >> 16)).wrapping_mul(0x85eb_ca6b);
    bits = (bits ^ (bits >> 13)).wrapping_mul(0xc2b2_ae35);
    bits ^ (bits >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Guarded, all_isas, random};
    use proptest::prelude::*;

    fn mask(isa: Isa, seed: u64, drop: f32, width: usize) -> Vec<bool> {
        let mut row = vec![1.0; width];
        dropout(isa, &[seed], drop, &mut row);
        row.iter().map(|&value| value != 0.0).collect()
    }

    #[test]
    fn the_mask_is_the_same_everywhere_and_for_good() {
        // The hash's own output: a replay of an old step depends on it.
        let expected = "110110111011001011111111000111000100010001101111";
        for isa in all_isas::<f32>() {
            let mask = mask(isa, 7, 0.4, 48);
            let found: String = mask.iter().map(|kept| if *kept { '1' } else { '0' }).collect();
            assert_eq!(found, expected, "{}", isa.name());
        }
    }

    proptest! {
        #[test]
        fn every_value_is_dropped_or_scaled_by_its_hash(
            seeds in prop_oneof![9 => prop::collection::vec(any::<u64>(), 0..4), 1 => prop::collection::vec(any::<u64>(), 0..=130)],
            // Around vectors, and the rows of heads at several widths.
            width in prop_oneof![0..70usize, prop::sample::select(vec![256usize, 512, 768, 1024, 2048])],
            drop in 0f32..1.0,
            values: u32,
        ) {
            let rows = random(seeds.len() * width, values.into());
            let threshold = (f64::from(drop) * 4_294_967_296.0) as u32;
            let expected: Vec<f32> = rows
                .iter()
                .enumerate()
                .map(|(i, value)| {
                    let kept = hash(key(seeds[i / width]), (i % width) as u32) >= threshold;
                    if kept { value * (1.0 / (1.0 - drop)) } else { 0.0 }
                })
                .collect();
            for isa in all_isas::<f32>() {
                let mut found = Guarded::<f32>::new(rows.len(), 0.0);
                found.values().copy_from_slice(&rows);
                dropout(isa, &seeds, drop, found.values());
                found.check(isa.name());
                prop_assert_eq!(&*found.values(), &*expected, "{}", isa.name());
            }
        }
    }

    #[test]
    fn a_rows_mask_depends_on_its_seed_alone() {
        for isa in all_isas::<f32>() {
            for width in [1, 15, 16, 17, 31, 100] {
                let mut rows = vec![1.0; 3 * width];
                dropout(isa, &[5, 6, 5], 0.5, &mut rows);
                assert_eq!(rows[..width], rows[2 * width..], "{}", isa.name());
                let alone = mask(isa, 6, 0.5, width);
                assert!(
                    rows[width..2 * width].iter().zip(alone).all(|(&value, kept)| (value != 0.0) == kept)
                );
            }
        }
    }

    #[test]
    fn the_rate_is_kept_and_the_mean_too() {
        const WIDTH: usize = 1 << 16;
        for isa in all_isas::<f32>() {
            for drop in [0.0f32, 0.4, 0.7] {
                // Neighbouring seeds, as sample indices would be.
                let mut rows = vec![1.0; 4 * WIDTH];
                dropout(isa, &[0, 1, 2, 3], drop, &mut rows);
                let deviation = (f64::from(drop * (1.0 - drop)) / (4 * WIDTH) as f64).sqrt();
                let dropped = rows.iter().filter(|&&value| value == 0.0).count() as f64 / (4 * WIDTH) as f64;
                assert!((dropped - f64::from(drop)).abs() <= 4.0 * deviation, "{}: {dropped}", isa.name());
                let kept = 1.0 / (1.0 - drop);
                assert!(rows.iter().all(|&value| value == 0.0 || value == kept));
            }
        }
    }

    #[test]
    fn neighbouring_seeds_and_positions_are_unrelated() {
        const WIDTH: usize = 1 << 16;
        let isa = Isa::detect();
        let row = mask(isa, 10, 0.5, WIDTH);
        let next_seed = mask(isa, 11, 0.5, WIDTH);
        let next_position: Vec<bool> = row.iter().cycle().skip(1).take(WIDTH).copied().collect();
        for other in [next_seed, next_position] {
            let agree = row.iter().zip(&other).filter(|(a, b)| a == b).count() as f64 / WIDTH as f64;
            assert!((agree - 0.5).abs() < 4.0 * 0.5 / (WIDTH as f64).sqrt(), "{agree}");
        }
    }

    #[test]
    #[should_panic(expected = "expected a rate in 0..1")]
    fn dropping_everything_is_refused() {
        dropout(Isa::detect(), &[1], 1.0, &mut [1.0]);
    }
}
